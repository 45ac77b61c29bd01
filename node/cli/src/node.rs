//! `rolecast node`: a node of the mesh that runs until it is told to stop.

use clap::Args;
use futures_util::StreamExt as _;
use rolecast::{Node, RoleName};
use serde_json::json;

use crate::answerer::Answerer;
use crate::arrivals::{Arrivals, batches};
use crate::failure::Failure;
use crate::listen::take_up;
use crate::mesh_log::MeshLog;
use crate::node_options::{NodeOptions, Part};
use crate::output::Output;
use crate::session::{OnInterrupt, parse_role, with_node};
use crate::style::{DIM, NAME};
use crate::trust::Trust;

/// What `rolecast node` is told.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct NodeArgs {
    /// A role to hold; may be repeated
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
    #[command(flatten)]
    node: NodeOptions,
}

/// What the node says of itself when it starts.
struct Banner {
    seeds: Vec<String>,
    trust: Trust,
    roles: Vec<RoleName>,
    listens_everywhere: bool,
}

/// Runs the node until Ctrl-C, and shows what happens in the mesh and what its roles receive.
pub(crate) fn run(args: NodeArgs, output: &Output) -> Result<(), Failure> {
    let settings = args.node.settings(Part::Daemon, output)?;
    let named = if args.roles.is_empty() {
        &settings.roles
    } else {
        &args.roles
    };
    let mut roles = named
        .iter()
        .map(|role| parse_role(role))
        .collect::<Result<Vec<RoleName>, Failure>>()?;
    roles.sort();
    roles.dedup();
    let banner = Banner {
        seeds: settings.seeds.clone(),
        trust: settings.trust.clone(),
        roles: roles.clone(),
        listens_everywhere: ["0.0.0.0:", "[::]:"]
            .iter()
            .any(|any| settings.listen.starts_with(any)),
    };
    with_node(settings, OnInterrupt::Done, output, async |node| {
        let mut events = node.watch();
        let mut log = MeshLog::new(output);
        let mut inboxes = vec![take_up(node, &RoleName::everyone(), 0).await?];
        for role in roles.iter().filter(|role| **role != RoleName::everyone()) {
            inboxes.push(take_up(node, role, 0).await?);
        }
        banner.show(node, output)?;
        // Some may have been found while the node took up its roles, or before it was watched.
        log.begin(node.members().await)?;
        let widths = inboxes
            .iter()
            .map(|inbox| inbox.role().as_str().chars().count());
        let role_width = widths.max().unwrap_or(0);
        let mut arrivals = Arrivals::new(output, Answerer::refuse(output), role_width);
        let mut batches = batches(inboxes);
        loop {
            tokio::select! {
                biased;
                event = events.next() => match event {
                    Some(event) => log.take(event)?,
                    None => return Err(Failure::failed("the node is closed")),
                },
                Some(batch) = batches.next() => arrivals.take(batch).await?,
                read = arrivals.next_large() => arrivals.show_large(&read)?,
            }
        }
    })
}

impl Banner {
    fn show(&self, node: &Node, output: &Output) -> Result<(), Failure> {
        let (id, addr) = (node.id(), node.addr());
        if output.is_json() {
            let roles: Vec<&str> = self.roles.iter().map(RoleName::as_str).collect();
            return output.object(&json!({
                "event": "started", "node": id.to_hex(), "addr": addr, "roles": roles, "seeds": self.seeds,
            }));
        }
        let holds = match &self.roles[..] {
            [] => String::new(),
            roles => {
                let roles: Vec<&str> = roles.iter().map(RoleName::as_str).collect();
                format!(", holds {NAME}{}{NAME:#}", roles.join(" "))
            }
        };
        output.line(format_args!(
            "node {NAME}{id}{NAME:#} at {addr}{holds} {DIM}(Ctrl-C leaves the mesh){DIM:#}"
        ))?;
        let own = addr.to_string();
        let others: Vec<&str> = self
            .seeds
            .iter()
            .map(String::as_str)
            .filter(|seed| *seed != own)
            .collect();
        if !others.is_empty() {
            return output.line(format_args!(
                "looking for the mesh at {}",
                others.join(", ")
            ));
        }
        output
            .line("no other node was named, so this is a mesh of its own; others join it with")?;
        let trust = self.trust.flags_of_others();
        output.line(format_args!("  rolecast node --seed {addr}{trust}"))?;
        if self.listens_everywhere && addr.ip().is_loopback() {
            output.line(format_args!(
                "others on this machine, that is: for the rest say with --advertise HOST:{} how they reach it",
                addr.port()
            ))?;
        }
        Ok(())
    }
}

const EXAMPLES: &str = "Examples:
  rolecast secret new --out mesh.secret
  rolecast node --listen 127.0.0.1:7400 --secret-file mesh.secret
      starts a mesh
  rolecast node --listen 127.0.0.1:7401 --seed 127.0.0.1:7400 --secret-file mesh.secret --role db:master
      joins it and holds a role
  rolecast node --config node.toml
      takes everything from a file, such as
        listen = \"0.0.0.0:7400\"
        advertise = \"10.0.0.1:7400\"
        seeds = [\"10.0.0.2:7400\"]
        secret-file = \"mesh.secret\"
        roles = [\"db:master\"]
      (further keys: site, host, service, instance, labels, state-dir, profile,
      and ca, cert, key instead of secret-file;
      relative paths start at the file's directory)

What is sent to its roles is shown; requests are refused, since nobody answers them here.";

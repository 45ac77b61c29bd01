//! `rolecast listen`: hold a role, show what arrives, answer requests.

use std::path::PathBuf;

use clap::Args;
use futures_util::StreamExt as _;
use rolecast::{Inbox, MeshEvent, Node, RegisterError, RoleName};
use serde_json::json;

use crate::answerer::Answerer;
use crate::arrivals::{Arrivals, batches};
use crate::failure::Failure;
use crate::node_options::{NodeOptions, Part};
use crate::obstacles::Obstacles;
use crate::output::Output;
use crate::session::{OnInterrupt, parse_role, with_node};
use crate::style::{DIM, NAME};

/// What `rolecast listen` is told.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ListenArgs {
    /// The role to hold, such as db:master; '*' shows what is broadcast
    #[arg(
        required_unless_present = "own_service",
        conflicts_with = "own_service"
    )]
    role: Option<String>,
    /// Take what is sent to the node's own service, which --service names, instead of holding a role
    #[arg(long, requires = "service")]
    own_service: bool,
    /// Answer every request with this text
    #[arg(long, value_name = "TEXT", conflicts_with = "reply_with")]
    reply: Option<String>,
    /// Answer every request with what `sh -c CMD` writes; the request is its input, and a command that fails refuses it
    #[arg(long, value_name = "CMD")]
    reply_with: Option<String>,
    /// Ask senders for the last N messages that they sent before, as far as they keep some
    #[arg(long, value_name = "N", default_value_t = 0)]
    replay: u32,
    /// Write every large payload into a file of its own in this directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    node: NodeOptions,
}

/// Holds the role until Ctrl-C.
pub(crate) fn run(args: ListenArgs, output: &Output) -> Result<(), Failure> {
    let role = match &args.role {
        Some(role) => parse_role(role)?,
        None => RoleName::service(),
    };
    let settings = args.node.settings(Part::Companion("listen"), output)?;
    let alone = settings.seeds.is_empty();
    let answerer = match (args.reply, args.reply_with) {
        (Some(text), _) => Answerer::text(text, output),
        (None, Some(command)) => Answerer::command(command, output),
        (None, None) => Answerer::refuse(output),
    };
    with_node(settings, OnInterrupt::Done, output, async |node| {
        let inbox = take_up(node, &role, args.replay).await?;
        announce(node, &role, alone, output)?;
        let mut arrivals = Arrivals::new(output, answerer, 0).into_files(args.dir);
        let (mut events, mut obstacles) = (node.watch(), Obstacles::default());
        let mut batches = batches(vec![inbox]);
        loop {
            tokio::select! {
                biased;
                batch = batches.next() => match batch {
                    Some(batch) => arrivals.take(batch).await?,
                    None => return Err(Failure::failed("the node is closed")),
                },
                read = arrivals.next_large() => arrivals.show_large(&read)?,
                Some(event) = events.next() => {
                    if let MeshEvent::DialFailed { addr, why } = event
                        && let Some(obstacle) = obstacles.note(addr, &why)
                    {
                        output.warn(obstacle);
                    }
                }
            }
        }
    })
}

/// Takes up a role, with so many former messages of each sender; for the role of everyone, takes what is broadcast.
pub(crate) async fn take_up(node: &Node, role: &RoleName, replay: u32) -> Result<Inbox, Failure> {
    if *role == RoleName::everyone() {
        let inbox = node.broadcasts().await;
        return inbox.ok_or_else(|| Failure::failed("the node is closed"));
    }
    let register = match *role == RoleName::service() {
        true => node.register_service(),
        false => node.register(role.as_str()),
    };
    register.replay(replay).await.map_err(|error| match error {
        RegisterError::NoService => Failure::usage("--own-service needs a --service that it is of"),
        RegisterError::Held { .. } => Failure::usage(format!("the role {role} is named twice")),
        error => Failure::failed(error.to_string()),
    })
}

fn announce(node: &Node, role: &RoleName, alone: bool, output: &Output) -> Result<(), Failure> {
    if output.is_json() {
        return output.object(&json!({
            "event": "started", "node": node.id().to_hex(), "addr": node.addr(), "roles": [role.as_str()],
        }));
    }
    let (id, addr) = (node.id(), node.addr());
    output.line(format_args!(
        "{NAME}{role}{NAME:#} is held by {NAME}{id}{NAME:#} at {addr} {DIM}(Ctrl-C gives it up){DIM:#}"
    ))?;
    if alone {
        output.line(format_args!(
            "no seed was given, so this is a mesh of its own; others join it with --seed {addr}"
        ))?;
    }
    Ok(())
}

const EXAMPLES: &str = "Examples:
  rolecast listen chat --seed 10.0.0.1:7400 --secret-file mesh.secret
      shows what is sent to the role chat
  rolecast listen db:master --reply 'not today' ...
      answers every request with the same text
  rolecast listen upper --reply-with 'tr a-z A-Z' ...
      answers each request with what the command makes of it
      (the command sees ROLECAST_ROLE and ROLECAST_ORIGIN in its environment)
  rolecast listen --own-service --service db --instance 2 --host rack-7 ...
      takes what is sent to the service db, with `rolecast send db --of-service`
  rolecast listen films --dir . ...
      writes each file that is sent with `rolecast send films --file` into this directory
  rolecast listen chat --json ... | jq -r .payload
      one JSON object for every message, request and gap";

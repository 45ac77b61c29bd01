//! The options of every command that joins a mesh, and how flags, environment and configuration file make one node of them.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use rolecast::{Limits, Node, NodeBuilder, Profile, StartError};
use serde::Deserialize;

use crate::config_file::ConfigFile;
use crate::failure::Failure;
use crate::output::Output;
use crate::trust::{CertificateFiles, Trust, TrustFiles};

/// Options of every command that joins a mesh.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Joining the mesh")]
pub(crate) struct NodeOptions {
    /// Where some node of the mesh may be found; may be repeated [env: ROLECAST_SEED, with commas between several]
    #[arg(long = "seed", value_name = "HOST:PORT", value_delimiter = ',')]
    seeds: Vec<String>,
    /// The file with the mesh secret, from `rolecast secret new` [env: ROLECAST_SECRET_FILE; or the secret itself: ROLECAST_SECRET]
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    #[command(flatten)]
    certificates: CertificateFiles,
    /// Take from this TOML file what neither flags nor environment say; its keys are named like the flags
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Listen here; port 0 takes any free one
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Tell the others to dial this address instead of the one listened at
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// The place the node is in, such as ams
    #[arg(long)]
    site: Option<String>,
    /// The machine the node runs on, such as rack-7
    #[arg(long)]
    host: Option<String>,
    /// The node's own kind, such as db
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Which of its kind the node is
    #[arg(long, value_name = "N")]
    instance: Option<u32>,
    /// A label that every node can see; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    labels: Vec<(String, String)>,
    /// Keep the node's key and epoch here, so that a restart is the same node
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// How patient failure detection is, the same for the whole mesh: lan, wan, local for nodes on one machine, or fast for a few nodes of which a crash is to be known in two seconds [default: lan]
    #[arg(long, value_enum, hide_possible_values = true)]
    profile: Option<MeshProfile>,
    /// Of more links than this, those rest that nobody uses, and come back when something is to be sent [default: no limit]
    #[arg(long, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    links_max: Option<usize>,
}

/// How patient failure detection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MeshProfile {
    /// Nodes in one data centre: a crash is known in seconds
    Lan,
    /// Nodes far apart
    Wan,
    /// Nodes on one machine
    Local,
    /// A few nodes close to each other: a crash is known in two seconds
    Fast,
}

/// What a command's node is to the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The node that the configuration file describes.
    Daemon,
    /// A node beside it, with an address and identity of its own, which takes the file's node for a seed.
    Companion(&'static str),
    /// As a companion, and of no use without a mesh to join.
    Visitor(&'static str),
}

/// A node that can be started.
#[derive(Debug)]
pub(crate) struct Settings {
    builder: NodeBuilder,
    /// Where the mesh may be found.
    pub(crate) seeds: Vec<String>,
    /// How the node proves that it belongs to the mesh.
    pub(crate) trust: Trust,
    /// The roles named in the configuration file.
    pub(crate) roles: Vec<String>,
    /// Where the node listens, as it was asked for.
    pub(crate) listen: String,
}

impl NodeOptions {
    /// Joins flags, environment and configuration file; whatever can be checked before anything runs is checked here.
    pub(crate) fn settings(&self, part: Part, output: &Output) -> Result<Settings, Failure> {
        let file = match &self.config {
            Some(path) => ConfigFile::read(path)?,
            None => ConfigFile::default(),
        };
        self.settings_with(file, part, |name| std::env::var(name).ok(), output)
    }

    fn settings_with(
        &self,
        file: ConfigFile,
        part: Part,
        variable: impl Fn(&str) -> Option<String>,
        output: &Output,
    ) -> Result<Settings, Failure> {
        let seeds = self.choose_seeds(&file, part, &variable)?;
        let flags = TrustFiles {
            secret_file: self.secret_file.clone(),
            certificates: self.certificates.clone(),
        };
        let trust = Trust::choose(flags, &variable, file.trust.clone())?;
        let (builder, warning) = trust.apply(Node::builder())?;
        if let Some(warning) = warning {
            output.warn(warning);
        }
        let roles = file.roles.clone();
        let own = self.own_description(file, part);
        let listen = own.listen.unwrap_or_else(|| default_listen(part, &seeds));
        check_address("--listen", &listen)?;
        let mut builder = builder
            .seeds(&seeds)
            .listen(&listen)
            .site(own.site.unwrap_or_default())
            .host(own.host.unwrap_or_default())
            .service(own.service.unwrap_or_default(), own.instance.unwrap_or(0))
            .profile(own.profile.unwrap_or(MeshProfile::Lan).into());
        if let Some(links_max) = own.links_max {
            builder = builder.limits(Limits {
                links_max,
                ..Limits::default()
            });
        }
        if let Some(advertise) = own.advertise {
            check_address("--advertise", &advertise)?;
            builder = builder.advertise(advertise);
        }
        if let Some(state_dir) = own.state_dir {
            builder = builder.state_dir(state_dir);
        }
        for (key, value) in own.labels {
            builder = builder.label(key, value);
        }
        Ok(Settings {
            builder,
            seeds,
            trust,
            roles,
            listen,
        })
    }

    /// The seeds: the flags over the environment over the file.
    fn choose_seeds(
        &self,
        file: &ConfigFile,
        part: Part,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Vec<String>, Failure> {
        let from_environment = variable(SEED_VARIABLE).unwrap_or_default();
        let (seeds, said_in) = if !self.seeds.is_empty() {
            (self.seeds.clone(), "--seed")
        } else if !from_environment.trim().is_empty() {
            let seeds = from_environment
                .split(',')
                .map(|seed| seed.trim().to_owned());
            (seeds.collect(), SEED_VARIABLE)
        } else {
            (file_seeds(file, part), "the configuration file")
        };
        for seed in &seeds {
            check_seed(seed, said_in)?;
        }
        if seeds.is_empty() && matches!(part, Part::Visitor(_)) {
            return Err(Failure::usage(format!(
                "no seed says where the mesh is: pass --seed HOST:PORT, the address of any of its nodes, or set {SEED_VARIABLE}"
            )));
        }
        Ok(seeds)
    }

    /// What the node says of itself: the flags over the file, as far as the file describes this very node.
    fn own_description(&self, file: ConfigFile, part: Part) -> ConfigFile {
        let file = match part {
            Part::Daemon => file,
            Part::Companion(command) | Part::Visitor(command) => ConfigFile {
                service: Some(format!("rolecast-{command}")),
                site: file.site,
                host: file.host,
                profile: file.profile,
                ..ConfigFile::default()
            },
        };
        let mut labels = file.labels;
        labels.extend(self.labels.iter().cloned());
        ConfigFile {
            listen: self.listen.clone().or(file.listen),
            advertise: self.advertise.clone().or(file.advertise),
            site: self.site.clone().or(file.site),
            host: self.host.clone().or(file.host),
            service: self.service.clone().or(file.service),
            instance: self.instance.or(file.instance),
            state_dir: self.state_dir.clone().or(file.state_dir),
            profile: self.profile.or(file.profile),
            links_max: self.links_max.or(file.links_max),
            labels,
            ..ConfigFile::default()
        }
    }
}

impl Settings {
    /// Starts the node.
    pub(crate) async fn start(self) -> Result<Node, Failure> {
        self.builder
            .start()
            .await
            .map_err(|error| start_failure(&error))
    }
}

impl From<MeshProfile> for Profile {
    fn from(profile: MeshProfile) -> Self {
        match profile {
            MeshProfile::Lan => Profile::Lan,
            MeshProfile::Wan => Profile::Wan,
            MeshProfile::Local => Profile::Local,
            MeshProfile::Fast => Profile::Fast,
        }
    }
}

/// The file's seeds; for all but the file's own node, that node is the first place to look.
fn file_seeds(file: &ConfigFile, part: Part) -> Vec<String> {
    let mut seeds = file.seeds.clone();
    if part != Part::Daemon {
        let own = file.advertise.as_ref().or(file.listen.as_ref());
        if let Some(own) = own {
            let reachable = own
                .replace("0.0.0.0:", "127.0.0.1:")
                .replace("[::]:", "[::1]:");
            seeds.insert(0, reachable);
        }
    }
    seeds
}

/// Where a command listens that was not told: at a free port, with the seeds' kind of address, unless it is the daemon.
fn default_listen(part: Part, seeds: &[String]) -> String {
    let listen = match part {
        Part::Daemon => rolecast::DEFAULT_LISTEN,
        _ if seeds.first().is_some_and(|seed| seed.starts_with('[')) => "[::]:0",
        _ => "0.0.0.0:0",
    };
    listen.to_owned()
}

fn check_seed(seed: &str, said_in: &str) -> Result<(), Failure> {
    match split_address(seed) {
        Some((_, port)) if port != 0 => Ok(()),
        _ => Err(Failure::usage(format!(
            "the seed {seed:?} in {said_in} is not of the form HOST:PORT, such as 10.0.0.1:7400 or node-1.example:7400"
        ))),
    }
}

fn check_address(flag: &str, address: &str) -> Result<(), Failure> {
    match split_address(address) {
        Some(_) => Ok(()),
        None => Err(Failure::usage(format!(
            "the address {address:?} of {flag} is not of the form HOST:PORT, such as 127.0.0.1:7400"
        ))),
    }
}

/// The host and the port of an address.
fn split_address(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let plain = |host: &str| !host.is_empty() && !host.contains([':', '[', ']', ' ', '/']);
    let host = bracketed.or_else(|| plain(host).then_some(host))?;
    Some((host, port.parse().ok()?))
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a label is KEY=VALUE, such as rack=7".to_owned()),
    }
}

/// Says why a node did not start: what was asked for cannot be, or something is in the way.
fn start_failure(error: &StartError) -> Failure {
    match error {
        StartError::Bind(_) | StartError::State { .. } => Failure::failed(error.to_string()),
        _ => Failure::usage(error.to_string()),
    }
}

/// The environment variable with the seeds, commas between them.
const SEED_VARIABLE: &str = "ROLECAST_SEED";

#[cfg(test)]
mod tests {
    use super::*;

    fn seeds(
        flags: &[&str],
        variable: &str,
        file: ConfigFile,
        part: Part,
    ) -> Result<Vec<String>, String> {
        let options = NodeOptions {
            seeds: flags.iter().map(|seed| (*seed).to_owned()).collect(),
            ..NodeOptions::default()
        };
        options
            .choose_seeds(&file, part, |name| {
                (name == SEED_VARIABLE).then(|| variable.to_owned())
            })
            .map_err(|failure| failure.to_string())
    }

    fn file() -> ConfigFile {
        ConfigFile {
            listen: Some("0.0.0.0:7400".into()),
            seeds: vec!["file:1".into()],
            ..ConfigFile::default()
        }
    }

    #[test]
    fn seeds_come_from_flags_over_environment_over_file() {
        let chosen = |flags: &[&str], variable: &str| seeds(flags, variable, file(), Part::Daemon);
        assert_eq!(chosen(&["flag:1"], "env:1"), Ok(vec!["flag:1".into()]));
        assert_eq!(
            chosen(&[], "env:1, env:2"),
            Ok(vec!["env:1".into(), "env:2".into()])
        );
        assert_eq!(chosen(&[], ""), Ok(vec!["file:1".into()]));
    }

    #[test]
    fn visitors_dial_the_node_of_the_file() {
        assert_eq!(
            seeds(&[], "", file(), Part::Visitor("send")),
            Ok(vec!["127.0.0.1:7400".into(), "file:1".into()])
        );
        let none = seeds(&[], "", ConfigFile::default(), Part::Visitor("send"));
        assert!(none.unwrap_err().contains("pass --seed HOST:PORT"));
    }

    #[test]
    fn malformed_seeds_are_named_with_their_place() {
        for (bad, good) in [
            ("localhost", "localhost:7400"),
            ("::1:7400", "[::1]:7400"),
            ("10.0.0.1:0", "10.0.0.1:1"),
            ("10.0.0.1:70000", "10.0.0.1:7000"),
            (":7400", "a:7400"),
            ("http://a:7400", "a.example:7400"),
        ] {
            let refused = seeds(&[bad], "", file(), Part::Daemon).unwrap_err();
            assert!(refused.contains(&format!("{bad:?} in --seed")), "{refused}");
            assert!(seeds(&[good], "", file(), Part::Daemon).is_ok(), "{good}");
        }
        let refused = seeds(&[], "nowhere", file(), Part::Daemon).unwrap_err();
        assert!(
            refused.contains("\"nowhere\" in ROLECAST_SEED"),
            "{refused}"
        );
    }

    #[test]
    fn visitors_listen_where_their_seeds_can_answer() {
        let listen = |part, seed: &str| default_listen(part, &[seed.to_owned()]);
        assert_eq!(listen(Part::Daemon, "[::1]:7400"), "0.0.0.0:7400");
        assert_eq!(listen(Part::Visitor("send"), "[::1]:7400"), "[::]:0");
        assert_eq!(listen(Part::Visitor("send"), "a.example:7400"), "0.0.0.0:0");
    }

    #[test]
    fn only_the_daemon_takes_the_identity_of_the_file() {
        let own = |part| NodeOptions::default().own_description(file(), part);
        assert_eq!(own(Part::Daemon).listen.as_deref(), Some("0.0.0.0:7400"));
        let visitor = own(Part::Visitor("send"));
        assert_eq!(visitor.listen, None);
        assert_eq!(visitor.service.as_deref(), Some("rolecast-send"));
    }
}

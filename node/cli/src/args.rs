//! What can be said on the command line.

use clap::{ArgAction, Parser, Subcommand};

use crate::bench::BenchArgs;
use crate::demo::{ActorArgs, DemoArgs};
use crate::listen::ListenArgs;
use crate::members::MembersArgs;
use crate::node::NodeArgs;
use crate::request::RequestArgs;
use crate::secret::SecretArgs;
use crate::send::{BroadcastArgs, SendArgs};

/// Talk to roles, not to processes: a mesh of nodes that find each other, say which roles they hold, and send to roles.
#[derive(Debug, Parser)]
#[command(name = "rolecast", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Print one JSON object a line instead of text for people
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Log more to the standard error (-v: what happens, -vv: details, -vvv: everything)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what a mesh does: five processes, two senders, one of them killed, every promise checked
    Demo(DemoArgs),
    /// One node of the demo
    #[command(hide = true)]
    DemoNode(ActorArgs),
    /// Run a node of the mesh
    Node(NodeArgs),
    /// Hold a role, show what arrives, answer requests
    Listen(ListenArgs),
    /// Send messages to a role: to every holder, to any one, or to one node
    Send(SendArgs),
    /// Send messages to every node of the mesh
    Broadcast(BroadcastArgs),
    /// Ask one holder of a role, or all of them
    Request(RequestArgs),
    /// Show who is in the mesh
    Members(MembersArgs),
    /// Make the secret of a new mesh
    Secret(SecretArgs),
    /// Measure how fast messages and requests go between processes on this machine
    Bench(BenchArgs),
}

const EXAMPLES: &str = "The main job in a few seconds:
  rolecast demo

A mesh in three terminals, each with
  export ROLECAST_SECRET_FILE=mesh.secret ROLECAST_SEED=127.0.0.1:7400
after `rolecast secret new --out mesh.secret`:
  rolecast node --listen 127.0.0.1:7400
  rolecast listen chat
  rolecast send chat hello";

//! `rolecast demo`: the main job on real processes and sockets, in a few seconds.

mod account;
mod actor;
mod cast;
mod journal;
mod orders;
mod parts;
mod story;
mod verdict;

use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use rolecast::MeshSecret;
use tokio::time::timeout;

pub(crate) use crate::demo::actor::{ActorArgs, run as run_actor};

use crate::demo::account::Account;
use crate::demo::cast::{Cast, name};
use crate::demo::orders::Fault;
use crate::demo::parts::Parts;
use crate::demo::story::Story;
use crate::demo::verdict::{Evidence, Promise, judge};
use crate::duration::{parse_duration, show_duration};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::log;
use crate::output::Output;
use crate::session::in_runtime;

/// What `rolecast demo` is told.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DemoArgs {
    /// How many node processes to start
    #[arg(long, value_name = "N", default_value = "5", value_parser = RangedU64ValueParser::<usize>::new().range(3..=16))]
    nodes: usize,
    /// Have n2 tell this lie about what it delivered, to see that it is found
    #[arg(long, value_enum, hide = true)]
    plant: Option<Fault>,
    /// Give up after this long
    #[arg(long, hide = true, default_value = "15s", value_parser = parse_duration)]
    deadline: Duration,
}

/// Plays the demo; a failure unless every promise was kept.
pub(crate) fn run(args: DemoArgs, verbose: u8, output: &Output) -> Result<(), Failure> {
    // Links to a node that is killed break, which is worth a warning elsewhere.
    let log = match verbose {
        0 => "error",
        more => log::filter(more),
    };
    in_runtime(async {
        let mut interrupt = Interrupt::install()?;
        let account = Account::begin(output);
        account.title(args.nodes)?;
        let mut cast = Cast::new(&MeshSecret::generate(), log);
        let story = Story {
            cast: &mut cast,
            account: &account,
            parts: Parts::of(args.nodes),
            fault: args.plant,
        };
        let played = tokio::select! {
            biased;
            () = interrupt.wait() => Err(Failure::failed("interrupted before it was done")),
            played = timeout(args.deadline, story.play()) => played.unwrap_or_else(|_| {
                Err(Failure::failed(format!(
                    "the demo was not done within {}: is this machine very busy?",
                    show_duration(args.deadline)
                )))
            }),
        };
        // No process outlives the demo, however it ended.
        cast.end().await;
        let (evidence, requests) = played?;
        conclude(&account, &evidence, requests, args.nodes)
    })
    .map_err(|failure| match failure {
        // Elsewhere that is a way to end; here it means that nobody knows how it went.
        Failure::OutputClosed => Failure::failed("the output was closed before the demo was over"),
        failure => failure,
    })
}

fn conclude(
    account: &Account<'_>,
    evidence: &Evidence,
    requests: Vec<Promise>,
    nodes: usize,
) -> Result<(), Failure> {
    let nodes: Vec<String> = (0..nodes).map(name).collect();
    let mut promises = judge(evidence);
    promises.extend(requests);
    account.deliveries(evidence, &nodes)?;
    account.promises(&promises)?;
    account.end(&promises)
}

const EXAMPLES: &str = "Five node processes find each other on loopback and take up roles.
Two of them multicast to one role at once; one asks a question, to one holder and to all;
a role moves while messages to it are on their way; one sender is killed while it sends.
Then what the survivors delivered is compared with what was sent, promise by promise.

Exit code 0 means that every promise was kept; otherwise the output says which was broken, and where.";

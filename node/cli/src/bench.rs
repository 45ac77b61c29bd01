//! Measures how fast messages and requests go between processes on this machine.
//!
//! A benchmark is a coordinator, which is the process that was started, and processes of the same program that send and receive over loopback.
//! The coordinator talks to them over their standard input and output and takes no part itself, so that what they use is what the mesh uses.

mod ceiling;
mod ends;
mod fleet;
mod histogram;
mod join;
mod measure;
mod mesh;
mod part;
mod payload;
mod peer;
mod plan;
mod plot;
mod progress;
mod publish;
mod result;
mod roundtrip;
mod scale;
mod stream;
mod subscribe;
mod table;
mod usage;
mod words;

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use rolecast::Dissemination;

use crate::bench::plan::{Apart, Plan, Promise, Scenario, System};
use crate::bench::progress::Progress;
use crate::bench::result::{Measured, compare};
use crate::bytes_text::parse_bytes;
use crate::duration::parse_duration;
use crate::failure::Failure;
use crate::output::Output;

/// What `rolecast bench` is told.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    scenario: ScenarioArgs,
}

#[derive(Debug, Subcommand)]
enum ScenarioArgs {
    /// Send to all subscribers as fast as they take it: how many deliveries a second
    Fanout {
        #[command(flatten)]
        group: GroupArgs,
        /// Bytes of each message
        #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = size(0))]
        size: u32,
        /// Messages to send
        #[arg(long, value_name = "M", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
        count: u64,
        #[command(flatten)]
        run: RunArgs,
    },
    /// Send to all subscribers at a rate: how long deliveries take
    Latency {
        #[command(flatten)]
        group: GroupArgs,
        /// Bytes of each message, at least 8 for the time at which it was sent
        #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = size(payload::STAMP_BYTES))]
        size: u32,
        /// Messages a second
        #[arg(long, value_name = "R", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
        rate: u64,
        /// Seconds
        #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=86_400))]
        secs: u64,
        /// Send payloads of this size beside them, one after the other, at least 17M; such as 100M
        #[arg(long, value_name = "BYTES", value_parser = parse_transfer, conflicts_with_all = ["system", "against"])]
        beside: Option<u64>,
        #[command(flatten)]
        run: RunArgs,
    },
    /// Send one large payload to all subscribers, which read it as it comes: how fast, and in how much memory
    Stream {
        #[command(flatten)]
        group: GroupArgs,
        /// Bytes of the payload, such as 100M or 1G
        #[arg(long, value_name = "BYTES", default_value = "1G", value_parser = parse_bytes)]
        size: u64,
        #[command(flatten)]
        threads: ThreadArgs,
    },
    /// Let all nodes send to all at once: how many deliveries a second
    Mesh {
        /// Processes
        #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..=256))]
        nodes: u32,
        /// Bytes of each message
        #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = size(0))]
        size: u32,
        /// Seconds
        #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=86_400))]
        secs: u64,
        #[command(flatten)]
        promise: PromiseArgs,
        #[command(flatten)]
        threads: ThreadArgs,
    },
    /// Fan out to few and many subscribers, in small and large messages: what a delivery costs
    Scale {
        /// Numbers of subscribers
        #[arg(long, value_name = "N,N", value_delimiter = ',', default_values_t = [2, 4, 8, 16, 32, 64], value_parser = clap::value_parser!(u32).range(1..=256))]
        subs: Vec<u32>,
        /// Bytes of a message
        #[arg(long, value_name = "BYTES,BYTES", value_delimiter = ',', default_values_t = [64, 1_024, 65_536, 1_048_576], value_parser = size(0))]
        sizes: Vec<u32>,
        /// Measure bare QUIC beside it: what many processes cost in any case
        #[arg(long, value_enum, value_name = "SYSTEM")]
        against: Option<Reference>,
        #[command(flatten)]
        promise: PromiseArgs,
        #[command(flatten)]
        threads: ThreadArgs,
    },
    /// Start processes that find each other through the first: how long until all know all
    Join {
        /// Processes
        #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(2..=1_000))]
        nodes: u32,
        /// Fail if it takes longer
        #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
        within: Option<Duration>,
        #[command(flatten)]
        threads: ThreadArgs,
    },
    /// Send requests from one process to another: how long until the reply
    Reqrep {
        /// Bytes of each request and of its reply
        #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = size(0))]
        size: u32,
        /// Requests to send
        #[arg(long, value_name = "M", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
        count: u64,
        /// Requests on the way at once
        #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        inflight: u32,
        #[command(flatten)]
        run: RunArgs,
    },
    /// Draw results as SVG: hand in what other benchmarks print with --json, one result a line
    Plot {
        /// What the picture shows
        #[arg(value_enum)]
        chart: plot::Chart,
    },
    /// What the processes of a benchmark are started with
    #[command(hide = true)]
    Part,
}

#[derive(Clone, Copy, Debug, Args)]
struct GroupArgs {
    /// Subscriber processes
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=256))]
    subs: u32,
    #[command(flatten)]
    promise: PromiseArgs,
}

/// What is promised to the messages.
#[derive(Clone, Copy, Debug, Args)]
struct PromiseArgs {
    /// Let receivers tell each other what they have and fetch what they miss, so that all get a message or none, whatever happens to the sender (the default)
    #[arg(long)]
    digest: bool,
    /// Let every receiver relay at once: the same promise, sooner after a crash, with more payloads
    #[arg(long, conflicts_with = "digest")]
    eager: bool,
    /// Let only the sender send: no agreement if it dies
    #[arg(long, conflicts_with_all = ["eager", "digest"])]
    best_effort: bool,
    /// Let nobody get a message before K subscribers have received it
    #[arg(long, value_name = "K", default_value_t = 1, conflicts_with = "best_effort", value_parser = clap::value_parser!(u8).range(1..))]
    k_safe: u8,
}

#[derive(Clone, Copy, Debug, Args)]
struct RunArgs {
    /// What to measure
    #[arg(
        long,
        value_enum,
        default_value = "rolecast",
        conflicts_with = "against"
    )]
    system: System,
    /// Also measure bare QUIC connections in turn, and give the median ratio to them
    #[arg(long, value_enum)]
    against: Option<Reference>,
    /// With --against: how many pairs of runs
    #[arg(long, value_name = "P", default_value_t = 3, requires = "against", value_parser = clap::value_parser!(u32).range(1..=100))]
    pairs: u32,
    /// Start the subscribers in another network namespace, over a network and not over loopback: its name, this end's address and theirs, such as far,10.9.0.1,10.9.0.2
    #[arg(long, value_name = "NAMESPACE,IP,IP", value_parser = Apart::parse)]
    apart: Option<Apart>,
    #[command(flatten)]
    threads: ThreadArgs,
}

#[derive(Clone, Copy, Debug, Args)]
struct ThreadArgs {
    /// Worker threads of each process; 0 keeps everything in the main thread
    #[arg(long, value_name = "T", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=64))]
    threads: u32,
}

impl ThreadArgs {
    fn count(self) -> usize {
        self.threads as usize
    }
}

/// What can be measured against.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Reference {
    /// Bare QUIC connections with the same settings
    Ceiling,
}

/// Runs one benchmark and prints its result.
pub(crate) fn run(args: BenchArgs, output: &Output) -> Result<(), Failure> {
    let (scenario, size, run) = match args.scenario {
        ScenarioArgs::Part => return part::run(),
        ScenarioArgs::Plot { chart } => return plot::run(chart, output),
        ScenarioArgs::Fanout {
            group,
            size,
            count,
            run,
        } => {
            let (subs, promise) = group.settle();
            let scenario = Scenario::Fanout {
                subs,
                count,
                promise,
            };
            (scenario, size, run)
        }
        ScenarioArgs::Latency {
            group,
            size,
            rate,
            secs,
            beside,
            run,
        } => {
            let (subs, promise) = group.settle();
            let scenario = Scenario::Latency {
                subs,
                rate,
                secs,
                promise,
                beside: beside.unwrap_or(0),
            };
            (scenario, size, run)
        }
        ScenarioArgs::Stream {
            group,
            size,
            threads,
        } => {
            let (subs, promise) = group.settle();
            let plan = Plan {
                system: System::Rolecast,
                scenario: Scenario::Stream { subs, promise },
                size: usize::try_from(size).map_err(|_| Failure::usage("it is too large"))?,
                threads: threads.count(),
                apart: None,
            };
            return finish(plan, None, output);
        }
        ScenarioArgs::Mesh {
            nodes,
            size,
            secs,
            promise,
            threads,
        } => {
            let plan = Plan {
                system: System::Rolecast,
                scenario: Scenario::Mesh {
                    nodes: nodes as usize,
                    secs,
                    promise: promise.settle(),
                },
                size: size as usize,
                threads: threads.count(),
                apart: None,
            };
            return finish(plan, None, output);
        }
        ScenarioArgs::Scale {
            subs,
            sizes,
            against,
            promise,
            threads,
        } => {
            let grid = scale::Grid {
                subs: &subs,
                sizes: &sizes,
                promise: promise.settle(),
                threads: threads.count(),
                against: against.is_some(),
            };
            return runtime()?.block_on(scale::run(grid, output));
        }
        ScenarioArgs::Join {
            nodes,
            within,
            threads,
        } => {
            let joining = join::run(nodes as usize, threads.count(), within, output);
            return runtime()?.block_on(joining);
        }
        ScenarioArgs::Reqrep {
            size,
            count,
            inflight,
            run,
        } => {
            let inflight = inflight as usize;
            (Scenario::Reqrep { count, inflight }, size, run)
        }
    };
    let plan = Plan {
        system: run.system,
        scenario,
        size: size as usize,
        threads: run.threads.count(),
        apart: run.apart,
    };
    finish(plan, Some(run), output)
}

/// Measures, and prints what came of it.
fn finish(plan: Plan, run: Option<RunArgs>, output: &Output) -> Result<(), Failure> {
    let pairs = run.and_then(|run| run.against.map(|_| run.pairs));
    let measured = runtime()?.block_on(carry_out(plan, pairs))?;
    show(&measured, output)
}

/// What the coordinator runs in.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("the runtime cannot be started: {error}")))
}

impl GroupArgs {
    fn settle(self) -> (usize, Promise) {
        (self.subs as usize, self.promise.settle())
    }
}

impl PromiseArgs {
    fn settle(self) -> Promise {
        let dissemination = if self.best_effort {
            Dissemination::BestEffort
        } else if self.eager {
            Dissemination::Eager
        } else {
            Dissemination::Digest
        };
        Promise {
            dissemination,
            k_safe: self.k_safe,
        }
    }
}

/// Measures once, or in so many pairs.
async fn carry_out(plan: Plan, pairs_wanted: Option<u32>) -> Result<Measured, Failure> {
    let mut progress = Progress::new();
    let Some(pairs_wanted) = pairs_wanted else {
        progress.title(format!("{} {}", plan.system_name(), plan.scenario_name()));
        return measure::measure(plan, &progress).await;
    };
    let mut pairs = Vec::new();
    for pair in 1..=pairs_wanted {
        let title = |plan: Plan| {
            format!(
                "{} {}, pair {pair} of {pairs_wanted}",
                plan.system_name(),
                plan.scenario_name(),
            )
        };
        let ceiling = Plan {
            system: System::Ceiling,
            ..plan
        };
        progress.title(title(plan));
        let measured = measure::measure(plan, &progress).await?;
        progress.title(title(ceiling));
        pairs.push((measured, measure::measure(ceiling, &progress).await?));
    }
    compare(pairs).ok_or_else(|| Failure::failed("there was nothing to compare"))
}

/// Prints the result; a loss is a failure.
fn show(measured: &Measured, output: &Output) -> Result<(), Failure> {
    if output.is_json() {
        output.object(measured)?;
    } else {
        output.text(&table::table(measured))?;
    }
    match measured.lost {
        0 => Ok(()),
        lost => Err(Failure::failed(format!(
            "{lost} messages were lost, which must not happen; please report it"
        ))),
    }
}

/// The size of the payloads beside which messages are measured.
fn parse_transfer(text: &str) -> Result<u64, String> {
    let bytes = parse_bytes(text)?;
    match bytes >= mesh::TRANSFER_BYTES_MIN {
        true => Ok(bytes),
        false => Err("a transfer has at least 17M".to_owned()),
    }
}

/// Payloads from so many bytes on up to the most that a message may have.
fn size(bytes_min: usize) -> clap::builder::RangedI64ValueParser<u32> {
    let bytes_max = rolecast::Limits::default().payload_bytes_max;
    clap::value_parser!(u32).range(bytes_min as i64..=bytes_max as i64)
}

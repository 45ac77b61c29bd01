//! `canaries`: does the simulator find the bugs that were planted on purpose?

use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;

use clap::Args;
use rolecast_protocol::Canary;
use rolecast_sim::canary::{self, Search};

use crate::output::{self, Progress};
use crate::{args, code};

#[derive(Args)]
pub(crate) struct CanariesArgs {
    /// Look for these bugs only.
    #[arg(value_parser = args::parse_canary)]
    canaries: Vec<Canary>,
    /// How many seeds are tried for each.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// Leave out the bugs that need rare circumstances, and try few seeds for each of the others.
    #[arg(long, conflicts_with_all = ["seeds", "canaries"])]
    short: bool,
    /// How many threads run seeds; one for each core if not given.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Print one JSON object for each.
    #[arg(long)]
    json: bool,
}

pub(crate) fn canaries(args: &CanariesArgs) -> io::Result<ExitCode> {
    let all = Canary::ALL.iter().copied();
    let wanted: Vec<Canary> = match &args.canaries[..] {
        [] => all
            .filter(|bug| !args.short || !canary::RARE.contains(bug))
            .collect(),
        some => some.to_vec(),
    };
    let seeds = match args.short {
        true => canary::SOON,
        false => args.seeds,
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = args.jobs.map_or(cores, usize::from);
    let mut out = anstream::stdout();
    let mut missed = 0;
    for &canary in &wanted {
        let mut progress = Progress::new(io::stderr().is_terminal(), seeds, "seeds");
        let search = canary::search(canary, seeds, jobs, || progress.note(false));
        progress.clear();
        missed += usize::from(search.found.is_none());
        if args.json {
            serde_json::to_writer(&mut out, &search)?;
            writeln!(out)?;
        } else {
            row(&mut out, &search)?;
        }
    }
    if !args.json {
        writeln!(out)?;
        output::planted(&mut out, missed, wanted.len(), seeds)?;
    }
    Ok(code(missed == 0))
}

/// One bug in two lines: how soon it was found, and as what.
fn row(out: &mut impl Write, search: &Search) -> io::Result<()> {
    let Search { canary, about, .. } = search;
    match &search.found {
        Some(found) => {
            let seeds = search.seeds;
            writeln!(out, "{canary:<24} {seeds:>6}  {about}")?;
            writeln!(out, "{:<24} {:>6}  {}", "", "", found.violation)
        }
        None => writeln!(out, "{canary:<24} {:>6}  {about}", "never"),
    }
}

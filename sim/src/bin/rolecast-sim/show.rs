//! `show`: a run as a diagram.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use rolecast_sim::{run_filmed, show as showing};

use crate::refuse;
use crate::run::read;

#[derive(Args)]
pub(crate) struct ShowArgs {
    /// The replay line.
    line: String,
    /// The file to write; it needs nothing else, and no network.
    #[arg(long, value_name = "FILE")]
    html: PathBuf,
    /// Print one JSON object with the verdict and the file.
    #[arg(long)]
    json: bool,
}

pub(crate) fn show(args: &ShowArgs) -> io::Result<ExitCode> {
    let scenario = match read(&args.line) {
        Ok(scenario) => scenario,
        Err(code) => return Ok(code),
    };
    let outcome = run_filmed(&scenario);
    if let Err(why) = fs::write(&args.html, showing::html(&scenario, &outcome)) {
        let path = args.html.display();
        return Ok(refuse(format_args!("{path} cannot be written: {why}")));
    }
    let verdict = outcome.violation.as_ref().map(ToString::to_string);
    let mut out = anstream::stdout().lock();
    if args.json {
        let object = serde_json::json!({
            "held": verdict.is_none(),
            "violation": verdict,
            "hash": outcome.hash,
            "html": args.html,
        });
        writeln!(out, "{object}")?;
    } else {
        if let Some(verdict) = verdict {
            writeln!(out, "{verdict}")?;
        }
        writeln!(out, "written to {}", args.html.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

//! Counts the instructions that the engine spends on a message, at either end, with Callgrind.
//!
//! Instructions do not depend on how busy a machine is, so they show what a change costs where times cannot.
//! The counts that are kept lie in `tests/instructions.txt`; a count that is more than [`TOLERANCE`] away from them fails, also if it is lower, so that what is kept stays true.
//!
//! ```sh
//! cargo run --release -p rolecast-tests --bin instructions              # compares
//! cargo run --release -p rolecast-tests --bin instructions -- --update  # keeps what it counts
//! ```

mod pair;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use pair::Pair;
use rolecast_tests::workspace::root;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        [] => compare(),
        ["--update"] => update(),
        [WORK, load] => work(load),
        _ => {
            eprintln!("usage: instructions [--update]");
            ExitCode::from(2)
        }
    }
}

/// What is counted: how many messages travel together, and how often.
struct Load {
    name: &'static str,
    together: u32,
    rounds: u32,
}

/// What an end does is done below a function of this name.
struct End {
    name: &'static str,
    function: &'static str,
}

fn compare() -> ExitCode {
    let kept = match std::fs::read_to_string(path()) {
        Ok(text) => parse(&text),
        Err(error) => return fail(&format!("{}: {error}", path().display())),
    };
    let counted = match count_all() {
        Ok(counted) => counted,
        Err(why) => return fail(&why),
    };
    let mut strayed = false;
    for (what, count) in &counted {
        let Some(before) = kept.get(what) else {
            return fail(&format!(
                "{what}: nothing is kept to compare {count:.1} with"
            ));
        };
        let change = count / before - 1.0;
        let verdict = match change.abs() <= TOLERANCE {
            true => "as kept",
            false => "STRAYED",
        };
        strayed |= change.abs() > TOLERANCE;
        println!(
            "{what:<30} {count:>10.1} {:>+7.2} %  {verdict}",
            100.0 * change
        );
    }
    match strayed {
        false => ExitCode::SUCCESS,
        true => fail(
            "if that is meant, keep it: cargo run --release -p rolecast-tests --bin instructions -- --update",
        ),
    }
}

fn update() -> ExitCode {
    let counted = match count_all() {
        Ok(counted) => counted,
        Err(why) => return fail(&why),
    };
    let mut text = HEADING.to_owned();
    for (what, count) in &counted {
        writeln!(text, "{what}: {count:.1}").expect("a string takes everything");
    }
    print!("{text}");
    match std::fs::write(path(), text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("{}: {error}", path().display())),
    }
}

/// Runs below Callgrind, which counts what happens below one function.
fn work(load: &str) -> ExitCode {
    let Some(load) = LOADS.iter().find(|known| known.name == load) else {
        return fail("there is no such load");
    };
    let mut pair = Pair::meet();
    for _ in 0..load.rounds {
        pair.exchange(load.together);
    }
    ExitCode::SUCCESS
}

/// The instructions for a message, of each load at each end.
fn count_all() -> Result<Vec<(String, f64)>, String> {
    let mut counted = Vec::new();
    for load in &LOADS {
        for end in &ENDS {
            // That the two meet is counted too: it is little beside so many messages.
            let count = count(load, end)?;
            let messages = u64::from(load.together) * u64::from(load.rounds);
            counted.push((
                format!("{}, {}", end.name, load.name),
                count as f64 / messages as f64,
            ));
        }
    }
    Ok(counted)
}

fn count(load: &Load, end: &End) -> Result<u64, String> {
    let exe = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(format!("--toggle-collect=*{}*", end.function))
        .arg(exe)
        .args([WORK, load.name])
        .output()
        .map_err(|error| format!("valgrind cannot be started: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected :"));
    let count = collected.and_then(|(_, count)| count.trim().parse().ok());
    match count {
        Some(count) if count > 0 && output.status.success() => Ok(count),
        _ => Err(format!("nothing was counted: {said}")),
    }
}

/// The counts that are kept, by what they are of.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let (what, count) = line.split_once(": ")?;
            Some((what.to_owned(), count.parse().ok()?))
        })
        .collect()
}

fn path() -> PathBuf {
    root().join("tests/instructions.txt")
}

fn fail(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::FAILURE
}

/// A full batch, as under load, and one message at a time, as without.
const LOADS: [Load; 2] = [
    Load {
        name: "together",
        together: 960,
        rounds: 200,
    },
    Load {
        name: "one at a time",
        together: 1,
        rounds: 5_000,
    },
];
const ENDS: [End; 2] = [
    End {
        name: "to send",
        function: "at_the_sender",
    },
    End {
        name: "to take",
        function: "at_the_holder",
    },
];
/// Counts of one program differ by less than a tenth of this from machine to machine.
const TOLERANCE: f64 = 0.03;
const WORK: &str = "work";
const HEADING: &str = "\
# Instructions of the engine for a message of 64 bytes that is spread by digest to one holder.
# `cargo run --release -p rolecast-tests --bin instructions -- --update` writes this file.
";

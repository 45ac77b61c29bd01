//! Goldens: scripts of commands, each followed by everything that a few engines then say to each other and to their applications.
//!
//! A file in `testdata/` holds blocks of commands, a line `----`, and the expected lines, in the style of etcd's data-driven tests.
//! `UPDATE_GOLDENS=1 cargo test -p rolecast-protocol` writes the files anew; read the difference before you commit it.
//! Membership runs for real but is not shown: its packets have tests of their own.

mod net;
mod script;
mod show;

use net::Net;

fn check(name: &str) {
    let path = format!("{}/testdata/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("the golden can be read");
    let mut net = Net::new();
    let mut written = String::new();
    for block in text.trim_end().split("\n\n") {
        let commands: Vec<&str> = block.lines().take_while(|line| *line != "----").collect();
        for line in commands.iter().filter(|line| !line.starts_with('#')) {
            net.command(line);
        }
        let lines = std::mem::take(&mut net.lines);
        written += &format!("{}\n----\n{lines}\n", commands.join("\n"));
    }
    let written = written.trim_end().to_owned() + "\n";
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::write(&path, &written).expect("the golden can be written");
        return;
    }
    assert_eq!(
        written, text,
        "{name}: UPDATE_GOLDENS=1 writes what happened"
    );
}

#[test]
fn multicast() {
    check("multicast");
}

#[test]
fn relay() {
    check("relay");
}

#[test]
fn resting() {
    check("resting");
}

#[test]
fn sessions() {
    check("sessions");
}

#[test]
fn answers() {
    check("answers");
}

#[test]
fn calls() {
    check("calls");
}

#[test]
fn windows() {
    check("windows");
}

#[test]
fn hostile() {
    check("hostile");
}

#[test]
fn lives() {
    check("lives");
}

#[test]
fn owed() {
    check("owed");
}

#[test]
fn out_of_reach() {
    check("out-of-reach");
}

#[test]
fn idle() {
    check("idle");
}

#[test]
fn digest() {
    check("digest");
}

#[test]
fn gossip() {
    check("gossip");
}

#[test]
fn safe() {
    check("safe");
}

#[test]
fn large() {
    check("large");
}

#[test]
fn large_orphans() {
    check("large-orphans");
}

#[test]
fn large_in_turn() {
    check("large-in-turn");
}

#[test]
fn large_evicted() {
    check("large-evicted");
}

#[test]
fn evicted() {
    check("evicted");
}

#[test]
fn replay() {
    check("replay");
}

#[test]
fn keep_last() {
    check("keep-last");
}

#[test]
fn causal() {
    check("causal");
}

#[test]
fn narrowed() {
    check("narrowed");
}

#[test]
fn ways() {
    check("ways");
}

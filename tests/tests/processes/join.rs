//! Nodes that find each other, and leave.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use rolecast_tests::mesh::{Member, Mesh};

#[test]
fn five_processes_know_each_other_from_one_seed() {
    let mut mesh = Mesh::new();
    let members: Vec<Member> = (0..5)
        .map(|number| mesh.member(&["node", "--role", &format!("role-{number}")]))
        .collect();
    for member in &members {
        for other in members.iter().filter(|other| other.id != member.id) {
            member.wait_until_joined(&other.id);
        }
    }
    // A sixth one that asks is told of all, with their roles.
    let mut shown = mesh.process(&["members", "--wait", "5s"]);
    assert!(shown.wait().success(), "{shown:?}");
    let listed = shown.objects();
    for (number, member) in members.iter().enumerate() {
        let line = listed
            .iter()
            .find(|line| line["node"] == member.id.as_str());
        let line = line.unwrap_or_else(|| panic!("{} is not listed: {shown:?}", member.id));
        assert_eq!(line["roles"][0], format!("role-{number}"), "{line}");
        assert_eq!(line["addr"], member.addr.as_str(), "{line}");
    }
}

#[test]
fn nodes_whose_seed_is_not_there_yet_join_when_it_comes() {
    let mut mesh = Mesh::new();
    let seed = mesh.member(&["node"]);
    let (addr, mut process) = (seed.addr.clone(), seed.process);
    process.kill();
    let early: Vec<Member> = (0..2).map(|_| mesh.member(&["node"])).collect();
    let late = Member::from(mesh.process_at(&["node"], &addr));
    for member in &early {
        member.wait_until_joined(&late.id);
        late.wait_until_joined(&member.id);
    }
    early[0].wait_until_joined(&early[1].id);
}

/// Every leave, by the clock of the one who sees it: one that is slower was not announced, but found out.
#[test]
fn a_graceful_leave_is_seen_within_a_second() {
    let mut mesh = Mesh::new();
    let watcher = mesh.member(&["node"]);
    for _ in 0..10 {
        let mut leaver = mesh.member(&["node", "--role", "job"]);
        watcher.wait_until_joined(&leaver.id);
        leaver.wait_until_joined(&watcher.id);
        let told = unix_ms();
        leaver.process.signal(Signal::SIGTERM);
        let left = watcher.process.wait_for_event("left", Some(&leaver.id));
        assert!(leaver.process.wait().success(), "{leaver:?}");
        let seen = left["unix_ms"].as_u64().expect("it says when");
        let took = Duration::from_millis(seen.saturating_sub(told));
        assert!(took < Duration::from_secs(1), "{took:?}: {watcher:?}");
    }
    let down = watcher.process.objects();
    let down = down.iter().find(|object| object["event"] == "down");
    assert_eq!(down, None, "who leaves is not declared down");
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let ms = since.expect("the clock is set").as_millis();
    u64::try_from(ms).expect("this holds for a while")
}

//! Dead links in real kernels: five `rolecast` processes, each in a network namespace of its own, and firewalls between them.
//!
//! Needs `ip` and `nft`, and the right to make namespaces; says so and does nothing where that is missing.

use std::io::{Write as _, stderr};
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::{ChildStdin, Command};

use rolecast_tests::command::rolecast;
use rolecast_tests::mesh::{Member, Mesh};
use rolecast_tests::process::Process;
use serde_json::Value;

/// How many places with a network of their own there are.
const PLACES: usize = 5;

#[test]
fn dead_links_are_not_dead_nodes() {
    let places = match Places::make() {
        Ok(places) => places,
        Err(why) => {
            // Not with `eprintln`, whose lines only a failing test shows.
            let said = writeln!(stderr(), "SKIPPED: no network namespaces here: {why}");
            return said.expect("somebody reads it");
        }
    };
    let mesh = Mesh::new();
    let members: Vec<Member> = (0..PLACES)
        .map(|place| Member::from(places.run(&mesh, place, &["node", "--role", "log"], ":7400")))
        .collect();
    for member in &members {
        for other in members.iter().filter(|other| other.id != member.id) {
            member.wait_until_joined(&other.id);
        }
    }
    let watch = places.run(&mesh, 0, &["members", "--watch"], ":0");
    let mut sender = places.run(&mesh, 0, &["send", "log", "--timeout", "120s"], ":0");
    // Whoever watches counts both visitors and members from here on.
    wait_for_members(&watch, PLACES + 1);
    let mut lines = sender.take_stdin();
    let everywhere: Vec<&Member> = members.iter().collect();

    send(&mut lines, 1..=20);
    let origin = wait_for_line(&members[2], 20);
    wait_for_link(&watch, &members[2].id, "direct", 0);

    // No packet gets through between places 0 and 2.
    places.cut(0, 2);
    places.cut(2, 0);
    let seen = watch.objects().len();
    send(&mut lines, 21..=40);
    wait_for_link(&watch, &members[2].id, "via", seen);
    send(&mut lines, 41..=60);
    wait_for_all(&everywhere, &origin, 60);
    assert_nobody_is_down(&members, &watch);

    // Only what goes from 2 to 0 is lost.
    places.heal_all();
    let seen = watch.objects().len();
    wait_for_link(&watch, &members[2].id, "direct", seen);
    places.cut(2, 0);
    let seen = watch.objects().len();
    send(&mut lines, 61..=80);
    wait_for_link(&watch, &members[2].id, "via", seen);
    send(&mut lines, 81..=100);
    wait_for_all(&everywhere, &origin, 100);
    assert_nobody_is_down(&members, &watch);

    // Place 4 is cut off from everybody: that is no dead link.
    places.heal_all();
    for other in 0..4 {
        places.cut(other, 4);
        places.cut(4, other);
    }
    send(&mut lines, 101..=120);
    wait_for_all(&everywhere[..4], &origin, 120);
    members[0]
        .process
        .wait_for_event("down", Some(&members[4].id));
    let seen = members[0].process.objects().len();
    places.heal_all();
    members[0]
        .process
        .wait_for("the lost one comes back", |objects| {
            let back = objects.iter().skip(seen).find(|object| {
                (object["event"] == "joined" || object["event"] == "restarted")
                    && object["node"] == members[4].id.as_str()
            });
            back.map(|_| ())
        });
    send(&mut lines, 121..=140);
    wait_for_all(&everywhere[..4], &origin, 140);
    wait_for_line(&members[4], 140);
    assert_lacks_only(&members[4], &origin, 101..=120);
    drop(lines);
    assert_lost_at(&sender, &members[4], 101..=120);
}

/// Sends a line for each number.
fn send(lines: &mut ChildStdin, numbers: RangeInclusive<u64>) {
    for number in numbers {
        writeln!(lines, "line {number}").expect("the sender reads");
    }
}

/// Waits until a line has arrived; gives its sender.
fn wait_for_line(at: &Member, number: u64) -> String {
    let line = format!("line {number}");
    at.process.wait_for(&line, |objects| {
        let arrived = objects.iter().rfind(|object| object["payload"] == line)?;
        arrived["origin"].as_str().map(str::to_owned)
    })
}

/// Waits until all have all lines, and checks that each came once and in its place.
fn wait_for_all(members: &[&Member], origin: &str, last: u64) {
    let expected: Vec<String> = (1..=last).map(|number| format!("line {number}")).collect();
    for member in members {
        wait_for_line(member, last);
        let came = member.multicasts_of(origin).into_iter();
        let came: Vec<String> = came.map(|(_, payload)| payload).collect();
        assert_eq!(came, expected, "{member:?}");
    }
}

/// Waits until a node is reached so, as said after the first `seen` objects.
fn wait_for_link(watch: &Process, node: &str, link: &str, seen: usize) {
    watch.wait_for(&format!("{node} is reached {link}"), |objects| {
        let mut said = objects.iter().skip(seen);
        said.find(|object| {
            object["event"] == "member" && object["node"] == node && object["link"] == link
        })
        .map(|_| ())
    });
}

/// Waits until a node sees so many others.
fn wait_for_members(watch: &Process, count: usize) {
    watch.wait_for(&format!("{count} other members"), |objects| {
        let seen = |object: &Value| object["event"] == "members" && object["count"] == count;
        objects.iter().any(seen).then_some(())
    });
}

/// Nobody has been taken for dead: not by a member, and not by the node that watches from the place of the sender; nor have they taken those two for dead.
fn assert_nobody_is_down(members: &[Member], watch: &Process) {
    for member in members {
        let objects = member.process.objects();
        let down = objects.iter().find(|object| object["event"] == "down");
        assert_eq!(down, None, "{member:?}");
    }
    let objects = watch.objects();
    let counts = objects.iter().filter(|object| object["event"] == "members");
    let counts: Vec<u64> = counts
        .filter_map(|object| object["count"].as_u64())
        .skip_while(|&count| count < PLACES as u64 + 1)
        .collect();
    let all = |&count: &u64| count == PLACES as u64 + 1;
    assert!(!counts.is_empty() && counts.iter().all(all), "{watch:?}");
}

/// Every line came once and in its place, but for some or all of these.
fn assert_lacks_only(member: &Member, origin: &str, maybe: RangeInclusive<u64>) {
    let came = member.multicasts_of(origin).into_iter();
    let came: Vec<String> = came.map(|(_, payload)| payload).collect();
    let lacking = |number: &u64| {
        let line = format!("line {number}");
        maybe.contains(number) && !came.contains(&line)
    };
    let expected = (1..=140).filter(|number| !lacking(number));
    let expected: Vec<String> = expected.map(|number| format!("line {number}")).collect();
    assert_eq!(came, expected, "{member:?}");
}

/// The sender has lost at most so many messages, and all of them at this member: it has taken nobody else for dead.
fn assert_lost_at(sender: &Process, member: &Member, lost: RangeInclusive<u64>) {
    let receipt = sender.wait_for_event("receipt", None);
    let all = receipt["lost"].as_array().expect("a list");
    let elsewhere = all.iter().find(|lost| lost["node"] != member.id.as_str());
    assert_eq!(elsewhere, None, "{sender:?}");
    let messages: u64 = all
        .iter()
        .filter_map(|lost| lost["messages"].as_u64())
        .sum();
    let most = lost.count() as u64;
    assert!(messages <= most, "{messages} messages\n{sender:?}");
}

/// Network namespaces on one bridge, which is in a namespace too; they are gone when this is dropped, whatever happened.
struct Places {
    prefix: String,
}

impl Places {
    fn make() -> Result<Self, String> {
        run("ip", &["-V"])?;
        run("nft", &["-v"])?;
        let places = Places {
            prefix: format!("rolecast{}", std::process::id()),
        };
        let hub = places.hub();
        run("ip", &["netns", "add", &hub])?;
        run("ip", &["-n", &hub, "link", "add", "hub", "type", "bridge"])?;
        run("ip", &["-n", &hub, "link", "set", "hub", "up"])?;
        for place in 0..PLACES {
            places.add(place)?;
        }
        Ok(places)
    }

    fn add(&self, place: usize) -> Result<(), String> {
        let (name, hub, port) = (self.name(place), self.hub(), format!("port{place}"));
        run("ip", &["netns", "add", &name])?;
        let veth = ["link", "add", &port, "type", "veth", "peer", "name", "eth0"];
        let there = ["netns", &name];
        run("ip", &[&["-n", &hub][..], &veth[..], &there[..]].concat())?;
        run(
            "ip",
            &["-n", &hub, "link", "set", &port, "master", "hub", "up"],
        )?;
        let addr = format!("{}/24", addr(place));
        run("ip", &["-n", &name, "addr", "add", &addr, "dev", "eth0"])?;
        for device in ["lo", "eth0"] {
            run("ip", &["-n", &name, "link", "set", device, "up"])?;
        }
        self.rules(place, "add table inet cut")?;
        self.rules(
            place,
            "add chain inet cut in { type filter hook input priority 0; }",
        )
    }

    /// Nothing gets from one place to another any more.
    fn cut(&self, from: usize, to: usize) {
        let rule = format!("add rule inet cut in ip saddr {} drop", addr(from));
        self.rules(to, &rule).expect("a rule can be added");
    }

    fn heal_all(&self) {
        for place in 0..PLACES {
            let healed = self.rules(place, "flush chain inet cut in");
            healed.expect("rules can be dropped");
        }
    }

    fn rules(&self, place: usize, command: &str) -> Result<(), String> {
        let name = self.name(place);
        run("ip", &["netns", "exec", &name, "nft", command])
    }

    /// Starts a `rolecast` command at a place, whose node belongs to the mesh with its seed at place 0.
    fn run(&self, mesh: &Mesh, place: usize, arguments: &[&str], port: &str) -> Process {
        let name = self.name(place);
        let program = rolecast().to_str().expect("paths of programs are text");
        let (secret, listen) = (mesh.path("secret"), format!("{}{port}", addr(place)));
        let secret = secret.to_str().expect("temporary paths are text");
        let seed = format!("{}:7400", addr(0));
        let mut all = vec!["netns", "exec", &name, program];
        all.extend(arguments);
        all.extend(["--json", "--profile", "local", "--listen", &listen]);
        all.extend(["--secret-file", secret, "--seed", &seed]);
        Process::start_program(Path::new("ip"), &all)
    }

    fn name(&self, place: usize) -> String {
        format!("{}-{place}", self.prefix)
    }

    fn hub(&self) -> String {
        format!("{}-hub", self.prefix)
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        for name in (0..PLACES)
            .map(|place| self.name(place))
            .chain([self.hub()])
        {
            // It may never have been made.
            let _ = run("ip", &["netns", "del", &name]);
        }
    }
}

fn addr(place: usize) -> String {
    format!("10.77.0.{}", place + 1)
}

/// Runs a command to its end; says what it complains of if it fails.
fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let complaint = String::from_utf8_lossy(&output.stderr);
            Err(format!(
                "{program} {}: {}",
                arguments.join(" "),
                complaint.trim()
            ))
        }
    }
}

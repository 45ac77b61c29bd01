//! Commands that meet in a mesh of real processes.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::process::{PATIENCE, Place, Running, eventually};

#[test]
fn what_is_sent_is_received_and_acknowledged() {
    let place = Place::new();
    let (_node, seed) = place.start_mesh();
    let one = place.start_listener(&seed, &["chat"]);
    let two = place.start_listener(&seed, &["chat"]);

    let sent = place.visit(&seed, &["send", "chat", "hello", "--json"]);
    assert_eq!(sent.code, Some(0), "{sent:?}");
    let receipt = &sent.objects()[0];
    assert_eq!(receipt["holders"], 2);
    assert_eq!(receipt["acknowledged"], 2);
    let (first, second) = (one.event("message"), two.event("message"));
    for message in [&first, &second] {
        assert_eq!(message["payload"], "hello");
        assert_eq!(message["kind"], "multicast");
        assert_eq!(message["seq"], 1);
    }
    assert_eq!(first["origin"], second["origin"]);

    let sent = place.visit(&seed, &["send", "chat", "for one", "--anycast", "--json"]);
    let receipt = &sent.objects()[0];
    assert_eq!(receipt["taken_by"].as_array().unwrap().len(), 1, "{sent:?}");

    let human = place.visit(&seed, &["send", "chat", "for people"]);
    let expected = "1 message to 2 holders of chat, acknowledged by all in ";
    assert!(human.stdout.starts_with(expected), "{human:?}");
}

#[test]
fn lines_keep_their_order_at_any_rate() {
    let place = Place::new();
    let (_node, seed) = place.start_mesh();
    let listener = place.start_listener(&seed, &["lines"]);
    let input: String = (1..=20_000)
        .map(|number| format!("line {number}\n"))
        .collect();
    let sent = place.visit_with_input(&seed, &["send", "lines", "--json"], &input);
    assert_eq!(sent.code, Some(0), "{sent:?}");
    assert_eq!(sent.objects()[0]["messages"], 20_000);
    for number in 1..=20_000 {
        let message = listener.event("message");
        assert_eq!(message["payload"], format!("line {number}"));
        assert_eq!(message["seq"], number);
    }
    let single = place.visit_with_input(&seed, &["send", "lines", "--anycast", "--json"], &input);
    assert_eq!(single.objects()[0]["messages"], 20_000, "{single:?}");
    for number in 1..=20_000 {
        assert_eq!(
            listener.event("message")["payload"],
            format!("line {number}")
        );
    }
}

#[test]
fn a_node_is_found_by_the_first_digits_of_its_id() {
    let place = Place::new();
    let (node, seed) = place.start_mesh();
    let listener = place.start_listener(&seed, &["chat"]);
    let members = place.visit(&seed, &["members", "--json"]).objects();
    let holder = members.iter().find(|member| member["roles"][0] == "chat");
    let id = holder.unwrap()["node"].as_str().unwrap().to_owned();

    let sent = place.visit(&seed, &["send", "chat", "psst", "--to", &id[..8]]);
    assert_eq!(sent.code, Some(0), "{sent:?}");
    assert_eq!(listener.event("message")["payload"], "psst");

    let ids: Vec<&str> = members
        .iter()
        .filter_map(|member| member["node"].as_str())
        .collect();
    let unknown = ["00000000", "11111111"]
        .into_iter()
        .find(|digits| !ids.iter().any(|id| id.starts_with(digits)));
    place
        .visit(&seed, &["send", "chat", "psst", "--to", unknown.unwrap()])
        .assert_error(1, &["no node's id starts with", &id[..10]]);
    drop(node);
}

#[test]
fn places_patterns_and_services_are_addressed() {
    let place = Place::new();
    let (_node, seed) = place.start_mesh();
    let ams = place.start_listener(&seed, &["list:a", "--site", "ams", "--reply", "ams"]);
    let fra = place.start_listener(&seed, &["list:b", "--site", "fra", "--reply", "fra"]);
    let service = ["--service", "db", "--instance", "2", "--host", "rack-7"];
    let db = [&["--own-service", "--reply", "db"][..], &service].concat();
    let db = place.start_listener(&seed, &db);

    let sent = place.visit(&seed, &["send", "list:*", "to both", "--json"]);
    assert_eq!(sent.objects()[0]["acknowledged"], 2, "{sent:?}");
    let sent = place.visit(
        &seed,
        &["send", "list:*", "in ams", "--in-site", "ams", "--json"],
    );
    assert_eq!(sent.objects()[0]["role"], "list:* [site=ams]", "{sent:?}");
    for text in ["to both", "in ams"] {
        assert_eq!(ams.event("message")["payload"], text);
    }
    assert_eq!(fra.event("message")["payload"], "to both");

    let near = |site: &str| {
        let asked = place.visit(&seed, &["request", "list:*", "?", "--prefer-site", site]);
        asked.stdout.trim_end().to_owned()
    };
    assert_eq!(
        (near("fra"), near("ams")),
        ("fra".to_owned(), "ams".to_owned())
    );
    assert!(["ams", "fra"].contains(&&near("oslo")[..]));

    let args = [
        "request",
        "db",
        "?",
        "--of-service",
        "--on-host",
        "rack-7",
        "--of-instance",
        "2",
    ];
    assert_eq!(place.visit(&seed, &args).stdout, "db\n");
    let sent = place.visit(&seed, &["send", "db", "to the service", "--of-service"]);
    assert_eq!(sent.code, Some(0), "{sent:?}");
    for text in ["?", "to the service"] {
        assert_eq!(db.event("message")["payload"], text);
    }

    for (args, why) in [
        (
            &["send", "list:a", "x", "--in-site", "fra"][..],
            "elsewhere in this mesh",
        ),
        (&["send", "web:*", "x"], "holds a role that matches web:*"),
        (
            &["send", "web", "x", "--of-service"],
            "takes what is sent to the service web",
        ),
    ] {
        let args = [args, &["--wait", "300ms"]].concat();
        place.visit(&seed, &args).assert_error(1, &[why]);
    }
}

#[test]
fn broadcasts_reach_nodes_and_who_listens_to_everything() {
    let place = Place::new();
    let (node, seed) = place.start_mesh();
    let listener = place.start_listener(&seed, &["*"]);
    let sent = place.visit(&seed, &["broadcast", "hear this", "--json"]);
    assert_eq!(sent.code, Some(0), "{sent:?}");
    for receiver in [&node, &listener] {
        assert_eq!(receiver.event("message")["payload"], "hear this");
    }
    // The node that sends is a member for a moment too, and nobody reads there.
    let receipt = &sent.objects()[0];
    assert_eq!(
        (&receipt["holders"], &receipt["acknowledged"]),
        (&2.into(), &2.into())
    );
    for command in [&["broadcast", "to people"][..], &["send", "*", "to people"]] {
        let human = place.visit(&seed, command);
        let expected = "1 message to 2 other nodes, acknowledged by all in ";
        assert!(human.stdout.starts_with(expected), "{human:?}");
    }
}

#[test]
fn requests_are_answered_by_text_and_by_command() {
    let place = Place::new();
    let (_node, seed) = place.start_mesh();
    let _text = place.start_listener(&seed, &["text", "--reply", "as always"]);
    let _upper = place.start_listener(&seed, &["upper", "--reply-with", "tr a-z A-Z"]);
    let _failing = place.start_listener(&seed, &["failing", "--reply-with", "exit 3"]);
    let _slow = place.start_listener(&seed, &["slow", "--reply-with", "sleep 30"]);
    let ask = |role: &str| place.visit(&seed, &["request", role, "a question", "--timeout", "1s"]);

    let answered = ask("text");
    assert_eq!(
        (answered.code, answered.stdout.as_str()),
        (Some(0), "as always\n")
    );
    let answered = ask("upper");
    assert_eq!(
        (answered.code, answered.stdout.as_str()),
        (Some(0), "A QUESTION\n")
    );
    ask("failing").assert_error(1, &["refused by"]);
    ask("slow").assert_error(1, &["no answer came within 1.0 s", "may have acted"]);
}

#[test]
fn a_question_without_an_answer_says_so_in_one_object() {
    let place = Place::new();
    let (_node, seed) = place.start_mesh();
    let failing = place.start(&[
        "listen",
        "failing",
        "--seed",
        &seed,
        "--listen",
        "127.0.0.1:0",
        "--reply-with",
        "exit 3",
    ]);
    let refuser = failing.event("started")["node"].clone();
    let _slow = place.start_listener(&seed, &["slow", "--reply-with", "sleep 30"]);
    let ask = |role: &str, more: &[&str]| {
        let question = ["request", role, "a question", "--json", "--timeout", "1s"];
        let asked = place.visit(&seed, &[&question[..], &["--wait", "1s"], more].concat());
        assert_eq!(asked.code, Some(1), "{asked:?}");
        let [object] = &asked.objects()[..] else {
            panic!("one object is wanted: {asked:?}");
        };
        assert_eq!(object["event"], "no-reply", "{asked:?}");
        assert_eq!(object["role"], role, "{asked:?}");
        assert!(object["why"].as_str().is_some_and(|why| !why.is_empty()));
        assert!(object["ms"].is_number(), "{asked:?}");
        object.clone()
    };
    for more in [&[][..], &["--all"]] {
        let refused = ask("failing", more);
        assert_eq!(refused["may_have_arrived"], false, "{refused}");
        assert_eq!(refused["node"], refuser, "{refused}");
        assert_eq!(ask("slow", more)["may_have_arrived"], true);
        let nobody = ask("nobody", more);
        assert_eq!(nobody["may_have_arrived"], false, "{nobody}");
        assert!(nobody["node"].is_null(), "{nobody}");
    }
}

#[test]
fn a_command_ends_with_all_that_it_started_when_nobody_waits_for_it() {
    let place = Place::new();
    let (_node, seed) = place.start_mesh();
    let pipe = place.path("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    // The shell's child, and nobody else, holds the writing end.
    let command = "sleep 1000 > pipe & wait";
    let mut slow = place.start_listener(&seed, &["slow", "--reply-with", command]);
    let ask = |timeout: &str| {
        let mut command = place.command(&["request", "slow", "x", "--timeout", timeout]);
        command.args(["--seed", &seed, "--secret-file", "mesh.secret"]);
        command.args(["--profile", "local", "--listen", "127.0.0.1:0", "--json"]);
        Running::spawn(command)
    };
    // To open the reading end waits for a writer, and to read it to the end until there is none.
    let (started, is_started) = mpsc::channel();
    let (ended, has_ended) = mpsc::channel();
    thread::spawn(move || {
        while let Ok(mut reading) = std::fs::File::open(&pipe) {
            let _ = started.send(());
            let _ = reading.read_to_end(&mut Vec::new());
            let _ = ended.send(());
        }
    });

    let mut asking = ask("1s");
    is_started.recv_timeout(PATIENCE).unwrap();
    assert_eq!(asking.wait(), Some(1));
    has_ended.recv_timeout(PATIENCE).unwrap();

    let _asking = ask("1000s");
    is_started.recv_timeout(PATIENCE).unwrap();
    slow.signal(Signal::SIGINT);
    assert_eq!(slow.wait(), Some(0));
    has_ended.recv_timeout(PATIENCE).unwrap();
}

#[test]
fn a_question_to_all_says_who_did_not_answer() {
    let place = Place::new();
    let (_node, seed) = place.start_mesh();
    let _one = place.start_listener(&seed, &["work", "--reply", "one"]);
    let _two = place.start_listener(&seed, &["work", "--reply", "two"]);
    let ask = || place.visit(&seed, &["request", "work", "status", "--all", "--json"]);
    let answered = ask();
    assert_eq!(answered.code, Some(0), "{answered:?}");
    let mut said: Vec<Value> = answered
        .objects()
        .iter()
        .map(|o| o["payload"].clone())
        .collect();
    said.sort_by_key(Value::to_string);
    assert_eq!(said, ["one", "two"]);

    let _mute = place.start_listener(&seed, &["work"]);
    let refused = ask();
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let objects = refused.objects();
    assert_eq!(
        objects.iter().filter(|o| o["event"] == "no-reply").count(),
        1
    );
    assert!(
        refused
            .stderr
            .contains("1 of 3 holders of work did not answer"),
        "{refused:?}"
    );
}

#[test]
fn a_role_without_holder_suggests_another() {
    let place = Place::new();
    let (_node, seed) = place.start_mesh();
    let _master = place.start_listener(&seed, &["db:master"]);
    for command in [
        &["send", "db:mastr", "hi"][..],
        &["request", "db:mastr", "hi"],
    ] {
        let args = [command, &["--wait", "500ms"]].concat();
        let parts = ["no node holds the role db:mastr", "did you mean db:master?"];
        place.visit(&seed, &args).assert_error(1, &parts);
    }
}

#[test]
fn members_are_listed_without_the_one_who_asks() {
    let place = Place::new();
    let (_node, seed) = place.start_mesh();
    let _other = place.start_listener(&seed, &["chat", "--site", "ams", "--service", "db"]);
    let seen = place.visit(&seed, &["members", "--json"]);
    assert_eq!(seen.code, Some(0), "{seen:?}");
    let objects = seen.objects();
    assert_eq!(objects.len(), 3, "two members and the end: {seen:?}");
    let other = objects
        .iter()
        .find(|member| member["site"] == "ams")
        .unwrap();
    assert_eq!(other["service"], "db");
    assert_eq!(other["roles"][0], "chat");
    assert_eq!(other["state"], "alive");
    assert_eq!(objects[2]["count"], 2);

    let human = place.visit(&seed, &["members"]).stdout;
    let heads: Vec<&str> = human.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(
        heads,
        [
            "id", "address", "site", "service", "roles", "state", "link", "rtt"
        ]
    );
    assert!(human.contains("2 nodes, as seen by"), "{human}");
}

#[test]
fn another_mesh_is_not_joined() {
    let place = Place::new();
    let (_node, seed) = place.start_mesh();
    let stranger = Place::new();
    let is_of_another = format!("the node at {seed} is of another mesh: ");
    let parts = [&is_of_another[..], "--secret-file"];
    for visit in [
        &["members"][..],
        &["send", "chat", "hi"],
        &["broadcast", "hi"],
        &["request", "chat", "hi"],
    ] {
        let args = [visit, &["--wait", "500ms"]].concat();
        stranger.visit(&seed, &args).assert_error(1, &parts);
    }
    for stays in [&["listen", "chat"][..], &["node"]] {
        let args = [stays, &["--seed", &seed, "--listen", "127.0.0.1:0"]].concat();
        let mut running = stranger.start(&args);
        let warning = running.complaint("warning");
        let sentence = warning["message"].as_str().unwrap();
        assert!(
            parts.iter().all(|part| sentence.contains(part)),
            "{sentence}"
        );
        running.signal(Signal::SIGINT);
        assert_eq!(running.wait(), Some(0));
    }
}

#[test]
fn a_visitor_whom_nobody_answers_is_told_so() {
    let place = Place::new();
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = free.local_addr().unwrap().to_string();
    place
        .visit(&addr, &["members", "--wait", "300ms"])
        .assert_error(1, &["no node answered at", &addr, "is one running there"]);
}

#[test]
fn a_signal_leaves_the_mesh_in_good_order() {
    let place = Place::new();
    let (node, seed) = place.start_mesh();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut leaver = place.start_listener(&seed, &["chat"]);
        let joined = node.event("joined");
        let start = Instant::now();
        leaver.signal(signal);
        node.event_where("left", |left| left["node"] == joined["node"]);
        assert!(
            start.elapsed() < Duration::from_secs(1),
            "{:?}",
            start.elapsed()
        );
        assert_eq!(leaver.wait(), Some(0));
    }
}

#[test]
fn a_second_signal_stops_at_once() {
    let place = Place::new();
    let (_node, seed) = place.start_mesh();
    let mut command = place.command(&["listen", "chat", "--seed", &seed, "--profile", "local"]);
    command.args(["--listen", "127.0.0.1:0", "--secret-file", "mesh.secret"]);
    // Nobody reads its output: once the pipe is full, it cannot leave in good order.
    let mut stuck = command.stdout(Stdio::piped()).spawn().unwrap();
    let input = "a line that fills the pipe\n".repeat(10_000);
    let sent = place.visit_with_input(&seed, &["send", "chat", "--timeout", "1s"], &input);
    sent.assert_error(1, &["does not read"]);

    let pid = nix::unistd::Pid::from_raw(i32::try_from(stuck.id()).unwrap());
    let status = loop {
        // Signals that come together count as one.
        let _ = nix::sys::signal::kill(pid, Signal::SIGINT);
        if let Some(status) = stuck.try_wait().unwrap() {
            break status;
        }
        thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.code(), Some(130));
}

#[test]
fn a_closed_output_ends_quietly() {
    let place = Place::new();
    let (_node, seed) = place.start_mesh();
    let mut command = place.command(&["listen", "chat", "--seed", &seed, "--profile", "local"]);
    command.args(["--listen", "127.0.0.1:0", "--secret-file", "mesh.secret"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    assert!(line.starts_with("chat is held by"), "{line}");
    drop(stdout);
    place.visit(&seed, &["send", "chat", "anyone?"]);
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
}

#[test]
fn a_node_of_a_configuration_file_is_joined_by_visitors_with_the_same_file() {
    let place = Place::new();
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = free.local_addr().unwrap();
    drop(free);
    place.write(
        "node.toml",
        &format!(
            "listen = \"{addr}\"\nsecret-file = \"mesh.secret\"\nprofile = \"local\"\nroles = [\"db\"]\nsite = \"ams\"\n"
        ),
    );
    let node =
        crate::process::Running::spawn(place.command(&["node", "--config", "node.toml", "--json"]));
    assert_eq!(node.event("started")["roles"][0], "db");
    let sent = place.run(&[
        "send",
        "db",
        "hello",
        "--config",
        "node.toml",
        "--listen",
        "127.0.0.1:0",
    ]);
    assert_eq!(sent.code, Some(0), "{sent:?}");
    assert_eq!(node.event("message")["payload"], "hello");
    let others = || place.run(&["members", "--config", "node.toml", "--json"]);
    eventually("a mesh of one", || {
        others().objects().last().unwrap()["count"] == 1
    });
}

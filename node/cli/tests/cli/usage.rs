//! What can be wrong before anything runs.

use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;

use crate::process::Place;

/// An address where nobody answers.
const NOWHERE: &str = "127.0.0.1:1";

#[test]
fn every_command_teaches_with_examples() {
    let place = Place::new();
    let whole = place.run(&["--help"]);
    assert_eq!(whole.code, Some(0));
    for command in [
        "node",
        "listen",
        "send",
        "broadcast",
        "request",
        "members",
        "secret",
        "demo",
        "bench",
    ] {
        assert!(
            whole.stdout.contains(&format!("\n  {command} ")),
            "{command}"
        );
        let help = place.run(&[command, "--help"]);
        assert_eq!(help.code, Some(0), "{help:?}");
        assert!(help.stdout.contains("Usage: rolecast"), "{help:?}");
    }
    assert!(
        !whole.stdout.contains("demo-node"),
        "hidden commands stay hidden"
    );
    for command in ["node", "listen", "send", "broadcast", "request", "members"] {
        let help = place.run(&[command, "--help"]).stdout;
        for part in [
            "Examples:",
            "--seed",
            "--secret-file",
            "ROLECAST_SEED",
            "--config",
            "--json",
        ] {
            assert!(help.contains(part), "{command} does not explain {part}");
        }
    }
}

#[test]
fn wrong_flags_are_usage_errors() {
    let place = Place::new();
    for args in [
        &["frobnicate"][..],
        &["node", "--sede", "a:1"],
        &["send"],
        &["send", "chat", "hi", "--anycast", "--to", "ab"],
        &["send", "chat", "hi", "--to", "nothex"],
        &["request", "chat", "hi", "--timeout", "soon"],
        &["listen", "chat", "--reply", "a", "--reply-with", "b"],
        &["demo", "--nodes", "2"],
        &["members", "--label", "novalue"],
        &["send", "*:readers", "hi"],
        &["send", "the role", "hi", "--in-site", "ams"],
        &["send", "chat", "hi", "--prefer-site", "ams"],
        &["send", "chat", "hi", "--of-instance", "1"],
        &["send", "", "hi", "--of-service"],
        &["send", "list:*", "hi", "--keep-last"],
        &["request", "chat", "hi", "--all", "--prefer-site", "ams"],
        &["listen", "list:*"],
        &["listen", "--own-service"],
        &["listen", "chat", "--own-service", "--service", "db"],
    ] {
        let ended = place.run(args);
        assert_eq!(ended.code, Some(2), "{args:?}: {ended:?}");
        assert!(ended.stderr.starts_with("error: "), "{args:?}: {ended:?}");
        assert_eq!(
            ended.stderr.trim_end().lines().count(),
            1,
            "{args:?}: {ended:?}"
        );
        let json = place.run(&[args, &["--json"]].concat());
        assert_eq!(json.code, Some(2), "{args:?}: {json:?}");
        let object: serde_json::Value = serde_json::from_str(&json.stderr).expect("one object");
        assert_eq!(object["event"], "error", "{args:?}: {json:?}");
    }
}

#[test]
fn a_usage_error_points_to_the_help_of_its_command() {
    let place = Place::new();
    let refuse = |args: &[&str], parts: &[&str]| place.run(args).assert_error(2, parts);
    let help = "`rolecast bench fanout --help` tells more";
    refuse(&["bench", "fanout", "--subs", "0"], &["--subs", help]);
    let help = "`rolecast request --help` tells more";
    refuse(&["request", "chat", "hi", "--timeout", "soon"], &[help]);
    refuse(&["frobnicate"], &["`rolecast --help` tells more"]);
}

#[test]
fn a_missing_subcommand_is_none_that_is_hidden() {
    let place = Place::new();
    for (args, shown, hidden) in [
        (&["--json"][..], "demo, node, listen", "demo-node"),
        (&["bench", "--json"], "fanout, latency", "part"),
    ] {
        let ended = place.run(args);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(shown), "{ended:?}");
        assert!(!ended.stderr.contains(hidden), "{ended:?}");
    }
}

#[test]
fn unknown_keys_of_a_configuration_are_named() {
    let place = Place::new();
    for (text, parts) in [
        (
            "seds = []",
            &["node.toml", "`seds`", "did you mean `seeds`?"][..],
        ),
        ("sead = []", &["`sead`", "did you mean `seeds`?"]),
        ("listen = 7400", &["`listen` should be a text"]),
        ("listen", &["line 1 is not TOML"]),
    ] {
        place.write("node.toml", text);
        place
            .run(&["node", "--config", "node.toml"])
            .assert_error(2, parts);
    }
    place
        .run(&["node", "--config", "none.toml"])
        .assert_error(2, &["none.toml cannot be read"]);
}

#[test]
fn secrets_that_cannot_be_used_are_explained() {
    let place = Place::new();
    let members = |file: &str| place.run(&["members", "--seed", NOWHERE, "--secret-file", file]);
    place.write("empty", "\n");
    place.write("wrong", "hunter2\n");
    members("none").assert_error(
        2,
        &["none cannot be read", "rolecast secret new --out none"],
    );
    members("empty").assert_error(2, &["empty is empty"]);
    members("wrong").assert_error(2, &["wrong holds no mesh secret", "rolecast1-"]);
    members(".").assert_error(2, &["the secret file . cannot be read"]);
    place
        .run(&["members", "--seed", NOWHERE])
        .assert_error(2, &["--secret-file FILE"]);

    let mut command = place.command(&["members", "--seed", NOWHERE]);
    command.env("ROLECAST_SECRET", "rolecast1-tooshort");
    place
        .run_command(command, "")
        .assert_error(2, &["ROLECAST_SECRET holds no mesh secret"]);
    let mut command = place.command(&["members", "--seed", NOWHERE]);
    command
        .env("ROLECAST_SECRET", "a")
        .env("ROLECAST_SECRET_FILE", "b");
    place
        .run_command(command, "")
        .assert_error(2, &["unset one of them"]);
}

#[test]
fn a_secret_that_everybody_can_read_is_warned_of() {
    let place = Place::new();
    let members = || {
        place.run(&[
            "members",
            "--seed",
            NOWHERE,
            "--wait",
            "100ms",
            "--secret-file",
            "mesh.secret",
        ])
    };
    assert!(!members().stderr.contains("warning"));
    let permissions = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(place.path("mesh.secret"), permissions).unwrap();
    let warned = members().stderr;
    assert!(warned.starts_with("warning: every user"), "{warned}");
    assert!(warned.contains("chmod 600 mesh.secret"), "{warned}");
}

#[test]
fn malformed_seeds_and_addresses_are_named() {
    let place = Place::new();
    let run = |args: &[&str]| place.run(&[args, &["--secret-file", "mesh.secret"]].concat());
    run(&["node", "--seed", "localhost"])
        .assert_error(2, &["\"localhost\" in --seed is not of the form HOST:PORT"]);
    run(&["node", "--listen", "7400"]).assert_error(2, &["\"7400\" of --listen", "HOST:PORT"]);
    run(&["send", "chat", "hi"]).assert_error(2, &["pass --seed HOST:PORT"]);
    let mut command = place.command(&["members", "--secret-file", "mesh.secret"]);
    command.env("ROLECAST_SEED", "127.0.0.1:7400,nowhere");
    place
        .run_command(command, "")
        .assert_error(2, &["\"nowhere\" in ROLECAST_SEED"]);
}

#[test]
fn role_names_that_cannot_be_are_refused() {
    let place = Place::new();
    let long = "r".repeat(129);
    for (role, part) in [
        (long.as_str(), "at most 128 bytes, and this one has 129"),
        ("two words", "cannot contain ' '"),
        ("", "cannot be empty"),
    ] {
        let node = ["--seed", NOWHERE, "--secret-file", "mesh.secret"];
        for command in [
            &["listen", role][..],
            &["send", role, "hi"],
            &["request", role, "hi"],
        ] {
            place
                .run(&[command, &node].concat())
                .assert_error(2, &[part]);
        }
    }
}

#[test]
fn an_address_in_use_is_said_so() {
    let place = Place::new();
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    place
        .run(&["node", "--listen", &addr, "--secret-file", "mesh.secret"])
        .assert_error(1, &[&addr, "in use", "port 0"]);
}

#[test]
fn flags_go_over_the_environment_over_the_file() {
    let place = Place::new();
    place.write(
        "node.toml",
        "seeds = [\"127.0.0.1:3\"]\nsecret-file = \"mesh.secret\"\n",
    );
    let members = |flags: &[&str], variable: Option<&str>| {
        let mut command = place.command(&["members", "--config", "node.toml", "--wait", "100ms"]);
        command.args(flags);
        command.envs(variable.map(|seed| ("ROLECAST_SEED", seed)));
        place.run_command(command, "")
    };
    let flag = ["--seed", "127.0.0.1:1"];
    members(&flag, Some("127.0.0.1:2")).assert_error(1, &["answered at 127.0.0.1:1 within"]);
    members(&[], Some("127.0.0.1:2")).assert_error(1, &["answered at 127.0.0.1:2 within"]);
    members(&[], None).assert_error(1, &["answered at 127.0.0.1:3 within"]);
}

#[test]
fn secrets_are_made_for_their_owner_alone() {
    let place = Place::new();
    let mode = std::fs::metadata(place.path("mesh.secret"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    place
        .run(&["secret", "new", "--out", "mesh.secret"])
        .assert_error(2, &["mesh.secret exists already"]);
    let printed = place.run(&["secret", "new"]);
    assert!(printed.stdout.starts_with("rolecast1-"), "{printed:?}");
    assert_eq!(printed.stdout.lines().count(), 1);
    let object = &place.run(&["secret", "new", "--json"]).objects()[0];
    assert_ne!(object["secret"].as_str(), Some(printed.stdout.trim()));
}

#[test]
fn errors_are_objects_too_where_json_is_wanted() {
    let place = Place::new();
    let ended = place.run(&["members", "--json"]);
    assert_eq!(ended.code, Some(2));
    let error: serde_json::Value = serde_json::from_str(&ended.stderr).unwrap();
    assert_eq!(error["event"], "error");
    assert_eq!(ended.stdout, "");
}

#[test]
fn a_certificate_needs_all_its_files_and_no_secret() {
    let place = Place::new();
    let node = |args: &[&str]| place.run(&[&["node", "--listen", "127.0.0.1:0"], args].concat());
    node(&["--ca", "ca.pem", "--key", "node.key"]).assert_error(2, &["ca, cert and key"]);
    let all = ["--ca", "ca.pem", "--cert", "node.pem", "--key", "node.key"];
    node(&all).assert_error(2, &["cannot read", "ca.pem"]);
    let both = node(&[&all[..], &["--secret-file", "mesh.secret"]].concat());
    assert_eq!(both.code, Some(2), "{both:?}");
    assert!(both.stderr.contains("cannot be used with"), "{both:?}");
}

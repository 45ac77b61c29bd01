//! Benchmarks, in short: that they run, count everything and say so.

use serde_json::Value;

use crate::process::Place;

/// Runs a benchmark and gives the objects that it prints.
fn measure(args: &[&str]) -> Vec<Value> {
    let place = Place::new();
    let ended = place.run(&[&["bench"], args, &["--json"]].concat());
    assert_eq!(ended.code, Some(0), "{args:?}: {ended:?}");
    let lines = ended.stdout.lines();
    let objects = lines.map(|line| serde_json::from_str(line).expect("one object a line"));
    objects.collect()
}

#[track_caller]
fn assert_counted(measured: &Value, delivered: u64) {
    assert_eq!(measured["delivered"], delivered, "{measured}");
    assert_eq!(measured["lost"], 0, "{measured}");
    assert!(measured["wall_s"].as_f64() > Some(0.0), "{measured}");
    assert!(measured["cpu_s"].as_f64() > Some(0.0), "{measured}");
}

#[test]
fn everything_that_one_sends_is_counted_at_each_receiver() {
    let fanout = measure(&["fanout", "--subs", "2", "--count", "3000", "--eager"]);
    assert_counted(&fanout[0], 6_000);
    assert!(
        fanout[0]["loopback_bytes_per_delivery"].as_f64() > Some(64.0),
        "{fanout:?}"
    );

    let latency = measure(&["latency", "--subs", "2", "--rate", "200", "--secs", "1"]);
    assert_counted(&latency[0], 400);
    assert!(latency[0]["p50_us"].as_f64() <= latency[0]["p99_us"].as_f64());

    let stream = measure(&["stream", "--subs", "2", "--size", "3M"]);
    assert_counted(&stream[0], 2);

    let reqrep = measure(&["reqrep", "--count", "300", "--inflight", "4"]);
    assert_counted(&reqrep[0], 300);
}

#[test]
fn bare_connections_are_measured_in_turn() {
    let args = [
        "fanout",
        "--subs",
        "2",
        "--count",
        "2000",
        "--against",
        "ceiling",
    ];
    let compared = measure(&[&args[..], &["--pairs", "3"]].concat());
    assert_counted(&compared[0], 4_000);
    let ratios = compared[0]["ratios"].as_array().expect("a list");
    assert_eq!(ratios.len(), 3, "{compared:?}");
    assert!(ratios.contains(&compared[0]["ratio"]), "{compared:?}");

    let line = compared[0].to_string();
    let place = Place::new();
    let drawn = place.run_command(place.command(&["bench", "plot", "ratios"]), &line);
    assert_eq!(drawn.code, Some(0), "{drawn:?}");
    assert!(drawn.stdout.starts_with("<svg"), "{drawn:?}");
    assert!(drawn.stdout.contains("fanout to 2, 64 B"), "{drawn:?}");
}

#[test]
fn everything_that_all_send_is_counted_at_all() {
    let mesh = measure(&["mesh", "--nodes", "3", "--secs", "1"]);
    let count = mesh[0]["count"].as_u64().expect("a count");
    assert!(count >= 3 * 64, "{mesh:?}");
    assert_counted(&mesh[0], 3 * count);
}

#[test]
fn a_row_is_printed_for_each_size_and_number_and_the_growth_after_them() {
    let scale = measure(&["scale", "--subs", "4,5", "--sizes", "65536"]);
    let subs: Vec<&Value> = scale.iter().map(|row| &row["subs"]).collect();
    assert_eq!(subs[..2], [4, 5], "{scale:?}");
    let [.., growth] = &scale[..] else {
        panic!("nothing was measured");
    };
    assert_eq!(
        (&growth["from_subs"], &growth["to_subs"]),
        (&4.into(), &5.into())
    );
    let cost = |row: usize| scale[row]["cpu_us_per_delivery"].as_f64().expect("a cost");
    let ratio = growth["cpu_growth"].as_f64().expect("a ratio");
    assert!((cost(1) / cost(0) - ratio).abs() < 0.01, "{scale:?}");
}

#[test]
fn processes_that_join_know_each_other_in_the_end() {
    let joined = measure(&["join", "--nodes", "3"]);
    assert_eq!(joined[0]["nodes"], 3, "{joined:?}");
    let seconds = |name: &str| joined[0][name].as_f64().expect("seconds");
    assert!(0.0 < seconds("median_s") && seconds("median_s") <= seconds("wall_s"));
    assert!(joined[0]["sockets"].as_u64() >= Some(1), "{joined:?}");
}

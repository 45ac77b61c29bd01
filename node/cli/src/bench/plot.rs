//! Pictures of what was measured: SVG, for light and dark pages alike.
//!
//! They are drawn from the JSON lines that the other benchmarks print, so that what is shown is what was measured.

mod costs;
mod ratios;
mod svg;

use std::io;

use serde::Deserialize;

use crate::failure::Failure;
use crate::output::Output;

/// What a picture shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Chart {
    /// How fast each scenario was beside bare QUIC, from results of --against ceiling
    Ratios,
    /// What a delivery costs for few and many subscribers, from results of `bench scale`
    Costs,
}

/// As much of a result as a picture shows.
#[derive(Clone, Debug, Deserialize)]
struct Row {
    #[serde(default)]
    system: String,
    scenario: String,
    subs: u64,
    /// Bytes of a message.
    size: u64,
    inflight: Option<u64>,
    cpu_us_per_delivery: f64,
    #[serde(flatten)]
    comparison: Option<Compared>,
}

/// The pairs of runs of one scenario.
#[derive(Clone, Debug, Deserialize)]
struct Compared {
    figure: String,
    ratio: f64,
    ratios: Vec<f64>,
    measured: Vec<f64>,
    ceiling: Vec<f64>,
}

/// Draws what comes in over standard input, one result a line.
pub(crate) fn run(chart: Chart, output: &Output) -> Result<(), Failure> {
    let read = io::read_to_string(io::stdin().lock());
    let text = read.map_err(|error| Failure::failed(format!("the results: {error}")))?;
    let rows = parse(&text);
    let drawn = match chart {
        Chart::Ratios => ratios::draw(&rows),
        Chart::Costs => costs::draw(&rows),
    };
    match drawn {
        Some(svg) => output.text(&svg),
        None => Err(Failure::usage(
            "nothing to draw: hand in what `rolecast bench ... --json` printed, one result a line",
        )),
    }
}

/// The results among the lines; others, such as what `bench scale` says at its end, are passed over.
fn parse(text: &str) -> Vec<Row> {
    let lines = text.lines();
    lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// Bytes as people say them.
fn size_text(bytes: u64) -> String {
    match bytes {
        bytes if bytes > 0 && bytes % (1 << 20) == 0 => format!("{} MiB", bytes >> 20),
        bytes if bytes > 0 && bytes % (1 << 10) == 0 => format!("{} KiB", bytes >> 10),
        bytes => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FANOUT: &str = r#"{"scenario":"fanout","subs":4,"size":1024,"cpu_us_per_delivery":1.5,"figure":"deliveries_per_s","ratio":0.75,"ratios":[0.7,0.75,0.8],"ceiling":[2000000,2000000,2000000],"measured":[1400000,1500000,1600000]}"#;
    const ASKED: &str = r#"{"scenario":"reqrep","subs":1,"size":64,"inflight":1,"cpu_us_per_delivery":50,"figure":"p50_us","ratio":1.25,"ratios":[1.25],"ceiling":[100],"measured":[125]}"#;

    /// Every element is closed, in order; what stands between them does not matter.
    fn is_well_formed(svg: &str) -> bool {
        let mut open = Vec::new();
        for tag in svg.split('<').skip(1) {
            let (tag, _) = tag.split_once('>').expect("every tag ends");
            let name = tag.trim_start_matches('/').split([' ', '/']).next();
            match (tag.starts_with('/'), tag.ends_with('/')) {
                (true, _) if open.pop() != name => return false,
                (false, false) => open.push(name.expect("it has a name")),
                _ => {}
            }
        }
        open.is_empty()
    }

    #[test]
    fn what_takes_less_time_has_the_longer_bar() {
        let svg = ratios::draw(&parse(&format!("{FANOUT}\n{ASKED}\n"))).expect("there are rows");
        assert!(is_well_formed(&svg), "{svg}");
        for text in [
            "fanout to 4, 1 KiB",
            "1.5 M of 2 M deliveries/s",
            "request, 64 B",
            "125 µs, bare 100 µs",
            ">0.75<",
            ">0.80<",
        ] {
            assert!(svg.contains(text), "{text} is missing: {svg}");
        }
        assert!(svg.contains("prefers-color-scheme: dark"));
    }

    #[test]
    fn each_size_has_a_line_with_a_point_for_each_number_of_subscribers() {
        let row = |subs, size, cost: f64| {
            format!(
                r#"{{"scenario":"fanout","subs":{subs},"size":{size},"cpu_us_per_delivery":{cost}}}"#
            )
        };
        let rows = [
            row(4, 64, 0.2),
            row(64, 64, 0.3),
            row(4, 1024, 1.5),
            row(64, 1024, 1.9),
        ];
        let end = r#"{"scenario":"scale","size":64,"from_subs":4,"to_subs":64,"cpu_growth":1.5}"#;
        let svg = costs::draw(&parse(&format!("{}\n{end}", rows.join("\n"))));
        let svg = svg.expect("there are rows");
        assert!(is_well_formed(&svg), "{svg}");
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert_eq!(svg.matches("<circle").count(), 4);
        assert!(
            svg.contains("64 B, 0.30 µs") && svg.contains("1 KiB, 1.9 µs"),
            "{svg}"
        );
    }

    #[test]
    fn of_nothing_there_is_no_picture() {
        let rows = parse("{\"scenario\":\"join\"}\nno result\n");
        assert!(ratios::draw(&rows).is_none() && costs::draw(&rows).is_none());
    }

    #[test]
    fn sizes_are_said_as_people_do() {
        let sizes = [
            (0, "0 B"),
            (64, "64 B"),
            (65_536, "64 KiB"),
            (1 << 20, "1 MiB"),
            (1_500, "1500 B"),
        ];
        for (bytes, text) in sizes {
            assert_eq!(size_text(bytes), text);
        }
    }
}

//! Durations as people write and read them.

use std::time::Duration;

/// Reads `500ms`, `2s`, `1.5s`, `3m`, or a plain number of seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds_per_unit = match &text[digits.len()..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        _ => return Err(EXPECTED.to_owned()),
    };
    let number: f64 = digits.trim().parse().map_err(|_| EXPECTED.to_owned())?;
    Duration::try_from_secs_f64(number * seconds_per_unit)
        .ok()
        .filter(|duration| !duration.is_zero() && *duration <= LONGEST)
        .ok_or_else(|| EXPECTED.to_owned())
}

/// Shows a duration with three digits or so: `0.42 ms`, `17 ms`, `3.2 s`.
pub(crate) fn show_duration(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1_000.0;
    match ms {
        ms if ms < 10.0 => format!("{ms:.2} ms"),
        ms if ms < 1_000.0 => format!("{ms:.0} ms"),
        ms if ms < 60_000.0 => format!("{:.1} s", ms / 1_000.0),
        ms => format!("{:.0} s", ms / 1_000.0),
    }
}

/// What is said about a text that is no duration.
const EXPECTED: &str = "a duration is a number above zero with a unit, such as 500ms, 2s or 1m";
/// More than this is not meant.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3_600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, ms) in [
            ("500ms", Some(500)),
            ("2s", Some(2_000)),
            ("2", Some(2_000)),
            ("1.5 s", Some(1_500)),
            ("3m", Some(180_000)),
            ("1h", Some(3_600_000)),
            ("", None),
            ("0s", None),
            ("-1s", None),
            ("nan", None),
            ("s", None),
            ("2 weeks", None),
            ("1e300h", None),
        ] {
            let read = parse_duration(text).ok();
            assert_eq!(read, ms.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn durations_are_shown_with_a_few_digits() {
        for (us, shown) in [
            (420, "0.42 ms"),
            (17_300, "17 ms"),
            (3_240_000, "3.2 s"),
            (200_000_000, "200 s"),
        ] {
            assert_eq!(show_duration(Duration::from_micros(us)), shown);
        }
    }
}

//! How words on the command line are understood.

use std::ops::Range;
use std::time::Duration;

use rolecast_sim::{FAMILIES, Family, Level};

pub(crate) fn parse_seeds(text: &str) -> Result<Range<u64>, String> {
    let whole = || "seeds are given as FIRST..END, such as 0..5000".to_string();
    let (first, end) = text.split_once("..").ok_or_else(whole)?;
    let number = |text: &str| {
        text.trim()
            .replace('_', "")
            .parse::<u64>()
            .map_err(|_| whole())
    };
    let (first, end) = (number(first)?, number(end)?);
    if first >= end {
        return Err(format!(
            "no seed lies in {first}..{end}: END has to be greater than FIRST"
        ));
    }
    Ok(first..end)
}

pub(crate) fn parse_budget(text: &str) -> Result<Duration, String> {
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
    let wrong = || "a budget is a whole number and a unit, such as 60s, 5m or 1h".to_string();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = &text[digits.len()..];
    let millis = units
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(wrong)?
        .1;
    let count: u64 = digits.parse().map_err(|_| wrong())?;
    Ok(Duration::from_millis(count.saturating_mul(millis)))
}

/// A family of scenarios by its name.
pub(crate) fn parse_family(text: &str) -> Result<&'static Family, String> {
    let names: Vec<&str> = FAMILIES.iter().map(|family| family.name).collect();
    Family::named(text)
        .ok_or_else(|| format!("there is no such scenario; there are {}", names.join(", ")))
}

/// A level by its name.
pub(crate) fn parse_level(text: &str) -> Result<Level, String> {
    let all = [Level::Engine, Level::Quic];
    let named = all.into_iter().find(|level| level.name() == text);
    named.ok_or_else(|| "the levels are engine and quic".to_string())
}

/// A bug by its name.
#[cfg(feature = "canaries")]
pub(crate) fn parse_canary(text: &str) -> Result<rolecast_protocol::Canary, String> {
    use rolecast_sim::canary;
    let names = || {
        rolecast_protocol::Canary::ALL
            .iter()
            .map(|&bug| canary::name(bug))
    };
    canary::named(text).ok_or_else(|| {
        let names: Vec<String> = names().collect();
        format!("the bugs that can be planted are {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_a_range_that_holds_some() {
        assert_eq!(parse_seeds("3..10"), Ok(3..10));
        assert_eq!(parse_seeds("0..1_000"), Ok(0..1_000));
        for bad in ["", "7", "7..", "..7", "a..b", "5..5", "9..3", "1..=5"] {
            assert!(parse_seeds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn budgets_have_a_unit() {
        assert_eq!(parse_budget("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(parse_budget("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_budget("250ms"), Ok(Duration::from_millis(250)));
        for bad in ["", "60", "s", "-5s", "1.5s", "5 s", "5d"] {
            assert!(parse_budget(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_that_nobody_has_are_answered_with_those_that_there_are() {
        assert_eq!(parse_family("churn").map(|f| f.name), Ok("churn"));
        let said = parse_family("storm").expect_err("there is none");
        assert!(said.contains("swarm") && said.contains("churn"), "{said}");
    }
}

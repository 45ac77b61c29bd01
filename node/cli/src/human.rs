//! How payloads, numbers and the time of day are shown to people.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

/// A payload as text: what could confuse a terminal is escaped, and bytes that are no UTF-8 show as `\x..`.
pub(crate) fn payload(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\t' => shown.push('\t'),
                hidden if hidden.is_control() => shown.extend(hidden.escape_default()),
                plain => shown.push(plain),
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

/// A number with its thousands set apart: `12,345`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// A number of things: `1 holder`, `3 holders`.
pub(crate) fn number_of(number: usize, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", count(number as u64))
}

/// Milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// The time of day in UTC, to the millisecond: `05:12:03.123Z`.
pub(crate) fn time_of_day(unix_ms: u64) -> String {
    let (s, ms) = (unix_ms / 1_000, unix_ms % 1_000);
    format!(
        "{:02}:{:02}:{:02}.{ms:03}Z",
        s / 3_600 % 24,
        s / 60 % 60,
        s % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_cannot_move_the_cursor() {
        for (bytes, shown) in [
            (&b"plain \xc3\xa9"[..], "plain é"),
            (b"two\nlines\tand a tab", "two\\nlines\tand a tab"),
            (b"\x1b[2J", "\\u{1b}[2J"),
            (b"\xff\x00", "\\xff\\u{0}"),
            (b"", ""),
        ] {
            assert_eq!(payload(bytes), shown);
        }
    }

    #[test]
    fn numbers_have_their_thousands_set_apart() {
        for (number, shown) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(count(number), shown);
        }
        assert_eq!(number_of(1, "holder"), "1 holder");
        assert_eq!(number_of(0, "holder"), "0 holders");
    }

    #[test]
    fn the_time_of_day_is_utc() {
        assert_eq!(time_of_day(1_700_000_000_042), "22:13:20.042Z");
    }
}

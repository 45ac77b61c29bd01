//! Numbers of bytes as people write them: 500, 64K, 100M, 1G.

/// Parses a number of bytes with an optional unit, of 1,024 each.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a number of bytes, such as 500, 64K, 100M or 1G");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_end_matches("iB") {
        "" => 0,
        "K" | "k" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let bytes = number.checked_mul(1 << shift).filter(|&bytes| bytes > 0);
    bytes.ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::parse_bytes;

    #[test]
    fn bytes_have_units() {
        for (text, bytes) in [
            ("1", 1),
            ("500", 500),
            ("64K", 65_536),
            ("3MiB", 3 << 20),
            ("1G", 1 << 30),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes));
        }
        for text in ["", "G", "0", "-1", "1.5G", "1B", "1 G", "99999999T"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }
}

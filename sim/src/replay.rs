//! The one line that repeats a run, on any machine and at any later commit.
//!
//! It holds the whole scenario: JSON, compressed (zlib, RFC 1950, whose checksum shows damage) and written in the letters of base64url (RFC 4648).
//! A line that would be too long to copy is kept in a file, which the line then names: `v1:@path`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use data_encoding::BASE64URL_NOPAD;
use miniz_oxide::deflate::compress_to_vec_zlib;
use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;

use crate::scenario::{Impossible, Scenario};

/// What a replay line starts with.
const PREFIX: &str = "v1:";
/// A line that is longer is kept in a file.
const LINE_CHARS_MAX: usize = 6_000;
/// No line is longer, wherever it is kept.
const TEXT_BYTES_MAX: usize = 16 << 20;
/// No scenario takes more when it is unpacked.
const JSON_BYTES_MAX: usize = 64 << 20;
/// How hard the packer tries, of 10.
const EFFORT: u8 = 9;

/// Why a line cannot be replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// It is no replay line at all.
    #[error("a replay line starts with \"v1:\", and this one starts with {0:?}")]
    Unknown(String),
    /// It was written by a later version.
    #[error(
        "this replay line has version {0}, and this rolecast-sim reads version 1 only: build it from the commit that printed the line, or a later one"
    )]
    TooNew(u64),
    /// It is cut short or was changed on its way.
    #[error("the replay line is damaged ({0}): copy it again, to its very end")]
    Damaged(&'static str),
    /// It is longer than any line.
    #[error("the replay line is longer than {TEXT_BYTES_MAX} bytes, which none is")]
    TooLong,
    /// Its file cannot be read.
    #[error("the replay file {path:?} cannot be read: {why}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// What it holds is no scenario of this version.
    #[error("the replay line holds no scenario that this rolecast-sim understands: {0}")]
    Foreign(serde_json::Error),
    /// What it holds makes no sense.
    #[error(transparent)]
    Impossible(#[from] Impossible),
}

/// The line that repeats this scenario, however long it is.
#[must_use]
pub fn encode(scenario: &Scenario) -> String {
    let json = serde_json::to_vec(scenario).expect("scenarios are plain data");
    let packed = compress_to_vec_zlib(&json, EFFORT);
    format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&packed))
}

/// The line that repeats this scenario; if it is too long to copy, it goes to a file in `directory`, which is made if there is none.
///
/// # Errors
/// The file cannot be written.
pub fn encode_short(scenario: &Scenario, directory: &Path) -> io::Result<String> {
    let line = encode(scenario);
    if line.len() <= LINE_CHARS_MAX {
        return Ok(line);
    }
    fs::create_dir_all(directory)?;
    let name = format!("{}-{:016x}.replay", scenario.family, digest(&line));
    let path = directory.join(name);
    fs::write(&path, &line)?;
    Ok(format!("{PREFIX}@{}", path.display()))
}

/// Where lines that are too long to copy are kept.
pub const DIRECTORY: &str = "target/replays";

/// The command that repeats this scenario.
///
/// A long line goes to a file in [`DIRECTORY`]; where that cannot be written, the command holds the whole line all the same.
#[must_use]
pub fn command(scenario: &Scenario) -> String {
    let line = encode_short(scenario, Path::new(DIRECTORY)).unwrap_or_else(|_| encode(scenario));
    format!("rolecast-sim replay '{line}'")
}

/// The scenario of a line, or of the file that the line names.
///
/// # Errors
/// [`ReplayError`]: in a sentence what is wrong with the line.
pub fn decode(line: &str) -> Result<Scenario, ReplayError> {
    let body = body_of(line.trim())?;
    let scenario = match body.strip_prefix('@') {
        None => unpack(body)?,
        Some(path) => {
            let text = read(Path::new(path))?;
            unpack(body_of(text.trim())?)?
        }
    };
    scenario.check()?;
    Ok(scenario)
}

fn body_of(line: &str) -> Result<&str, ReplayError> {
    if line.len() > TEXT_BYTES_MAX {
        return Err(ReplayError::TooLong);
    }
    if let Some(body) = line.strip_prefix(PREFIX) {
        return Ok(body);
    }
    let version = line
        .strip_prefix('v')
        .and_then(|rest| rest.split_once(':'))
        .and_then(|(version, _)| version.parse::<u64>().ok());
    match version {
        Some(version) if version > 1 => Err(ReplayError::TooNew(version)),
        _ => Err(ReplayError::Unknown(line.chars().take(8).collect())),
    }
}

fn read(path: &Path) -> Result<String, ReplayError> {
    let file = |why| ReplayError::File {
        path: path.to_path_buf(),
        why,
    };
    let length = fs::metadata(path).map_err(file)?.len();
    if length > TEXT_BYTES_MAX as u64 {
        return Err(ReplayError::TooLong);
    }
    fs::read_to_string(path).map_err(file)
}

fn unpack(body: &str) -> Result<Scenario, ReplayError> {
    let packed = BASE64URL_NOPAD
        .decode(body.as_bytes())
        .map_err(|_| ReplayError::Damaged("it has letters that no line has, or too few"))?;
    let json = decompress_to_vec_zlib_with_limit(&packed, JSON_BYTES_MAX)
        .map_err(|_| ReplayError::Damaged("it cannot be unpacked"))?;
    serde_json::from_slice(&json).map_err(ReplayError::Foreign)
}

/// A short name for a long line (FNV-1a).
fn digest(line: &str) -> u64 {
    line.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(scenario: &Scenario) -> String {
        serde_json::to_string(scenario).expect("scenarios are plain data")
    }

    #[test]
    fn lines_give_back_the_scenario() {
        for seed in 0..50 {
            let scenario = Scenario::draw(seed, None);
            let back = decode(&encode(&scenario)).expect("as written");
            assert_eq!(json(&back), json(&scenario));
        }
    }

    #[test]
    fn a_long_line_goes_to_a_file_that_the_short_one_names() {
        let directory = std::env::temp_dir().join(format!("rolecast-{}", std::process::id()));
        let scenario = Scenario::draw(1, Some(60));
        let line = encode_short(&scenario, &directory).expect("the directory can be written");
        assert!(line.starts_with("v1:@") && line.len() < 500);
        assert_eq!(json(&decode(&line).expect("as written")), json(&scenario));
        fs::remove_dir_all(&directory).expect("it was just made");
    }

    #[test]
    fn whatever_is_wrong_with_a_line_is_said_in_one_sentence() {
        let good = encode(&Scenario::draw(1, Some(3)));
        let cases = [
            (String::new(), "starts with \"v1:\""),
            ("seed 17".to_string(), "starts with \"v1:\""),
            ("v1".to_string(), "starts with \"v1:\""),
            ("v2:abc".to_string(), "has version 2"),
            ("v1:".to_string(), "damaged"),
            ("v1:!!!".to_string(), "damaged"),
            (good[..good.len() - 4].to_string(), "damaged"),
            (good.replace("v1:e", "v1:f"), "damaged"),
            ("v1:@/nowhere/at/all".to_string(), "cannot be read"),
        ];
        for (line, expected) in cases {
            let said = decode(&line).expect_err("it is wrong").to_string();
            assert!(said.contains(expected), "{line:.20}: {said}");
            assert!(!said.contains('\n'));
        }
        let foreign = format!(
            "v1:{}",
            BASE64URL_NOPAD.encode(&compress_to_vec_zlib(b"{\"seed\":1}", 1))
        );
        assert!(matches!(decode(&foreign), Err(ReplayError::Foreign(_))));
        let mut odd = Scenario::draw(1, Some(3));
        odd.nodes = 4;
        assert!(matches!(
            decode(&encode(&odd)),
            Err(ReplayError::Impossible(_))
        ));
    }

    #[test]
    fn what_unpacks_to_more_than_any_scenario_is_refused() {
        let bomb = compress_to_vec_zlib(&vec![b' '; JSON_BYTES_MAX + 1], 1);
        let line = format!("v1:{}", BASE64URL_NOPAD.encode(&bomb));
        assert!(matches!(decode(&line), Err(ReplayError::Damaged(_))));
    }
}

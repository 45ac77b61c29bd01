//! From the words of the command line to a command, or to one sentence that says what is wrong with them.

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::refuse;

/// The command line; help and version are printed here, and end the process.
///
/// # Errors
/// What is wrong was said, and the process is to end with this code.
pub(crate) fn command_line<C: Parser>() -> Result<C, ExitCode> {
    C::try_parse().map_err(|error| {
        let teaches = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
        if !error.use_stderr() || teaches {
            error.exit();
        }
        refuse(sentence(&error.render().to_string()))
    })
}

/// One sentence out of clap's paragraphs.
fn sentence(text: &str) -> String {
    let paragraphs = text.split("\n\n").map(|paragraph| {
        let words: Vec<&str> = paragraph.split_whitespace().collect();
        words.join(" ")
    });
    let mut parts = Vec::new();
    let mut command = "rolecast-sim".to_owned();
    for paragraph in paragraphs {
        if let Some(usage) = paragraph.strip_prefix("Usage: ") {
            command = name(usage);
        } else if let Some(wrong) = paragraph.strip_prefix("error: ") {
            parts.push(wrong.to_owned());
        } else if let Some(tip) = paragraph.strip_prefix("tip: ") {
            parts.push(tip.replace(" tip: ", "; "));
        }
    }
    parts.push(format!("`{command} --help` tells more"));
    parts.join("; ")
}

/// The name of the command in a line of usage: what comes before its arguments.
fn name(usage: &str) -> String {
    let is_name = |word: &&str| word.starts_with(|c: char| c.is_ascii_lowercase());
    let words: Vec<&str> = usage.split(' ').take_while(is_name).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_becomes_one_sentence() {
        let unexpected = "error: unexpected argument '--sed' found\n\n  tip: a similar argument exists: '--seed'\n\nUsage: rolecast-sim run --seed <SEED>\n\nFor more information, try '--help'.\n";
        assert_eq!(
            sentence(unexpected),
            "unexpected argument '--sed' found; a similar argument exists: '--seed'; `rolecast-sim run --help` tells more"
        );
        let missing = "error: the following required arguments were not provided:\n  <LINE>\n\nUsage: rolecast-sim replay <LINE>\n\nFor more information, try '--help'.\n";
        assert_eq!(
            sentence(missing),
            "the following required arguments were not provided: <LINE>; `rolecast-sim replay --help` tells more"
        );
    }
}

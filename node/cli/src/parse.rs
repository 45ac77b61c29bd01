//! From the words of the command line to a command, or to one sentence that says what is wrong with them.

use clap::Parser as _;
use clap::error::ErrorKind;

use crate::args::Cli;
use crate::failure::Failure;
use crate::output::Output;

/// The command line; help and version are printed here, and end the process.
///
/// # Errors
/// What is wrong, and whether the output is to be JSON all the same.
pub(crate) fn command_line() -> Result<Cli, (Failure, Output)> {
    Cli::try_parse().map_err(|error| {
        let teaches = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
        if !error.use_stderr() || teaches {
            error.exit();
        }
        let json = std::env::args_os().any(|word| word == "--json");
        let text = error.render().to_string();
        (Failure::usage(sentence(&text)), Output::new(json))
    })
}

/// One sentence out of clap's paragraphs.
fn sentence(text: &str) -> String {
    let paragraphs = text.split("\n\n").map(|paragraph| {
        let words: Vec<&str> = paragraph.split_whitespace().collect();
        words.join(" ")
    });
    let mut parts = Vec::new();
    let mut command = "rolecast".to_owned();
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
    let is_name = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    let words: Vec<&str> = usage
        .split(' ')
        .take_while(|word| is_name(word) && !word.starts_with('-'))
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_becomes_one_sentence() {
        let unexpected = "error: unexpected argument '--lisen' found\n\n  tip: a similar argument exists: '--listen'\n\nUsage: rolecast node --listen <HOST:PORT>\n\nFor more information, try '--help'.\n";
        assert_eq!(
            sentence(unexpected),
            "unexpected argument '--lisen' found; a similar argument exists: '--listen'; `rolecast node --help` tells more"
        );
        let missing = "error: the following required arguments were not provided:\n  <ROLE>\n\nUsage: rolecast send <ROLE> [MESSAGE]\n\nFor more information, try '--help'.\n";
        assert_eq!(
            sentence(missing),
            "the following required arguments were not provided: <ROLE>; `rolecast send --help` tells more"
        );
        let invalid = "error: invalid value '0' for '--subs <N>': 0 is not in 1..=256\n\nFor more information, try '--help'.\n";
        assert_eq!(
            sentence(invalid),
            "invalid value '0' for '--subs <N>': 0 is not in 1..=256; `rolecast --help` tells more"
        );
    }
}

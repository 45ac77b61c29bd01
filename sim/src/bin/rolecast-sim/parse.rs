//! From the words of the command line to a command, or to one sentence that says what is wrong with them.

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, Parser};

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
        let words = std::env::args_os().skip(1);
        let words: Vec<String> = words
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        refuse(complaint(error, &C::command(), &words))
    })
}

/// What is wrong with these words, in one sentence.
fn complaint(mut error: clap::Error, cli: &Command, words: &[String]) -> String {
    let asked = asked(cli, words);
    let command = asked.last().copied().unwrap_or(cli);
    hide(&mut error, command);
    let names: Vec<&str> = asked.iter().map(|command| command.get_name()).collect();
    sentence(&error.render().to_string(), &names.join(" "))
}

/// The command that was asked for, as far as the words name one, after those that it belongs to.
fn asked<'a>(cli: &'a Command, words: &[String]) -> Vec<&'a Command> {
    let mut path = vec![cli];
    // Flags that come before a subcommand have no values.
    for word in words.iter().filter(|word| !word.starts_with('-')) {
        match path
            .last()
            .and_then(|command| command.find_subcommand(word))
        {
            Some(subcommand) => path.push(subcommand),
            None => break,
        }
    }
    path
}

/// Takes the subcommands that nobody is shown out of what an error lists.
fn hide(error: &mut clap::Error, command: &Command) {
    let is_shown = |name: &String| {
        let subcommand = command.find_subcommand(name);
        subcommand.is_none_or(|subcommand| !subcommand.is_hide_set())
    };
    for kind in [
        ContextKind::ValidSubcommand,
        ContextKind::SuggestedSubcommand,
    ] {
        if let Some(ContextValue::Strings(names)) = error.remove(kind) {
            let shown: Vec<String> = names.into_iter().filter(is_shown).collect();
            if !shown.is_empty() {
                error.insert(kind, ContextValue::Strings(shown));
            }
        }
    }
}

/// One sentence out of clap's paragraphs.
fn sentence(text: &str, command: &str) -> String {
    let paragraphs = text.split("\n\n").map(|paragraph| {
        let words: Vec<&str> = paragraph.split_whitespace().collect();
        words.join(" ")
    });
    let mut parts = Vec::new();
    for paragraph in paragraphs {
        if let Some(wrong) = paragraph.strip_prefix("error: ") {
            parts.push(wrong.to_owned());
        } else if let Some(tip) = paragraph.strip_prefix("tip: ") {
            parts.push(tip.replace(" tip: ", "; "));
        }
    }
    parts.push(format!("`{command} --help` tells more"));
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::Cli;

    #[test]
    fn a_complaint_becomes_one_sentence() {
        for (line, sentence) in [
            (
                "rolecast-sim run --sed 1",
                "unexpected argument '--sed' found; a similar argument exists: '--seed'; `rolecast-sim run --help` tells more",
            ),
            (
                "rolecast-sim replay",
                "the following required arguments were not provided: <LINE>; `rolecast-sim replay --help` tells more",
            ),
            (
                "rolecast-sim run --seed x",
                "invalid value 'x' for '--seed <SEED>': invalid digit found in string; `rolecast-sim run --help` tells more",
            ),
            (
                "rolecast-sim hashe",
                "unrecognized subcommand 'hashe'; `rolecast-sim --help` tells more",
            ),
        ] {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let error = Cli::try_parse_from(&words)
                .err()
                .expect("something is wrong");
            assert_eq!(complaint(error, &Cli::command(), &words[1..]), sentence);
        }
    }
}

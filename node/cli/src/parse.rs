//! From the words of the command line to a command, or to one sentence that says what is wrong with them.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory as _, Parser as _};

use crate::args::Cli;
use crate::failure::Failure;
use crate::output::Output;

/// The command line; help and version are printed here, and end the process.
///
/// # Errors
/// What is wrong, and whether the output is to be JSON all the same.
pub(crate) fn command_line() -> Result<Cli, (Failure, Output)> {
    let words: Vec<String> = std::env::args_os()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    Cli::try_parse().map_err(|error| {
        let teaches = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
        if !error.use_stderr() || teaches {
            error.exit();
        }
        let json = words.iter().any(|word| word == "--json");
        let complaint = complaint(error, &Cli::command(), &words[1..]);
        (Failure::usage(complaint), Output::new(json))
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
    use super::*;

    fn said(line: &str) -> String {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let error = Cli::try_parse_from(&words).expect_err("something is wrong with it");
        complaint(error, &Cli::command(), &words[1..])
    }

    #[test]
    fn a_complaint_becomes_one_sentence() {
        for (line, sentence) in [
            (
                "rolecast node --lisen a:1",
                "unexpected argument '--lisen' found; a similar argument exists: '--listen'; `rolecast node --help` tells more",
            ),
            (
                "rolecast send",
                "the following required arguments were not provided: <ROLE>; `rolecast send --help` tells more",
            ),
            (
                "rolecast -v bench --json fanout --subs 0",
                "invalid value '0' for '--subs <N>': 0 is not in 1..=256; `rolecast bench fanout --help` tells more",
            ),
            (
                "rolecast frobnicate",
                "unrecognized subcommand 'frobnicate'; `rolecast --help` tells more",
            ),
        ] {
            assert_eq!(said(line), sentence, "{line}");
        }
    }

    #[test]
    fn a_subcommand_that_is_missing_is_one_that_everybody_may_know() {
        let missing = said("rolecast --json");
        assert!(missing.contains("demo, node, listen"), "{missing}");
        assert!(!missing.contains("demo-node"), "{missing}");
        let mistyped = said("rolecast demo-nod");
        assert!(!mistyped.contains("demo-node"), "{mistyped}");
        let of_bench = said("rolecast bench --json");
        assert!(of_bench.contains("fanout, "), "{of_bench}");
        assert!(!of_bench.contains("part"), "{of_bench}");
    }
}

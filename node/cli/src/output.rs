//! Where results go: text for people, or one JSON object a line.

use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use serde::Serialize;

use crate::failure::Failure;
use crate::style;

/// The command's standard output, and the form in which it is wanted.
///
/// Text may carry colours: they are taken out again unless a terminal shows it.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    /// The standard output, for JSON or for people.
    pub(crate) fn new(json: bool) -> Self {
        Output { json }
    }

    /// Whether JSON is wanted.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints one line of text.
    pub(crate) fn line(&self, line: impl fmt::Display) -> Result<(), Failure> {
        self.text(&format!("{line}\n"))
    }

    /// Prints one JSON object in a line of its own.
    pub(crate) fn object(&self, object: &impl Serialize) -> Result<(), Failure> {
        self.line(to_json(object)?)
    }

    /// Prints text that consists of whole lines, with one write.
    pub(crate) fn text(&self, text: &str) -> Result<(), Failure> {
        if text.is_empty() {
            return Ok(());
        }
        let mut stdout = anstream::stdout().lock();
        let written = stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush());
        written.map_err(write_failure)
    }

    /// Adds a remark on the standard error for people; programs do not need it.
    pub(crate) fn note(&self, remark: impl fmt::Display) {
        if !self.json {
            // Who closed the standard error does not want to know.
            let _ = writeln!(anstream::stderr().lock(), "{remark}");
        }
    }

    /// Tells the person at the terminal something that is no result.
    pub(crate) fn warn(&self, sentence: impl fmt::Display) {
        let style = style::WARNING;
        self.complain("warning", style, &sentence);
    }

    /// Says why the command failed, and with which code the process ends.
    pub(crate) fn fail(&self, failure: &Failure) -> ExitCode {
        if !matches!(failure, Failure::OutputClosed) {
            self.complain("error", style::BAD, failure);
        }
        ExitCode::from(failure.exit_code())
    }

    fn complain(&self, kind: &str, style: anstyle::Style, sentence: &dyn fmt::Display) {
        let mut stderr = anstream::stderr().lock();
        // Who closed the standard error does not want to know.
        let _ = if self.json {
            let object = serde_json::json!({ "event": kind, "message": sentence.to_string() });
            writeln!(stderr, "{object}")
        } else {
            writeln!(stderr, "{style}{kind}:{style:#} {sentence}")
        };
    }
}

/// An object in one line.
pub(crate) fn to_json(object: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(object)
        .map_err(|error| Failure::failed(format!("the result cannot be written as JSON: {error}")))
}

/// What it means that the standard output cannot be written.
pub(crate) fn write_failure(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::OutputClosed,
        _ => Failure::failed(format!("the standard output cannot be written: {error}")),
    }
}

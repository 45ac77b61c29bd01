//! One line on the terminal that says how far a benchmark is.

use std::io::{self, IsTerminal as _, Write as _};

/// A line that is written over and over; nothing where there is no terminal.
pub(crate) struct Progress {
    title: String,
    shown: bool,
}

impl Progress {
    /// Says nothing yet.
    pub(crate) fn new() -> Self {
        Progress {
            title: String::new(),
            shown: io::stderr().is_terminal(),
        }
    }

    /// What the following is about.
    pub(crate) fn title(&mut self, title: impl Into<String>) {
        self.title = title.into();
    }

    /// Shows what is going on.
    pub(crate) fn note(&self, what: &str) {
        if self.shown {
            self.write(&format!("\r\x1b[K{}: {what}", self.title));
        }
    }

    /// Shows how much is done.
    pub(crate) fn part(&self, done: u64, all: u64) {
        let percent = done as f64 / all.max(1) as f64 * 100.0;
        self.note(&format!("{percent:3.0} %"));
    }

    fn write(&self, text: &str) {
        let mut stderr = io::stderr().lock();
        // Who closed the terminal does not want to know.
        let _ = stderr
            .write_all(text.as_bytes())
            .and_then(|()| stderr.flush());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            self.write("\r\x1b[K");
        }
    }
}

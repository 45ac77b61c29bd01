//! The colours of the output; whether they are shown is decided where it is written.

use anstyle::{AnsiColor, Style};

/// Titles and heads of columns.
pub(crate) const HEADING: Style = Style::new().bold();
/// What is as it should be.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// What is not as it should be.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What deserves a look.
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default();
/// Names of nodes and roles.
pub(crate) const NAME: Style = AnsiColor::Cyan.on_default();
/// What may be skipped in reading.
pub(crate) const DIM: Style = Style::new().dimmed();

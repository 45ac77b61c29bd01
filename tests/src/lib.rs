//! What the tests that cross crates have in common.

pub mod command;
pub mod logs;
pub mod mesh;
pub mod process;
pub mod public;
pub mod talk;
pub mod workspace;

use std::time::Duration;

/// How long a test waits for anything before it gives up: far longer than it should take, because the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the examples in the guide.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide.md")]
pub struct Guide;

/// Runs the example in the README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

//! What the tests that cross crates have in common.

pub mod workspace;

/// Runs the examples in the guide.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide.md")]
pub struct Guide;

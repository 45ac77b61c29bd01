//! Tests of the `rolecast` command: the real binary in real processes.

mod demo;
mod mesh;
mod process;
mod usage;

//! Tests of the `rolecast` command: the real binary in real processes.

mod bench;
mod demo;
mod mesh;
mod process;
mod usage;

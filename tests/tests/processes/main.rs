//! Real processes on real sockets: meshes of `rolecast` commands that are started, stopped, killed and lied to.
//!
//! Every wait has a condition and a long deadline, ports are the system's choice, and processes are killed when a test ends however it ends.

mod concurrent;
mod crash;
mod hostile;
mod join;
mod requests;
mod restart;
mod roles;
mod senders;
mod stopped;
mod talkers;

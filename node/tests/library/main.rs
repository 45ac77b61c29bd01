//! Real nodes on loopback, as a program sees them.

mod flow;
mod lifecycle;
mod mesh;
mod misuse;
mod multicast;
mod requests;
mod typed;

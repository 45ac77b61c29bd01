//! Real nodes on loopback, as a program sees them.

mod address;
mod answers;
mod cancel;
mod cancel_others;
mod crash;
mod evicted_large;
mod flow;
mod keyed;
mod large;
mod lifecycle;
mod mesh;
mod misuse;
mod multicast;
mod observe;
mod outcomes;
mod renewal;
mod requests;
mod seeds;
mod slow;
mod typed;

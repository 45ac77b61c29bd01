//! The checks refuse every trace in which a promise is broken, and none in which all are kept.
//!
//! First a short history written by hand, altered in many ways; then histories recorded from runs, altered at drawn places; then both altered at random, and judged by a second oracle that shares nothing with the first.

mod calls;
mod evicted;
mod gaps;
mod held;
mod history;
mod keep_last;
mod messages;
mod naive;
mod random;
mod receipts;
mod recorded;
mod replay;
mod room;

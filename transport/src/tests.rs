//! Transports on loopback, with each other and with peers that misbehave.

mod harness;
mod links;
mod rude;
mod simulated;
mod strangers;
mod wire;

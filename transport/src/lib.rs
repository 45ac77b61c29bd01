//! QUIC links between nodes, and the trust that they stand on.
//!
//! A [`Transport`] is one UDP socket with one QUIC endpoint on it.
//! Between two nodes it keeps one connection, whoever dialled it, and shows it to its driver as a [`Link`]: three ordered sequences of frames ([`Class::Control`] before [`Class::Data`] before [`Class::Bulk`]) and unreliable datagrams.
//! What happens comes out of one place, [`Events`], in bulk.
//!
//! Nothing here knows what the frames mean.
//! A peer's bytes never panic and never grow memory beyond the bounds in [`Limits`]: whatever is wrong closes that one connection, is logged in one line that names who and why, and is counted in [`Counters`].
//!
//! Time comes from tokio's clock, entropy from one module, and nothing depends on hash order, so that the simulator can run whole nodes, QUIC and TLS included, on sockets in memory.

mod authority;
mod config;
mod counters;
mod endpoint;
mod entropy;
mod event;
mod frames;
#[cfg(test)]
mod fuzz;
mod key;
mod link;
mod peers;
mod preface;
mod problem;
#[cfg(feature = "qlog")]
mod qlog;
mod queue;
mod quic;
mod reader;
mod readers;
mod secret;
mod session;
mod setup;
mod shared;
mod sync;
mod tasks;
mod timing;
mod tls;
mod trust;
mod writer;

#[cfg(test)]
mod tests;

pub use config::{BindError, Limits, Socket, TransportConfig};
pub use counters::Counters;
pub use endpoint::Transport;
pub use event::{Class, DialError, Events, LinkEnd, RefusalReason, TransportEvent};
pub use key::NodeKey;
pub use link::{CloseCode, Link, LinkStats};
#[cfg(feature = "qlog")]
pub use qlog::Qlog;
pub use secret::{MeshSecret, ParseSecretError};
pub use tasks::Tasks;
pub use trust::{Trust, TrustError};

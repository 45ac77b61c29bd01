//! Who is in the mesh, and what each node holds.
//!
//! [`Membership`] joins two mechanisms.
//! SWIM decides who is alive (Das, Gupta, Motivala: "SWIM: Scalable Weakly-consistent Infection-style Process Group Membership Protocol", DSN 2002); the `foca` crate implements it.
//! Beside it every node publishes one versioned [`Record`] that says where it is and which roles it holds; records spread as broadcasts on SWIM's packets, and anti-entropy repairs what a broadcast missed.
//!
//! The crate is pure: it reads no clock, draws no entropy, does no I/O and depends on no hash order.
//! Time and packets come in through [`Membership::handle`], everything it wants done comes out of [`Membership::poll_output`].

mod antientropy;
mod api;
mod blob;
#[cfg(feature = "canaries")]
pub mod canary;
#[cfg(not(feature = "canaries"))]
mod canary;
mod codec;
mod describe;
mod frame;
#[cfg(test)]
mod fuzz;
mod gossip;
mod health;
mod id;
mod inbound;
mod life;
mod lives;
mod membership;
mod packet;
mod peers;
mod place;
mod probe;
mod random;
mod record;
mod registry;
mod seeds;
mod settle;
mod suspicion;
mod swim;
mod tempo;
mod time;
mod tombs;
mod wants;

pub use api::{Config, Event, Input, Liveness, Member, Output, Profile};
pub use describe::Description;
pub use id::{Epoch, Identity, NodeId, ParseNodeIdError};
pub use membership::Membership;
pub use place::{Place, Placed};
pub use record::{
    LABEL_BYTES_MAX, LABELS_MAX, RECORD_BYTES_MAX, ROLE_NAME_BYTES_MAX, ROLES_MAX, Record,
    RecordError, RoleName, RoleNameError, Service, Tenure, UNREACHABLE_MAX,
};
pub use seeds::SEEDS_MAX;
pub use time::Time;

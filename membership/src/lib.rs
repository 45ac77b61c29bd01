//! Who is in the mesh, and what each node holds.
//!
//! [`Membership`] joins two mechanisms.
//! SWIM decides who is alive (Das, Gupta, Motivala: "SWIM: Scalable Weakly-consistent Infection-style Process Group Membership Protocol", DSN 2002); the `foca` crate implements it.
//! Beside it every node publishes one versioned [`Record`] that says where it is and which roles it holds; records spread as broadcasts on SWIM's packets, and anti-entropy repairs what a broadcast missed.
//!
//! The crate is pure: it reads no clock, draws no entropy, does no I/O and depends on no hash order.
//! Time and packets come in through [`Membership::handle`], everything it wants done comes out of [`Membership::poll_output`].

mod id;
mod membership;
mod record;
mod time;

pub use id::{Epoch, Identity, NodeId, ParseNodeIdError};
pub use membership::{
    Config, Event, Input, Liveness, Member, Membership, Output, Profile,
};
pub use record::{
    Record, RecordError, RoleName, RoleNameError, Service, Tenure, LABELS_MAX, LABEL_BYTES_MAX,
    ROLES_MAX, ROLE_NAME_BYTES_MAX,
};
pub use time::Time;

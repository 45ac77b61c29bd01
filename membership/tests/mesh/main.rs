//! Meshes of memberships in virtual time.

mod join;
mod net;

//! Meshes of memberships in virtual time.

mod bytes;
mod failure;
mod heal;
mod join;
mod links;
mod lives;
mod net;
mod spread;

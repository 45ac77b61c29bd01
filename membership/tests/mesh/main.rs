//! Meshes of memberships in virtual time.

mod failure;
mod heal;
mod join;
mod links;
mod lives;
mod net;
mod spread;

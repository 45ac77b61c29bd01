//! The names of sites, and roles that are narrowed to one.

use rolecast_membership::{Place, RoleName};

use super::SITES;

/// The inboxes that only the ghost knows, for roles that are narrowed to the site in which a node is, have numbers from here on.
pub(crate) const NARROWED_FIRST: u64 = 1 << 32;

/// A role narrowed to a site.
pub(crate) fn narrowed(role: &RoleName, site: u8) -> RoleName {
    let place = Place {
        site: Some(site_name(site)),
        ..Place::default()
    };
    role.narrowed(&place).expect("a short name")
}

/// What a node in this site says where it is.
pub(crate) fn site_name(site: u8) -> String {
    format!("s{site}")
}

/// All roles of a run, in the order of their numbers, followed by those that are narrowed, if nodes are in sites.
pub(crate) fn with_narrowed(mut roles: Vec<RoleName>, sites: bool) -> Vec<RoleName> {
    let narrowed = roles
        .iter()
        .flat_map(|role| (0..SITES).map(|site| narrowed(role, site)));
    let narrowed: Vec<RoleName> = narrowed.filter(|_| sites).collect();
    roles.extend(narrowed);
    roles
}

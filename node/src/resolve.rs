//! From texts to addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use crate::error::StartError;

/// The addresses of all seeds, in order; a name may have several.
///
/// A name that is not known at the moment is no error as long as another seed is: it is logged and left out.
pub(crate) async fn seeds(texts: &[String]) -> Result<Vec<SocketAddr>, StartError> {
    if let Some(seed) = texts.iter().find(|text| !is_host_and_port(text)) {
        return Err(StartError::Seed { seed: seed.clone() });
    }
    let mut addrs = Vec::new();
    let mut failed = None;
    for seed in texts {
        match tokio::net::lookup_host(seed).await {
            Ok(found) => addrs.extend(found.take(ADDRS_PER_SEED_MAX)),
            Err(source) => {
                tracing::warn!(%seed, error = %source, "the seed's name is not known");
                failed.get_or_insert(StartError::SeedUnknown {
                    seed: seed.clone(),
                    source,
                });
            }
        }
    }
    match failed {
        Some(error) if addrs.is_empty() => Err(error),
        _ => Ok(addrs),
    }
}

/// One address for the node itself; `what` names it in the error.
pub(crate) async fn own(text: &str, what: &'static str) -> Result<SocketAddr, StartError> {
    let error = || StartError::Address {
        what,
        text: text.to_owned(),
    };
    if !is_host_and_port(text) {
        return Err(error());
    }
    let mut found = tokio::net::lookup_host(text).await.map_err(|_| error())?;
    found.next().ok_or_else(error)
}

/// Where others can dial a node that listens at `local`.
pub(crate) fn dialable(local: SocketAddr, first_seed: Option<SocketAddr>) -> SocketAddr {
    if !local.ip().is_unspecified() {
        return local;
    }
    let towards_seed = first_seed.and_then(|seed| interface_towards(local, seed));
    let loopback = match local {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    SocketAddr::new(towards_seed.unwrap_or(loopback), local.port())
}

/// The own address on the interface that leads to `to`; nothing is sent to find it.
fn interface_towards(local: SocketAddr, to: SocketAddr) -> Option<IpAddr> {
    let probe = UdpSocket::bind(SocketAddr::new(local.ip(), 0)).ok()?;
    probe.connect(to).ok()?;
    let ip = probe.local_addr().ok()?.ip();
    (!ip.is_unspecified()).then_some(ip)
}

/// Whether a text has the form `HOST:PORT`, with an IPv6 host in brackets.
fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let plain = !host.contains([':', '[', ']', '/', '@']) && !host.contains(char::is_whitespace);
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    !host.is_empty() && (bracketed || plain) && digits && port.parse::<u16>().is_ok()
}

/// A name with more addresses than this is cut.
const ADDRS_PER_SEED_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_addresses_is_checked() {
        for good in [
            "10.0.0.1:7400",
            "node-1.example:7400",
            "[::1]:7400",
            "localhost:0",
        ] {
            assert!(is_host_and_port(good), "{good}");
        }
        for bad in [
            "",
            "7400",
            ":7400",
            "host",
            "host:",
            "host:x",
            "host:70000",
            "::1:7400",
            "http://host:7400",
            "a b:7400",
            "host:+7400",
        ] {
            assert!(!is_host_and_port(bad), "{bad}");
        }
    }

    #[test]
    fn an_unspecified_address_becomes_one_that_can_be_dialled() {
        let listen: SocketAddr = "0.0.0.0:7400".parse().expect("an address");
        let seed = "127.0.0.1:7401".parse().expect("an address");
        let loopback = "127.0.0.1:7400".parse().expect("an address");
        assert_eq!(dialable(listen, Some(seed)), loopback);
        assert_eq!(dialable(listen, None), loopback);
        let given: SocketAddr = "10.1.2.3:7400".parse().expect("an address");
        assert_eq!(dialable(given, Some(seed)), given);
    }
}

//! From texts to addresses.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;

use crate::error::StartError;
use crate::seeds::Seeds;

/// Looks names up; the one place at which this crate asks the system's resolver.
#[derive(Clone)]
pub(crate) struct Resolver {
    look_up: Arc<dyn Fn(String) -> LookUp + Send + Sync>,
}

/// A name being looked up.
pub(crate) type LookUp = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

impl Resolver {
    /// Looks names up so.
    pub(crate) fn new(look_up: impl Fn(String) -> LookUp + Send + Sync + 'static) -> Self {
        Resolver {
            look_up: Arc::new(look_up),
        }
    }

    /// The system's.
    pub(crate) fn system() -> Self {
        Resolver::new(|name| {
            Box::pin(async move { Ok(tokio::net::lookup_host(name).await?.collect()) })
        })
    }

    /// The addresses of a `HOST:PORT`, of which there may be none.
    pub(crate) async fn look_up(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        if let Ok(addr) = name.parse() {
            return Ok(vec![addr]);
        }
        let mut addrs = (self.look_up)(name.to_owned()).await?;
        addrs.truncate(ADDRS_PER_NAME_MAX);
        Ok(addrs)
    }
}

impl Default for Resolver {
    fn default() -> Self {
        Resolver::system()
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

/// One address for the node itself; `what` names it in the error.
pub(crate) async fn own(
    resolver: &Resolver,
    text: &str,
    what: &'static str,
) -> Result<SocketAddr, StartError> {
    let error = || StartError::Address {
        what,
        text: text.to_owned(),
    };
    if !is_host_and_port(text) {
        return Err(error());
    }
    let found = resolver.look_up(text).await.map_err(|_| error())?;
    found.first().copied().ok_or_else(error)
}

/// The address at which others are to dial the node.
pub(crate) async fn advertised(resolver: &Resolver, text: &str) -> Result<SocketAddr, StartError> {
    let addr = own(resolver, text, "advertise").await?;
    match addr.ip().is_unspecified() {
        true => Err(StartError::Undialable { addr }),
        false => Ok(addr),
    }
}

/// Where others can dial a node that listens at `local` and has its mesh at the seeds.
pub(crate) fn dialable(local: SocketAddr, seeds: &Seeds) -> SocketAddr {
    if !local.ip().is_unspecified() {
        return local;
    }
    let first_seed = seeds.addrs().first().copied();
    // As long as no seed's name is known, the mesh is taken to be where most addresses are.
    let elsewhere = || (!seeds.is_empty()).then(|| elsewhere(local));
    let towards_seed = first_seed
        .or_else(elsewhere)
        .and_then(|seed| interface_towards(local, seed));
    let loopback = match local {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    SocketAddr::new(towards_seed.unwrap_or(loopback), local.port())
}

/// An address that the default route leads to, of those that stand for no host (RFC 5737 and RFC 3849).
fn elsewhere(local: SocketAddr) -> SocketAddr {
    match local {
        SocketAddr::V4(_) => SocketAddr::from(([192, 0, 2, 1], 9)),
        SocketAddr::V6(_) => SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 9)),
    }
}

/// The own address on the interface that leads to `to`; nothing is sent to find it.
fn interface_towards(local: SocketAddr, to: SocketAddr) -> Option<IpAddr> {
    let probe = UdpSocket::bind(SocketAddr::new(local.ip(), 0)).ok()?;
    probe.connect(to).ok()?;
    let ip = probe.local_addr().ok()?.ip();
    (!ip.is_unspecified()).then_some(ip)
}

/// Whether a text has the form `HOST:PORT`, with an IPv6 host in brackets.
pub(crate) fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let plain = !host.contains([':', '[', ']', '/', '@']) && !host.contains(char::is_whitespace);
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    !host.is_empty() && (bracketed || plain) && digits && port.parse::<u16>().is_ok()
}

/// A name with more addresses than this is cut.
const ADDRS_PER_NAME_MAX: usize = 16;

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
        let loopback = "127.0.0.1:7400".parse().expect("an address");
        let seeds = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            Seeds::parse(&texts, Resolver::system()).expect("well-formed")
        };
        let seed = seeds(&["a.example:7401", "127.0.0.1:7401"]);
        assert_eq!(dialable(listen, &seed), loopback);
        assert_eq!(dialable(listen, &seeds(&[])), loopback);
        let unknown = dialable(listen, &seeds(&["a.example:7401"]));
        assert!(!unknown.ip().is_unspecified() && unknown.port() == 7400);
        let given: SocketAddr = "10.1.2.3:7400".parse().expect("an address");
        assert_eq!(dialable(given, &seed), given);
    }
}

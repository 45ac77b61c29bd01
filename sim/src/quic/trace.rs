//! The trace of what was sent: one hash over when, from where, to where and how much.

use std::hash::Hasher as _;
use std::net::{IpAddr, SocketAddr};

use rolecast_membership::Time;
use siphasher::sip::SipHasher13;

use crate::trace::TraceHash;

/// Every datagram that was sent, as a hash, and how many there were.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PacketTrace {
    hasher: SipHasher13,
    /// How many datagrams were sent.
    pub(crate) datagrams: u64,
    /// Their bytes together.
    pub(crate) bytes: u64,
}

impl Default for PacketTrace {
    fn default() -> Self {
        // The keys are fixed: a hash means the same on every machine and in every run.
        PacketTrace {
            hasher: SipHasher13::new_with_keys(0x5041_434b, 0x4554_5300),
            datagrams: 0,
            bytes: 0,
        }
    }
}

impl PacketTrace {
    /// Chains one datagram.
    pub(crate) fn note(&mut self, now: Time, from: SocketAddr, to: SocketAddr, bytes: usize) {
        self.datagrams += 1;
        self.bytes += bytes as u64;
        let ports = u64::from(from.port()) << 16 | u64::from(to.port());
        self.hasher.write_u64(now.as_micros());
        self.hasher.write_u64(host(from) << 32 | host(to));
        self.hasher.write_u64(ports << 32 | bytes as u64);
    }

    /// The hash over all of them.
    pub(crate) fn hash(&self) -> TraceHash {
        TraceHash(self.hasher.finish())
    }
}

fn host(addr: SocketAddr) -> u64 {
    match addr.ip() {
        IpAddr::V4(ip) => u64::from(ip.to_bits()),
        IpAddr::V6(_) => u64::from(u32::MAX),
    }
}

//! How fast everything goes, by profile and size of the mesh.

use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

use crate::Profile;
use crate::canary::planted;
use crate::suspicion::{CONFIRMATIONS_MAX, Patience};

/// The largest datagram, in bytes: below what QUIC carries at its least path MTU of 1,200.
pub(crate) const DATAGRAM_BYTES_MAX: usize = 1_100;
/// How much of a datagram SWIM gets, in bytes; the rest is the envelope.
///
/// `foca` asserts that it never changes.
pub(crate) const SWIM_BYTES_MAX: usize = DATAGRAM_BYTES_MAX - crate::packet::ENVELOPE_BYTES;

/// The periods of one profile.
///
/// `Lan` follows memberlist's `DefaultLANConfig`, with shorter periods where a node that was away has to be found again.
/// `Wan` lies between that and memberlist's `DefaultWANConfig`; `Local` is a guess that holds on a busy two-core machine.
/// `Fast` has periods as short as a mesh of 32 needs to know of a crash within two seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tempo {
    /// How often one member is probed.
    pub(crate) probe_period: Duration,
    /// How long a direct probe may take before others are asked.
    pub(crate) probe_rtt: Duration,
    /// How long a suspicion lasts that others confirm, in a mesh of up to ten.
    suspicion: Duration,
    /// How often news are passed on, as long as there are any.
    pub(crate) gossip_period: Duration,
    /// To how many members.
    pub(crate) gossip_fanout: usize,
    /// How often some member is asked whom it knows.
    announce_period: Duration,
    /// How often a digest is exchanged with some connected peer.
    pub(crate) exchange_period: Duration,
    /// How often members that are down are called.
    pub(crate) reach_period: Duration,
}

impl Tempo {
    pub(crate) const fn of(profile: Profile) -> Self {
        match profile {
            Profile::Local => Tempo {
                probe_period: Duration::from_millis(500),
                probe_rtt: Duration::from_millis(200),
                suspicion: Duration::from_millis(1_200),
                gossip_period: Duration::from_millis(100),
                gossip_fanout: 3,
                announce_period: Duration::from_secs(5),
                exchange_period: Duration::from_secs(1),
                reach_period: Duration::from_secs(2),
            },
            Profile::Fast => Tempo {
                probe_period: Duration::from_millis(200),
                probe_rtt: Duration::from_millis(80),
                suspicion: Duration::from_millis(300),
                gossip_period: Duration::from_millis(50),
                gossip_fanout: 3,
                announce_period: Duration::from_secs(10),
                exchange_period: Duration::from_secs(1),
                reach_period: Duration::from_secs(2),
            },
            Profile::Lan => Tempo {
                probe_period: Duration::from_secs(1),
                probe_rtt: Duration::from_millis(500),
                suspicion: Duration::from_secs(3),
                gossip_period: Duration::from_millis(200),
                gossip_fanout: 3,
                announce_period: Duration::from_secs(30),
                exchange_period: Duration::from_secs(2),
                reach_period: Duration::from_secs(4),
            },
            Profile::Wan => Tempo {
                probe_period: Duration::from_secs(3),
                probe_rtt: Duration::from_secs(1),
                suspicion: Duration::from_secs(9),
                gossip_period: Duration::from_millis(500),
                gossip_fanout: 4,
                announce_period: Duration::from_secs(60),
                exchange_period: Duration::from_secs(5),
                reach_period: Duration::from_secs(10),
            },
        }
    }

    /// How long a suspicion lasts in a mesh of `size` nodes.
    ///
    /// Those who may confirm it are neither the suspect nor the first accuser.
    pub(crate) fn patience(&self, size: usize) -> Patience {
        let least = self.suspicion * suspicion_percent(size) / 100;
        let confirmations = CONFIRMATIONS_MAX.min(size.saturating_sub(2));
        let unconfirmed = if planted!(SuspicionStartsShort) {
            1
        } else {
            UNCONFIRMED
        };
        Patience {
            least,
            most: least * unconfirmed,
            confirmations,
        }
    }

    /// After so long without a word from anybody a node doubts that it can hear.
    ///
    /// Each node is probed once in a period, and probes one other.
    pub(crate) fn silence(&self) -> Duration {
        2 * self.probe_period
    }

    /// `foca`'s configuration for a mesh of `size` nodes.
    ///
    /// Only `max_transmissions` and `suspect_to_down_after` depend on the size: they are what `foca` lets change.
    /// Logarithms are of integers, because those of floats differ between machines.
    pub(crate) fn foca(&self, size: usize) -> foca::Config {
        foca::Config {
            probe_period: self.probe_period,
            probe_rtt: self.probe_rtt,
            num_indirect_probes: count(3),
            max_transmissions: NonZeroU8::new(transmissions(size)).expect("at least six"),
            // Which of these timers run, and when, is for `suspicion` to say.
            suspect_to_down_after: self.patience(size).least,
            // Whatever `foca` hands out as a timer for this is kept as a tombstone instead.
            remove_down_after: Some(TOMBSTONE_TIME),
            max_packet_size: count(SWIM_BYTES_MAX),
            notify_down_members: true,
            periodic_announce: Some(foca::PeriodicParams {
                frequency: self.announce_period,
                num_members: count(1),
            }),
            // Members that are down are called by `tombs`, which also works in a mesh of one, and gets rarer with time.
            periodic_announce_to_down_members: None,
            periodic_gossip: Some(foca::PeriodicParams {
                frequency: self.gossip_period,
                num_members: count(self.gossip_fanout),
            }),
        }
    }
}

/// By how much a suspicion that nobody confirms lasts longer (Lifeguard's β; with 6 it found the fewest false alarms).
const UNCONFIRMED: u32 = 6;

/// How long a life that is down is remembered: longer than any rumour of it lives, and as long as a partition may last and still heal by itself.
pub(crate) const TOMBSTONE_TIME: Duration = Duration::from_secs(24 * 3_600);

/// How often one record or one SWIM update is passed on by each node.
///
/// Every node that heard it sends it this often to random others, so that one is missed with probability exp(-transmissions): 6 in a million at 100 nodes, one in ten thousand if a quarter of the packets is lost.
/// (memberlist's 4·log10(n + 1) gives 8 there: with a hundred nodes every thirtieth rumour misses someone.)
/// Anti-entropy repairs the rest.
pub(crate) fn transmissions(size: usize) -> u8 {
    6 + log2(size + 1)
}

/// memberlist's factor max(1, log10(n)), in percent.
fn suspicion_percent(size: usize) -> u32 {
    (u32::from(log2(size + 1)) * 30).max(100)
}

fn log2(size: usize) -> u8 {
    u8::try_from(size.max(1).ilog2()).expect("a logarithm of 64 bits is below 64")
}

const fn count(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).expect("a constant above zero")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_grows_with_the_mesh() {
        let suspicion = |size| {
            Tempo::of(Profile::Lan)
                .foca(size)
                .suspect_to_down_after
                .as_millis()
        };
        assert_eq!(
            [1, 5, 10, 100, 1_000].map(suspicion),
            [3_000, 3_000, 3_000, 5_400, 8_100]
        );
        assert_eq!([1, 5, 100, 1_000].map(transmissions), [7, 8, 12, 15]);
    }
}

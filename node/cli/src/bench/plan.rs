//! What is measured.

use std::net::{IpAddr, Ipv4Addr};

use rolecast::Dissemination;
use serde::{Deserialize, Serialize};

use crate::bench::words::Part;

/// One measurement, as all processes of it know it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) system: System,
    pub(crate) scenario: Scenario,
    /// Bytes of every payload.
    pub(crate) size: usize,
    /// Worker threads of each process; with 0 everything runs in its main thread.
    pub(crate) threads: usize,
    /// Where the processes are, if not all on loopback.
    pub(crate) apart: Option<Apart>,
}

/// Two ends with a network between them.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Apart {
    /// The network namespace in which the subscribers are started, which is the coordinator's business alone.
    #[serde(skip)]
    pub(crate) namespace: &'static str,
    pub(crate) publisher: IpAddr,
    pub(crate) subscribers: IpAddr,
}

impl Apart {
    /// From a namespace and two addresses with commas between them.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut words = text.split(',');
        let (Some(namespace), Some(publisher), Some(subscribers), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err("a namespace and two addresses, such as far,10.9.0.1,10.9.0.2".to_owned());
        };
        let addr = |text: &str| {
            let parsed = text.parse();
            parsed.map_err(|_| format!("{text} is no address"))
        };
        Ok(Apart {
            // It is said once, and wanted as long as the program runs.
            namespace: String::leak(namespace.to_owned()),
            publisher: addr(publisher)?,
            subscribers: addr(subscribers)?,
        })
    }
}

/// What carries the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum System {
    /// Nodes of a mesh
    Rolecast,
    /// Bare QUIC connections with the same settings, and nothing above them: what the machine can do at most
    Ceiling,
}

/// What the processes do.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Scenario {
    /// One publisher sends `count` messages to all subscribers, as fast as they take them.
    Fanout {
        subs: usize,
        count: u64,
        promise: Promise,
    },
    /// One publisher sends `rate` messages a second to all subscribers, for `secs` seconds.
    Latency {
        subs: usize,
        rate: u64,
        secs: u64,
        promise: Promise,
        /// Large payloads of so many bytes are sent beside them, one after the other; none if 0.
        beside: u64,
    },
    /// One publisher sends one payload to all subscribers, which read it as it comes.
    Stream { subs: usize, promise: Promise },
    /// All nodes send to all, themselves included, as fast as these take it, for `secs` seconds.
    Mesh {
        nodes: usize,
        secs: u64,
        promise: Promise,
    },
    /// One process sends `count` requests to another, with `inflight` of them on the way at once.
    Reqrep { count: u64, inflight: usize },
}

/// What is promised to the messages.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Promise {
    pub(crate) dissemination: Dissemination,
    /// How many subscribers hold a message before one of them gets it.
    pub(crate) k_safe: u8,
}

impl Default for Promise {
    fn default() -> Self {
        Promise {
            dissemination: Dissemination::default(),
            k_safe: 1,
        }
    }
}

impl Plan {
    /// The name of the scenario.
    pub(crate) fn scenario_name(&self) -> &'static str {
        match self.scenario {
            Scenario::Fanout { .. } => "fanout",
            Scenario::Latency { .. } => "latency",
            Scenario::Stream { .. } => "stream",
            Scenario::Mesh { .. } => "mesh",
            Scenario::Reqrep { .. } => "reqrep",
        }
    }

    /// The address at which a process of this part is.
    pub(crate) fn addr_of(&self, part: Part) -> IpAddr {
        let Some(apart) = self.apart else {
            return Ipv4Addr::LOCALHOST.into();
        };
        match part {
            Part::Publisher => apart.publisher,
            Part::Subscriber | Part::Peer | Part::Joiner => apart.subscribers,
        }
    }

    /// The name of the system.
    pub(crate) fn system_name(&self) -> &'static str {
        match self.system {
            System::Rolecast => "rolecast",
            System::Ceiling => "quinn",
        }
    }

    /// What is promised to the messages, in words.
    pub(crate) fn mode(&self) -> String {
        let (System::Rolecast, Some(promise)) = (self.system, self.promise()) else {
            return match self.system {
                System::Ceiling => "bare QUIC streams, fifo, encrypted",
                System::Rolecast => "request/reply, encrypted",
            }
            .to_owned();
        };
        let spreads = promise.dissemination;
        let safe = match promise.k_safe {
            0 | 1 => String::new(),
            k => format!(", {k}-safe"),
        };
        format!("{spreads}, fifo{safe}, acknowledged, encrypted")
    }

    pub(crate) fn promise(&self) -> Option<Promise> {
        match self.scenario {
            Scenario::Fanout { promise, .. }
            | Scenario::Latency { promise, .. }
            | Scenario::Stream { promise, .. }
            | Scenario::Mesh { promise, .. } => Some(promise),
            Scenario::Reqrep { .. } => None,
        }
    }

    /// How many processes receive.
    pub(crate) fn subs(&self) -> usize {
        match self.scenario {
            Scenario::Fanout { subs, .. }
            | Scenario::Latency { subs, .. }
            | Scenario::Stream { subs, .. } => subs,
            Scenario::Mesh { nodes, .. } => nodes,
            Scenario::Reqrep { .. } => 1,
        }
    }

    /// How many messages or requests are sent and measured; of those of a mesh, nobody knows before.
    pub(crate) fn count(&self) -> u64 {
        match self.scenario {
            Scenario::Fanout { count, .. } | Scenario::Reqrep { count, .. } => count,
            Scenario::Latency { rate, secs, .. } => rate * secs,
            Scenario::Stream { .. } => 1,
            Scenario::Mesh { .. } => 0,
        }
    }

    /// How many are sent before, so that connections are open and have found their pace.
    pub(crate) fn warm_up(&self) -> u64 {
        let count = match self.scenario {
            Scenario::Fanout { count, .. } => count / 10,
            Scenario::Latency { rate, .. } => rate / 2,
            Scenario::Stream { .. } => 1,
            Scenario::Mesh { .. } => WARM_UP_OF_EACH,
            Scenario::Reqrep { .. } => WARM_UP_REQUESTS,
        };
        let by_bytes = WARM_UP_BYTES_MAX / (self.size as u64 + 1);
        count.clamp(1, by_bytes.max(1))
    }

    /// How many bytes the large payloads have that are sent beside the messages; 0 if none are.
    pub(crate) fn beside(&self) -> u64 {
        match self.scenario {
            Scenario::Latency { beside, .. } => beside,
            _ => 0,
        }
    }

    /// Whether payloads carry the time at which they were sent.
    pub(crate) fn is_stamped(&self) -> bool {
        matches!(self.scenario, Scenario::Latency { .. })
    }
}

const WARM_UP_REQUESTS: u64 = 1_000;
const WARM_UP_OF_EACH: u64 = 10_000;
const WARM_UP_BYTES_MAX: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::Apart;

    #[test]
    fn two_ends_are_a_namespace_and_two_addresses() {
        let apart = Apart::parse("far,10.9.0.1,fd00::2").expect("it is well-formed");
        assert_eq!(apart.namespace, "far");
        assert_eq!(apart.publisher.to_string(), "10.9.0.1");
        assert_eq!(apart.subscribers.to_string(), "fd00::2");
        for wrong in [
            "",
            "far",
            "far,10.9.0.1",
            "far,10.9.0.1,there",
            "far,::1,::2,::3",
        ] {
            assert!(Apart::parse(wrong).is_err(), "{wrong}");
        }
    }
}

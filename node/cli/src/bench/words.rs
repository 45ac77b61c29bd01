//! What the coordinator and the processes of a benchmark say to each other: one JSON object a line, over standard input and output.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::bench::histogram::Histogram;
use crate::bench::plan::Plan;
use crate::bench::usage::Usage;

/// What the coordinator tells a process. The end of its input ends a process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Comes first: what to be.
    Job(Box<Job>),
    /// The measurement starts.
    Begin,
    /// Everything has been sent: what does not arrive soon is lost.
    End,
    /// So many messages were sent by all together.
    Expect(u64),
}

/// What a process is to be.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) plan: Plan,
    pub(crate) part: Part,
    pub(crate) access: Access,
    /// Where the processes that were started before listen.
    pub(crate) peers: Vec<SocketAddr>,
}

/// Which end of the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Part {
    /// Sends.
    Publisher,
    /// Receives, and answers if it is asked.
    Subscriber,
    /// Sends to all and receives from all.
    Peer,
    /// Finds all others.
    Joiner,
}

/// What lets the processes talk to each other and nobody else to them.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum Access {
    /// A mesh secret.
    Secret(String),
    /// A certificate and its private key, in DER.
    Certificate { certificate: Vec<u8>, key: Vec<u8> },
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Access(hidden)")
    }
}

/// What a process tells the coordinator.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Word {
    /// It listens here.
    Listening(SocketAddr),
    /// It has sent or received all of the warm-up.
    Warm,
    /// It has noted what it used before the measurement.
    Begun,
    /// So much of what it has to send is sent.
    Progress(u64),
    /// It has sent so much, and nothing follows.
    Sent(u64),
    /// It is through.
    Done(Box<Tally>),
    /// It cannot go on.
    Failed(String),
}

/// What a process has measured.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// When it began (publisher) and when it received the last message or reply, in nanoseconds of `CLOCK_MONOTONIC`.
    pub(crate) began_ns: u64,
    pub(crate) ended_ns: u64,
    /// Messages received, or requests answered.
    pub(crate) delivered: u64,
    /// Messages that did not arrive, or requests that failed.
    pub(crate) lost: u64,
    /// How long each took, if that was measured.
    pub(crate) times: Histogram,
    /// What it used during the measurement.
    pub(crate) usage: Usage,
    /// How many sockets it has open, if that was counted.
    pub(crate) sockets: u64,
}

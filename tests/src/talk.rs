//! What the `talker` is told and says: one JSON object a line, orders on its standard input, reports on its standard output.
//!
//! A talker is a process that holds the role [`ROLE`], multicasts numbered words to it when it is told to, and reports what comes.
//! The words are numbered from 1 in each round, so that reports can be compared without knowing how flows are numbered.

use std::net::SocketAddr;
use std::path::PathBuf;

use rolecast::{Dissemination, Epoch, NodeId, Order};
use serde::{Deserialize, Serialize};

/// The role that all talkers hold, and to which all of them talk.
pub const ROLE: &str = "talk";

/// What a talker is told to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Task {
    /// Be a node: the first order, answered with [`Report::Started`].
    Start {
        /// The mesh's secret.
        secret: String,
        /// Where others of the mesh are.
        seeds: Vec<String>,
        /// Where it keeps its key.
        state_dir: PathBuf,
    },
    /// Wait until the holders in this node's view are as many, none in an earlier life than these, answered with [`Report::Sees`].
    Expect {
        /// As many holders as these, and those nodes in these lives or later ones.
        lives: Vec<Life>,
    },
    /// Multicast numbered words, answered with [`Report::Said`] and [`Report::Settled`].
    Say {
        /// The round to which they belong.
        round: u64,
        /// How they are sent.
        way: Way,
        /// How many; without it, until the process is killed.
        count: Option<u64>,
    },
}

/// What a talker reports.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Report {
    /// It listens, and holds the role.
    Started {
        /// In which life it is.
        life: Life,
        /// Where it is dialled.
        addr: SocketAddr,
    },
    /// Those are the holders of the role, sorted.
    Sees {
        /// The holders.
        lives: Vec<Life>,
    },
    /// A word came out of its inbox.
    Heard {
        /// Who said it.
        from: Life,
        /// The word.
        word: Word,
    },
    /// It was declared down while it lived, and goes on in another life.
    Interrupted {
        /// The round of the last words that it was told to say.
        round: u64,
    },
    /// Its inbox names messages that are lost for good.
    Lost {
        /// Who said them.
        from: Life,
    },
    /// It has sent everything that it was told to.
    Said {
        /// In which round.
        round: u64,
    },
    /// Every holder of each word of the round has taken it, or is lost.
    Settled {
        /// Which round.
        round: u64,
        /// Those that are lost.
        lost: Vec<NodeId>,
    },
    /// It has declared another node down.
    Down {
        /// The node.
        node: NodeId,
    },
}

/// A node in one of its lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Life {
    /// The node.
    pub node: NodeId,
    /// Its life.
    pub epoch: Epoch,
}

/// How words are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// How they spread.
    pub dissemination: Dissemination,
    /// In which order they come.
    pub order: Order,
    /// How many hold a word before one hears it.
    pub k_safe: u8,
}

/// One multicast.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// In which round it was said.
    pub round: u64,
    /// The how manieth it was of whoever said it, from 1.
    pub number: u64,
    /// How far whoever said it in causal order had heard the others in this round, itself included.
    pub after: Vec<(Life, u64)>,
}

impl Word {
    /// The word as it is sent, padded with white space to the size of a word.
    #[must_use]
    pub fn to_payload(&self) -> Vec<u8> {
        let mut payload = serde_json::to_vec(self).expect("a word is plain data");
        // White space after the end is no part of it.
        payload.resize(payload.len().max(WORD_BYTES), b' ');
        payload
    }

    /// The word that was sent as this.
    ///
    /// # Panics
    /// If none was sent so.
    #[must_use]
    pub fn from_payload(payload: &[u8]) -> Self {
        let word = serde_json::from_slice(payload);
        let word: Word = word.unwrap_or_else(|error| panic!("no word: {error}"));
        assert_eq!(word.to_payload(), payload, "it arrives as it was sent");
        word
    }
}

/// Bytes of a word: some hundreds are far more than QUIC has on the way at once, and fit into the window of a flow (4 MiB), so that nobody waits for a process that is stopped for a while.
const WORD_BYTES: usize = 4_000;

//! What the demo's parent process and its nodes say to each other: one JSON object a line, orders on the standard input, reports on the standard output.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::demo::journal::JournalEntry;

/// What a node is told to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum Order {
    /// Take up a role: [`Report::TakenUp`] follows.
    TakeUp {
        /// The role.
        role: String,
    },
    /// Give a role up: [`Report::Dropped`] follows.
    Drop {
        /// The role.
        role: String,
    },
    /// Wait until the view of the mesh is so: [`Report::Knows`] follows.
    Expect {
        /// How many members there are.
        members: usize,
        /// How many hold each of these roles.
        holders: BTreeMap<String, usize>,
    },
    /// Multicast numbered messages: [`Report::Announced`] and in the end [`Report::Sent`] follow.
    Stream {
        /// The role to send to.
        role: String,
        /// How many messages; without it, until [`Order::Stop`].
        count: Option<u64>,
        /// How many a second; without it, as fast as the holders take them.
        pace_per_s: Option<u64>,
    },
    /// End all streams.
    Stop,
    /// Ask one holder of a role, or all: [`Report::Answers`] follows.
    Ask {
        /// The role.
        role: String,
        /// The question.
        question: String,
        /// Whether all are asked.
        all: bool,
    },
    /// Say what was delivered so far: [`Report::Journal`] follows.
    Journal,
    /// Tell a lie about the next delivery from this node.
    Plant {
        /// The lie.
        fault: Fault,
        /// The node, as hexadecimal digits.
        origin: String,
    },
    /// Leave the mesh in good order, and end.
    Leave,
}

/// A lie in a journal, to show that the demo finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fault {
    /// A delivery is left out.
    Drop,
    /// A delivery is written down twice.
    Duplicate,
    /// Two deliveries are swapped.
    Swap,
    /// A delivery is written down that never was.
    Invent,
}

/// What a node reports.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "kebab-case")]
pub(crate) enum Report {
    /// It listens.
    Started {
        /// Its id, as hexadecimal digits.
        node: String,
        /// Where it is dialled.
        addr: SocketAddr,
    },
    /// It holds a role.
    TakenUp {
        /// The role.
        role: String,
    },
    /// It gave a role up, and has written down everything that came before.
    Dropped {
        /// The role.
        role: String,
    },
    /// Its view of the mesh is as expected.
    Knows,
    /// It is about to send messages up to this one; nothing beyond was sent.
    Announced {
        /// To which role.
        role: String,
        /// The number of the last message.
        upto: u64,
    },
    /// A stream has ended.
    Sent {
        /// To which role.
        role: String,
        /// The number of the last message of this node to this role.
        upto: u64,
        /// How many holders the last message was lost to.
        lost: usize,
    },
    /// A question has been answered, or not.
    Answers {
        /// The answers.
        answers: Vec<Answer>,
        /// How long it took, in microseconds.
        took_us: u64,
    },
    /// A member was declared down.
    Down {
        /// Its id, as hexadecimal digits.
        node: String,
    },
    /// A member left in good order.
    Left {
        /// Its id, as hexadecimal digits.
        node: String,
    },
    /// What was delivered so far.
    Journal {
        /// By role and origin.
        entries: Vec<JournalEntry>,
    },
    /// An order could not be carried out.
    Failed {
        /// Why.
        why: String,
    },
}

/// One holder's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// The holder's id, as hexadecimal digits.
    pub(crate) node: String,
    /// What it said, or why it said nothing.
    pub(crate) said: Result<String, String>,
}

/// The environment variable in which a node of the demo finds the secret.
pub(crate) const SECRET_VARIABLE: &str = "ROLECAST_DEMO_SECRET";

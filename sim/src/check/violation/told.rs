//! How a broken promise is told: in a sentence, and of whom.

use std::fmt;

use super::{Broken, CallName, Instead, MessageName, Name, Violation};

impl Violation {
    /// The processes that it names: where it was seen, and whose messages and calls it is about.
    #[must_use]
    pub fn concerned(&self) -> Vec<Name> {
        let mut names = vec![self.node];
        names.extend(self.broken.names());
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl Broken {
    fn names(&self) -> Vec<Name> {
        match self {
            Broken::NeverSent { message, .. }
            | Broken::StartUntold { message }
            | Broken::LagUntold { message, .. }
            | Broken::NeverReadmitted { message }
            | Broken::AfterEnd { message }
            | Broken::Altered { message }
            | Broken::Duplicated { message }
            | Broken::DeliveredAfterGap { message }
            | Broken::OutOfOrder { message, .. }
            | Broken::Misrouted { message, .. }
            | Broken::Validity { message, .. }
            | Broken::Stability { message, .. }
            | Broken::HeldByTooFew { message, .. }
            | Broken::LostInLeaving { message, .. } => vec![message.origin],
            Broken::Causality { message, missing } => vec![message.origin, missing.origin],
            Broken::Agreement {
                message, deliverer, ..
            }
            | Broken::Uniformity {
                message, deliverer, ..
            } => vec![message.origin, *deliverer],
            Broken::Untold { message, told } => vec![message.origin, *told],
            Broken::SettledEarly { message, holder } => vec![message.origin, *holder],
            Broken::EndedTwice { origin, .. }
            | Broken::EndWrong { origin, .. }
            | Broken::NeverEnded { origin, .. } => vec![*origin],
            Broken::CallAltered { call }
            | Broken::CallMisrouted { call }
            | Broken::CallTwice { call }
            | Broken::CallSeen { call, .. }
            | Broken::CallUnseen { call, .. }
            | Broken::AnswerForged { call, .. }
            | Broken::AnswerUnfit { call, .. }
            | Broken::AnsweredAfterEnd { call, .. }
            | Broken::GatherIncomplete { call, .. }
            | Broken::CallReused { call }
            | Broken::CallLate { call, .. }
            | Broken::CallEarly { call, .. }
            | Broken::CancelledWrongly { call } => vec![call.caller],
            Broken::CallAtTwo { call, first } => vec![call.caller, *first],
            _ => Vec::new(),
        }
    }
}

impl std::error::Error for Violation {}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at node {}, {})", self.broken, self.node, self.at)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.incarnation {
            0 => write!(f, "n{}", self.slot),
            later => write!(f, "n{}.{later}", self.slot),
        }
    }
}

impl fmt::Display for MessageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MessageName {
            origin,
            epoch,
            flow,
            seq,
            role,
        } = self;
        write!(
            f,
            "message {} of {origin}'s flow {} to {role:?} (life {epoch})",
            seq.0, flow.0
        )
    }
}

impl fmt::Display for CallName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call {} of {}", self.call.0, self.caller)
    }
}

impl fmt::Display for Instead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Instead::Missing => "never delivered",
            Instead::Gapped => "given up with a Gap",
        })
    }
}

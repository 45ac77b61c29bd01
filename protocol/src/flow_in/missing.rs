//! What is missing of a flow, who may have it, and when it is given up.

use std::time::Duration;

use rolecast_membership::{NodeId, Time};

use super::FlowIn;
use crate::canary::planted;
use crate::wire::DestMember;

impl FlowIn {
    /// How long the first missing message has been missed without any progress; `None` if none is known to be missing.
    pub(crate) fn missing_for(&self, now: Time) -> Option<Duration> {
        self.missing_since.map(|since| now.since(since))
    }

    /// Whether another member said that it has something of what is missed first.
    pub(crate) fn is_told_by(&self, node: NodeId) -> bool {
        let last = self.missing_upto(self.known_upto);
        self.retained.may_have(node, self.held() + 1, last)
    }

    /// The last message of the first run of missing ones, of those up to `upto`.
    pub(crate) fn missing_upto(&self, upto: u64) -> u64 {
        let early = self.early.first_from(self.held() + 1);
        early.map_or(upto, |first| upto.min(first - 1))
    }

    /// When the missing messages are given up, if some are missing and the origin's life is over.
    /// As long as it lives, its session brings everything in the end.
    pub(crate) fn gives_up_at(&self, gap_after: Duration) -> Option<Time> {
        let Some(dead_since) = self.dead_since else {
            return self.evicted_gives_up_at(gap_after);
        };
        let since = self.missing_since?.max(dead_since);
        if self.is_given_up_by_others() || planted!(GivenUpTooSoon) {
            return Some(since);
        }
        Some(since + gap_after)
    }

    /// Messages up to here are known to exist.
    pub(crate) fn known_upto(&self) -> u64 {
        self.known_upto
    }

    /// Whether a member said in the life that is meant that it has something of what is missed first.
    pub(crate) fn is_told_by_member(&self, member: &DestMember) -> bool {
        let told = self.retained.told_by(member.node, member.epoch);
        told > self.held() && self.is_told_by(member.node)
    }

    /// Another member has given up what it missed up to here.
    pub(crate) fn on_given_up(&mut self, now: Time, node: NodeId, upto: u64) {
        self.know_upto(now, upto);
        self.given_up_by_others = self.given_up_by_others.max(upto);
        self.retained.on_gone(node, upto);
    }

    /// Whether other members gave up what is missed here first.
    pub(crate) fn is_given_up_by_others(&self) -> bool {
        self.held() < self.given_up_by_others
    }
}

#[cfg(test)]
mod tests {
    use rolecast_membership::{Epoch, Tenure};

    use super::*;
    use crate::api::FlowId;
    use crate::mode::Mode;
    use crate::wire::FlowKey;

    const NOW: Time = Time::ZERO;

    fn member(number: u8) -> DestMember {
        DestMember {
            node: NodeId::from_bytes([number; 32]),
            epoch: Epoch(1),
            tenure: Tenure(1),
            start: 1,
            replayed: 0,
            owed: Vec::new(),
        }
    }

    #[test]
    fn what_others_gave_up_is_given_up_at_once_when_the_origin_is_dead() {
        let origin = NodeId::from_bytes([1; 32]);
        let key = FlowKey {
            origin,
            epoch: Epoch(1),
            flow: FlowId(1),
        };
        let mut flow = FlowIn::new(key, Mode::default(), &member(2), 1);
        let patience = Duration::from_secs(9);
        let [other, third] = [member(3), member(4)];
        flow.retained.on_told(other.node, other.epoch, 4);
        flow.retained.on_told(third.node, third.epoch, 4);
        flow.on_given_up(NOW, other.node, 4);
        assert_eq!(flow.gives_up_at(patience), None, "its origin brings it");
        flow.dead_since = Some(NOW);
        assert_eq!(flow.gives_up_at(patience), Some(NOW));
        assert!(!flow.is_told_by_member(&other) && flow.is_told_by_member(&third));
        let later = DestMember {
            epoch: Epoch(2),
            ..third
        };
        assert!(!flow.is_told_by_member(&later), "another life said so");
        assert_eq!(flow.give_up(NOW), Some((1, 4)));
        flow.know_upto(NOW, 5);
        assert_eq!(flow.gives_up_at(patience), Some(NOW + patience));
    }
}

//! What is missing of a flow, who may have it, and when it is given up.

use std::time::Duration;

use rolecast_membership::{Epoch, NodeId, Time};

use super::FlowIn;
use crate::canary::planted;
use crate::wire::{BEYOND_MAX, DestMember, Span};

impl FlowIn {
    /// How long the first missing message has been missed without any progress; `None` if none is known to be missing.
    pub(crate) fn missing_for(&self, now: Time) -> Option<Duration> {
        self.missing_since.map(|since| now.since(since))
    }

    /// Whether another member said that it has something of what is missed first.
    pub(crate) fn is_told_by(&self, node: NodeId) -> bool {
        let last = self.missing_upto(self.known_upto.min(self.gives_up_to()));
        self.retained.may_have(node, self.held() + 1, last)
    }

    /// What this member has behind messages that it misses, as far as that is few runs.
    /// Of a large payload, what follows a missing part is of no use.
    pub(crate) fn beyond(&self) -> Vec<Span> {
        match self.large {
            Some(_) => Vec::new(),
            None => self.early.runs_after(self.held(), BEYOND_MAX),
        }
    }

    /// How far a life of another member said that it is, and knows that enough members are if they have to.
    pub(crate) fn known_to_have(&self, node: NodeId, epoch: Epoch) -> u64 {
        let told = self.retained.told_by(node, epoch);
        let safety = self.safety.as_ref();
        let safe = safety.map_or(u64::MAX, |safety| safety.safe_by(node, epoch));
        told.min(safe)
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

    /// A member that knows this version of the destination set has messages up to here; says whether that is news.
    ///
    /// Who is meant by them may not be known here.
    /// Then they are fetched, but not given up: nobody could be told who else misses them.
    pub(crate) fn hear_upto(&mut self, now: Time, version: u32, upto: u64) -> bool {
        match version <= self.newest_version {
            true => self.addressed_upto = self.addressed_upto.max(upto),
            false => self.addressed_in = self.addressed_in.max(version),
        }
        self.note_upto(now, upto)
    }

    /// Whether messages are known to exist of which it is not known to whom they go.
    pub(crate) fn is_unaddressed(&self) -> bool {
        self.addressed_upto < self.known_upto
    }

    /// Messages up to here are known to exist and to be meant for this node.
    pub(crate) fn addressed_upto(&self) -> u64 {
        self.addressed_upto
    }

    /// Whether a member said in the life that is meant that it has something of what is missed first.
    pub(crate) fn is_told_by_member(&self, member: &DestMember) -> bool {
        self.retained.speaks_in(member.node, member.epoch) && self.is_told_by(member.node)
    }

    /// Another member has given up what it missed up to here.
    pub(crate) fn on_given_up(&mut self, now: Time, node: NodeId, upto: u64) {
        self.know_upto(now, upto);
        self.given_up_by_others = self.given_up_by_others.max(upto);
        self.retained.on_gone(node, upto);
    }

    /// As far as what is missed may be given up: what others gave up before the rest.
    pub(crate) fn gives_up_to(&self) -> u64 {
        match self.is_given_up_by_others() {
            true => self.given_up_by_others,
            false => u64::MAX,
        }
    }

    /// Whether other members gave up what is missed here first.
    pub(crate) fn is_given_up_by_others(&self) -> bool {
        self.held() < self.given_up_by_others
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rolecast_membership::Tenure;

    use super::*;
    use crate::api::FlowId;
    use crate::mode::Mode;
    use crate::wire::{DestSet, FlowKey};

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

    fn flow() -> FlowIn {
        let key = FlowKey {
            origin: NodeId::from_bytes([1; 32]),
            epoch: Epoch(1),
            flow: FlowId(1),
        };
        FlowIn::new(key, Mode::default(), &member(2), 1)
    }

    fn set(flow: &FlowIn, version: u32) -> DestSet {
        DestSet {
            key: flow.key,
            version,
            role: "r".parse().expect("a role"),
            mode: flow.mode,
            born: Epoch(1),
            members: vec![member(2)],
            evicted: Vec::new(),
            large: None,
            sources: Vec::new(),
        }
    }

    #[test]
    fn nothing_is_given_up_of_which_it_is_not_known_to_whom_it_goes() {
        let mut flow = flow();
        let me = member(2);
        let first = set(&flow, 1);
        flow.learn(first, Bytes::new(), Some(&me), 0);
        assert!(flow.hear_upto(NOW, 1, 3) && flow.hear_upto(NOW, 2, 5));
        assert!(flow.missing_for(NOW).is_some() && flow.missing_upto(5) == 5);
        assert_eq!(flow.give_up(NOW, u64::MAX), Some((1, 3)));
        assert!(flow.missing_for(NOW).is_some(), "the rest may yet come");
        assert_eq!(flow.give_up(NOW, u64::MAX), None);
        let second = set(&flow, 2);
        flow.learn(second, Bytes::new(), Some(&me), 0);
        assert_eq!(flow.give_up(NOW, u64::MAX), Some((4, 5)));
        assert_eq!(flow.missing_for(NOW), None);
    }

    #[test]
    fn nothing_is_given_up_beyond_what_others_gave_up() {
        let mut flow = flow();
        flow.dead_since = Some(NOW);
        flow.know_upto(NOW, 5);
        let other = member(3);
        flow.retained.on_told(other.node, other.epoch, 1);
        let behind = Span { first: 4, last: 5 };
        flow.retained.on_beyond(other.node, other.epoch, &[behind]);
        assert!(flow.is_told_by_member(&other), "it has something");
        flow.on_given_up(NOW, other.node, 3);
        assert!(!flow.is_told_by_member(&other), "but nothing of this");
        assert_eq!(flow.give_up(NOW, flow.gives_up_to()), Some((1, 3)));
        assert!(flow.is_told_by_member(&other) && flow.gives_up_to() == u64::MAX);
        assert!(flow.missing_for(NOW).is_some(), "the rest may yet come");
    }

    #[test]
    fn what_others_gave_up_is_given_up_at_once_when_the_origin_is_dead() {
        let mut flow = flow();
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
        assert_eq!(flow.give_up(NOW, u64::MAX), Some((1, 4)));
        flow.know_upto(NOW, 5);
        assert_eq!(flow.gives_up_at(patience), Some(NOW + patience));
    }
}

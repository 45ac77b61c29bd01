//! The receiving side of a flow: what came, what is missing, and what may be acknowledged.
//!
//! The state is a watermark, the few batches that came too early, and what still awaits the application or a relay: nothing grows with the number of messages.

mod acknowledged;
mod dest_sets;
mod early;
mod evicted;
mod missing;
mod untaken;

use std::collections::BTreeMap;

use bytes::Bytes;
use rolecast_membership::{Epoch, NodeId, RoleName, Tenure, Time};

use self::dest_sets::DestSets;
pub(crate) use self::dest_sets::KnownDestSet;
use self::early::{Early, EarlyBatch};
use self::evicted::EvictedIn;
use self::untaken::Untaken;
use crate::api::InboxId;
use crate::batch::Batch;
use crate::canary::planted;
use crate::large::{Incoming, Stage};
use crate::mode::{Mode, Order};
use crate::retained::{Pace, Retained};
use crate::safety::Safety;
use crate::wire::{Claim, Dep, DestMember, DestSet, FlowDigest, FlowKey, Heard, SEQ_MAX};

/// A flow of another node, as a member of its destination set sees it.
#[derive(Debug)]
pub(crate) struct FlowIn {
    pub(crate) key: FlowKey,
    pub(crate) mode: Mode,
    /// Who announced it: its origin, or whoever did so first as long as that has not.
    pub(crate) announcer: NodeId,
    /// This node's holding of the role, as the newest destination set that names it says.
    tenure: Tenure,
    /// The life of this node that the flow's state belongs to.
    own_epoch: Epoch,
    /// Where messages go; `None` if this node does not hold the role any longer.
    inbox: Option<InboxId>,
    /// The role that it is sent to, once it has had an inbox.
    role: Option<RoleName>,
    /// Nothing above this is acknowledged: without an inbox nobody takes it, which the origin learns from the record.
    ack_limit: u64,
    newest_version: u32,
    /// The destination sets that batches may still refer to, with their encoded announcements.
    dest_sets: DestSets,
    /// The first message that is meant for this node.
    start: u64,
    /// Everything up to here was delivered, refused, or given up.
    watermark: u64,
    /// What came too early, or is held back, by its first message; of an unordered flow also what was delivered too early.
    early: Early,
    /// The first message of what came too early and may be delivered at once.
    fresh: Option<u64>,
    /// In causal order, what everything up to here depends on was delivered.
    allowed: u64,
    /// Messages up to here are known to exist.
    known_upto: u64,
    /// Of those, it is known to whom they go as far as this.
    addressed_upto: u64,
    /// To whom the others go is known from this version of the destination set on.
    addressed_in: u32,
    /// Since when the first missing message has been missed.
    missing_since: Option<Time>,
    /// Other members gave up what they missed up to here.
    given_up_by_others: u64,
    untaken: Untaken,
    /// Batches that were passed on and not acknowledged by every peer, by their last message.
    relays: BTreeMap<u64, RelayedBatch>,
    /// What is kept for other members, if the flow spreads by reference.
    pub(crate) retained: Retained,
    /// Who holds what, if messages wait for that.
    pub(crate) safety: Option<Box<Safety>>,
    /// What was last acknowledged to the origin.
    acked: u64,
    /// What was last acknowledged over a link to the origin itself.
    pub(crate) acked_directly: u64,
    /// Bytes taken since the last acknowledgement.
    pub(crate) unacked_bytes: usize,
    /// Since when the origin's life is over.
    pub(crate) dead_since: Option<Time>,
    /// If its origin goes on without this node, what is known of that.
    evicted: Option<EvictedIn>,
    /// If its messages are the chunks of a large payload, what is known of that.
    pub(crate) large: Option<Incoming>,
}

#[derive(Debug)]
struct RelayedBatch {
    first: u64,
    /// How many peers have not acknowledged it.
    waiting: u32,
}

/// A run of messages that can be delivered.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) batch: Batch,
    /// How many messages at the batch's front were delivered before.
    pub(crate) skip: u32,
}

/// What a batch turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Seen before.
    Duplicate,
    /// Seen for the first time; deliver what is ready, and relay it.
    First,
    /// Too early, and there is no room to keep it.
    NoRoom,
}

impl FlowIn {
    /// The flow as the first destination set that names this node describes it.
    pub(crate) fn new(key: FlowKey, mode: Mode, member: &DestMember, start: u64) -> Self {
        let &DestMember {
            node,
            epoch,
            tenure,
            ..
        } = member;
        let waits = mode.holds_back();
        FlowIn {
            key,
            mode,
            announcer: key.origin,
            tenure,
            own_epoch: epoch,
            inbox: None,
            role: None,
            ack_limit: start - 1,
            newest_version: 0,
            dest_sets: DestSets::default(),
            start,
            watermark: start - 1,
            early: Early::default(),
            fresh: None,
            allowed: match mode.order {
                Order::Causal => start - 1,
                _ => u64::MAX,
            },
            known_upto: 0,
            addressed_upto: 0,
            addressed_in: 0,
            missing_since: None,
            given_up_by_others: 0,
            untaken: Untaken::default(),
            relays: BTreeMap::new(),
            retained: Retained::new(match key.flow.is_large() {
                true => Pace::Slow,
                false => Pace::Fast,
            }),
            safety: waits.then(|| Safety::new(mode.k_safe, node, key.origin, start).into()),
            acked: start - 1,
            acked_directly: start - 1,
            unacked_bytes: 0,
            dead_since: None,
            evicted: None,
            large: None,
        }
    }

    /// Learns a version of the destination set, in which `own` is this node's entry, be it left out or not.
    /// If that names a later holding or life of this node, what belonged to the earlier one is dropped; says whether that is so.
    /// Messages up to `given_up` were given up before anything of the flow came.
    pub(crate) fn learn(
        &mut self,
        set: DestSet,
        encoded: Bytes,
        own: Option<&DestMember>,
        given_up: u64,
    ) -> bool {
        let mut restarted = false;
        let version = set.version;
        if version > self.newest_version {
            self.newest_version = version;
            if version >= self.addressed_in {
                self.addressed_upto = self.known_upto;
            }
            let is_member = |node| set.member(node).is_some();
            self.retained.retain_told(is_member);
            if let Some(safety) = &mut self.safety {
                safety.retain_said(is_member);
            }
            if let Some(member) = own
                && (member.epoch, member.tenure) > (self.own_epoch, self.tenure)
            {
                let start = member.start.max(given_up + 1);
                self.restart(member.epoch, member.tenure, (start, member.replayed));
                restarted = true;
            }
        }
        self.dest_sets.insert(set, encoded);
        restarted
    }

    /// No batch that is still to come refers to a version before this one.
    pub(crate) fn forget_dest_sets_before(&mut self, version: u32) {
        self.dest_sets.forget_before(version);
    }

    /// Bytes of the destination sets.
    pub(crate) fn dest_sets_bytes(&self) -> usize {
        self.dest_sets.bytes()
    }

    /// Forgets the oldest destination sets until no more than this is kept; a batch that refers to one of them is passed on to nobody.
    pub(crate) fn shrink_dest_sets_to(&mut self, bytes_max: usize) {
        self.dest_sets.shrink_to(bytes_max);
    }

    /// Lets go of what came latest of all that came too early, until no more than this is kept; it is missed from here on.
    /// What this member said that it holds stays.
    pub(crate) fn shrink_early_to(&mut self, bytes_max: usize) {
        self.early.shrink_to(self.held(), bytes_max);
    }

    fn restart(&mut self, epoch: Epoch, tenure: Tenure, (start, replayed): (u64, u64)) {
        self.own_epoch = epoch;
        self.tenure = tenure;
        self.start = start;
        self.watermark = match replayed {
            0 => self.watermark.max(start - 1),
            // What the holding before was given, this one asks for.
            _ => start - 1,
        };
        self.early.clear();
        self.fresh = None;
        if let Some(safety) = &mut self.safety {
            safety.restart(self.watermark + 1);
        }
        self.known_upto = 0;
        self.addressed_upto = 0;
        self.missing_since = None;
        self.evicted = None;
        self.untaken.clear();
        self.relays.clear();
        self.acked = self.watermark;
        self.acked_directly = self.watermark;
        self.unacked_bytes = 0;
        self.inbox = None;
        self.ack_limit = self.watermark;
    }

    /// The destination set of this version, if it is still kept.
    pub(crate) fn dest_set(&self, version: u32) -> Option<&KnownDestSet> {
        self.dest_sets.get(version)
    }

    /// The newest destination set.
    pub(crate) fn newest_dest_set(&self) -> Option<&KnownDestSet> {
        self.dest_sets.newest()
    }

    /// Whether the flow's origin, or anybody for whom something of it was meant as far as this node still knows, is one of those.
    pub(crate) fn concerns(&self, is_one: impl Fn(NodeId, Epoch) -> bool) -> bool {
        let mut sets = self.dest_sets.all().peekable();
        sets.peek().is_none()
            || is_one(self.key.origin, self.key.epoch)
            || sets.any(|known| {
                let mut members = known.set.members.iter();
                let mut evicted = known.set.evicted.iter();
                members.any(|member| is_one(member.node, member.epoch))
                    || evicted.any(|evicted| is_one(evicted.node, evicted.epoch))
            })
    }

    /// Whether nothing of `first..=last` is wanted any more.
    pub(crate) fn is_duplicate(&self, first: u64, last: u64) -> bool {
        let seen = self.held() + u64::from(planted!(DuplicateTooFar));
        last <= seen || self.early.contains(first)
    }

    /// What a batch with this destination set depends on; `None` if the set is not known, an error if it names no such flows.
    pub(crate) fn resolve(
        &self,
        version: u32,
        deps: &[Dep],
    ) -> Result<Option<Vec<(FlowKey, u64)>>, &'static str> {
        if deps.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let Some(known) = self.dest_sets.get(version) else {
            return Ok(None);
        };
        if self.mode.order != Order::Causal {
            return Err("a batch that depends on others, of a flow that does not");
        }
        let resolve = |dep: &Dep| {
            let key = known.set.sources.get(dep.source as usize)?;
            (dep.upto <= SEQ_MAX).then_some((*key, dep.upto))
        };
        let all: Option<Vec<_>> = deps.iter().map(resolve).collect();
        all.map(Some)
            .ok_or("a batch that depends on no flow that there is")
    }

    /// Takes in a batch that is no duplicate.
    pub(crate) fn arrive(
        &mut self,
        now: Time,
        first: u64,
        last: u64,
        (version, deps): (u32, Vec<(FlowKey, u64)>),
        batch: Batch,
        room_bytes: usize,
    ) -> Arrival {
        if self.is_duplicate(first, last) {
            return Arrival::Duplicate;
        }
        self.know_upto(now, last);
        // Whoever sends takes one more batch as long as its window is not full, and so does this end.
        let in_turn = first <= self.held() + 1;
        if !in_turn && self.early.is_full(room_bytes) {
            return Arrival::NoRoom;
        }
        if self.delivers_early() {
            self.fresh = Some(first);
        }
        let early = EarlyBatch {
            last,
            version,
            batch: Some(batch),
            deps,
        };
        self.early.insert(first, early);
        if in_turn && self.safety.is_some() {
            self.hold(now);
        }
        Arrival::First
    }

    /// Takes what follows what is held as held too.
    fn hold(&mut self, now: Time) {
        let Some(safety) = &mut self.safety else {
            return;
        };
        let mut held = safety.held();
        while let Some((first, early)) = self.early.last_upto(held + 1)
            && early.last > held
        {
            let Some(known) = self.dest_sets.get(early.version) else {
                break;
            };
            safety.hold(first, early.last, known.set.clone());
            held = early.last;
            self.missing_since = None;
        }
        self.know_upto(now, held);
    }

    /// The next run that can be delivered.
    pub(crate) fn pop_ready(&mut self, now: Time) -> Option<Ready> {
        let safety = self.safety.as_ref();
        let deliverable = safety.map_or(u64::MAX, |safety| safety.deliverable());
        let deliverable = deliverable.min(self.allowed);
        while let Some((first, early)) = self.pop_in_turn(deliverable) {
            let EarlyBatch { last, batch, .. } = early;
            if last <= self.watermark {
                continue;
            }
            let skip = u32::try_from(self.watermark + 1 - first).unwrap_or(u32::MAX);
            let first = self.watermark + 1;
            self.watermark = last - u64::from(planted!(WatermarkBehind));
            match &mut self.safety {
                Some(safety) => safety.done(last),
                None => self.missing_since = None,
            }
            self.know_upto(now, last);
            // What was delivered before it was in turn is only counted.
            if let Some(batch) = batch {
                return Some(Ready {
                    first,
                    last,
                    batch,
                    skip,
                });
            }
        }
        self.pop_early()
    }

    /// Takes out the batch that follows what was delivered, if it ends at `deliverable` or before.
    fn pop_in_turn(&mut self, deliverable: u64) -> Option<(u64, EarlyBatch)> {
        let next = self.watermark + 1;
        let in_turn = |first, last| first <= next && last <= deliverable;
        self.early.pop_first_if(in_turn)
    }

    /// In causal order, the last message of the batch that is to be delivered next and is not allowed yet, and what it depends on.
    pub(crate) fn next_held(&self) -> Option<(u64, &[(FlowKey, u64)])> {
        let (first, early) = self.early.first()?;
        let next = first <= self.watermark + 1 && early.last > self.allowed;
        next.then_some((early.last, &early.deps))
    }

    /// In causal order, everything up to here may be delivered as far as it depends on other flows.
    pub(crate) fn allow(&mut self, upto: u64) {
        self.allowed = self.allowed.max(upto);
    }

    /// What came too early of a flow without order.
    fn pop_early(&mut self) -> Option<Ready> {
        let first = self.fresh.take()?;
        let (last, batch) = self.early.take_batch(first)?;
        if planted!(EarlyForgotten) {
            self.early.remove(first);
        }
        Some(Ready {
            first,
            last,
            batch,
            skip: 0,
        })
    }

    /// Whether what comes too early is delivered at once; what waits to be safe waits in turn.
    fn delivers_early(&self) -> bool {
        self.mode.order == Order::Unordered && self.safety.is_none()
    }

    /// Messages up to here exist, and are known to be meant for this node; if some are missing, the wait for them starts.
    pub(crate) fn know_upto(&mut self, now: Time, upto: u64) {
        self.addressed_upto = self.addressed_upto.max(upto);
        self.note_upto(now, upto);
    }

    /// Messages up to here exist; says whether that is news.
    fn note_upto(&mut self, now: Time, upto: u64) -> bool {
        let news = upto > self.known_upto;
        self.known_upto = self.known_upto.max(upto);
        if self.held() < self.known_upto {
            self.missing_since.get_or_insert(now);
        }
        news
    }

    /// Somebody speaks of this flow yet: if its origin's life is over, patience begins anew.
    pub(crate) fn hear_of(&mut self, now: Time) {
        self.dead_since = self.dead_since.map(|since| since.max(now));
    }

    /// Nothing up to this message is wanted here, which nobody has to be told of.
    pub(crate) fn pass_over(&mut self, upto: u64) {
        self.watermark = self.watermark.max(upto);
    }

    /// Gives up what is missing before the next batch that is there, as far as `upto_max`; says what that was.
    /// What is held back before it has to be delivered or given up first.
    pub(crate) fn give_up(&mut self, now: Time, upto_max: u64) -> Option<(u64, u64)> {
        if self.held() > self.watermark {
            return None;
        }
        let upto = match self.early.first() {
            Some((first, _)) => first - 1,
            None => self.addressed_upto,
        };
        let upto = upto.min(upto_max);
        let first = self.watermark + 1;
        if upto < first {
            return None;
        }
        self.missing_since = None;
        if !planted!(GapNotKept) {
            self.watermark = upto;
        }
        if let Some(safety) = &mut self.safety {
            safety.give_up(upto);
        }
        self.hold(now);
        self.know_upto(now, upto);
        self.note_upto(now, self.known_upto);
        Some((first, upto))
    }

    /// Gives up the batch that is held back and would be the next, if it ends here or anywhere; says which messages that were.
    pub(crate) fn give_up_held(&mut self, ends: Option<u64>) -> Option<(u64, u64)> {
        let safety = self.safety.as_mut()?;
        let (first, &EarlyBatch { last, .. }) = self.early.first()?;
        if first > self.watermark + 1 || ends.is_some_and(|ends| ends != last) {
            return None;
        }
        self.early.pop_first();
        safety.give_up(last);
        let first = self.watermark + 1;
        self.watermark = last;
        Some((first, last))
    }

    /// Whether what is missing is of use here: a large payload that is over needs nothing more.
    pub(crate) fn is_wanted(&self) -> bool {
        let large = self.large.as_ref();
        large.is_none_or(|large| large.stage == Stage::Open)
    }

    /// What came too early is not wanted any more.
    pub(crate) fn give_up_early(&mut self) {
        self.early.clear();
        self.missing_since = None;
    }

    /// Whether nobody has anything to do for what came.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.untaken.is_empty() && self.relays.is_empty() && self.retained.is_empty()
    }

    /// What this member claims of the flow, if messages wait until enough members hold them.
    pub(crate) fn claim(&self) -> Option<Claim> {
        self.safety.as_ref().map(|safety| safety.claim())
    }

    /// What this member says when it is asked how far it is.
    pub(crate) fn answer(&self) -> FlowDigest {
        FlowDigest {
            key: self.key,
            version: self.newest_version,
            upto: self.held(),
            aged: 0,
            beyond: Vec::new(),
            floor: self.retained.agreed(),
            claim: self.claim(),
            heard: self.hearsay(),
        }
    }

    /// What others said of that.
    pub(crate) fn hearsay(&self) -> Vec<Heard> {
        let safety = self.safety.as_ref();
        safety.map(|safety| safety.hearsay()).unwrap_or_default()
    }

    /// Everything up to here was received, or given up.
    pub(crate) fn held(&self) -> u64 {
        let safety = self.safety.as_ref();
        safety.map_or(self.watermark, |safety| safety.held())
    }

    /// Everything up to here was delivered, refused, or given up.
    pub(crate) fn watermark(&self) -> u64 {
        self.watermark
    }

    /// The newest version of the destination set that is known.
    pub(crate) fn newest_version(&self) -> u32 {
        self.newest_version
    }

    /// How far this node was given anything of the flow.
    pub(crate) fn given(&self) -> Option<u64> {
        (self.watermark >= self.start).then_some(self.watermark)
    }

    /// This node's holding of the role, as the origin sees it.
    pub(crate) fn tenure(&self) -> Tenure {
        self.tenure
    }

    /// The life of this node that the flow's state belongs to.
    pub(crate) fn own_epoch(&self) -> Epoch {
        self.own_epoch
    }

    /// Bytes that the application was handed and has not taken.
    pub(crate) fn untaken_bytes(&self) -> usize {
        self.untaken.bytes()
    }

    /// Bytes that came too early.
    pub(crate) fn early_bytes(&self) -> usize {
        self.early.bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::api::FlowId;
    use crate::wire::{BEYOND_MAX, Span};

    const NOW: Time = Time::ZERO;

    fn flow() -> FlowIn {
        flow_of(Mode::default())
    }

    fn unordered_flow() -> FlowIn {
        flow_of(Mode {
            order: Order::Unordered,
            ..Mode::default()
        })
    }

    fn flow_of(mode: Mode) -> FlowIn {
        let origin = NodeId::from_bytes([1; 32]);
        let key = FlowKey {
            origin,
            epoch: Epoch(1),
            flow: FlowId(1),
        };
        let member = DestMember {
            node: NodeId::from_bytes([2; 32]),
            epoch: Epoch(1),
            tenure: Tenure(1),
            start: 1,
            replayed: 0,
            owed: Vec::new(),
        };
        let mut flow = FlowIn::new(key, mode, &member, 1);
        let role = "r".parse().expect("a role");
        flow.bind(&role, Some(InboxId(1)));
        flow
    }

    #[test]
    fn what_nobody_takes_is_not_acknowledged() {
        let mut flow = flow();
        arrive(&mut flow, 1, 2);
        arrive(&mut flow, 3, 4);
        ready(&mut flow);
        flow.await_taking(1, 2, 8);
        flow.await_taking(3, 4, 8);
        flow.on_taken(2, 8);
        flow.close_inbox();
        arrive(&mut flow, 5, 5);
        ready(&mut flow);
        assert_eq!(flow.take_acknowledgement(), Some(2));
        assert_eq!(flow.take_acknowledgement(), None);
    }

    #[test]
    fn everything_that_was_delivered_early_counts_once_what_was_missing_has_come() {
        let mut flow = unordered_flow();
        let mut take = |first: u64, last: u64| {
            arrive(&mut flow, first, last);
            assert_eq!(ready(&mut flow), [(first, last, 0)]);
            flow.await_taking(first, last, 8);
            flow.on_taken(last, 8);
            flow.take_acknowledgement()
        };
        assert_eq!(take(2, 3), None);
        assert_eq!(take(4, 11), None);
        assert_eq!(take(12, 12), None);
        assert_eq!(take(1, 1), Some(12));
    }

    fn batch(count: u32) -> Batch {
        let mut builder = crate::BatchBuilder::new();
        (0..count).for_each(|_| builder.push(b"x", None));
        builder.take().expect("not empty")
    }

    fn arrive(flow: &mut FlowIn, first: u64, last: u64) -> Arrival {
        flow.arrive(
            NOW,
            first,
            last,
            (1, Vec::new()),
            batch((last - first + 1) as u32),
            100_000,
        )
    }

    fn ready(flow: &mut FlowIn) -> Vec<(u64, u64, u32)> {
        std::iter::from_fn(|| flow.pop_ready(NOW).map(|r| (r.first, r.last, r.skip))).collect()
    }

    #[test]
    fn early_batches_wait_for_what_is_missing() {
        let mut flow = flow();
        assert_eq!(arrive(&mut flow, 4, 6), Arrival::First);
        assert!(ready(&mut flow).is_empty());
        assert_eq!(arrive(&mut flow, 4, 6), Arrival::Duplicate);
        assert_eq!(flow.gives_up_at(Duration::ZERO), None);
        flow.dead_since = Some(NOW);
        assert_eq!(flow.gives_up_at(Duration::ZERO), Some(NOW));
        assert_eq!(arrive(&mut flow, 1, 3), Arrival::First);
        assert_eq!(ready(&mut flow), [(1, 3, 0), (4, 6, 0)]);
        assert_eq!(flow.gives_up_at(Duration::ZERO), None);
        assert_eq!(arrive(&mut flow, 1, 3), Arrival::Duplicate);
        assert_eq!(flow.early_bytes(), 0);
    }

    #[test]
    fn what_is_behind_holes_is_named_in_runs() {
        let mut flow = flow();
        arrive(&mut flow, 1, 1);
        ready(&mut flow);
        for (first, last) in [(3, 3), (4, 6), (8, 8)] {
            arrive(&mut flow, first, last);
        }
        let run = |first, last| Span { first, last };
        assert_eq!(flow.beyond(), [run(3, 6), run(8, 8)]);
        for first in (10..30).step_by(2) {
            arrive(&mut flow, first, first);
        }
        assert_eq!(flow.beyond().len(), BEYOND_MAX);
        assert_eq!(flow.beyond().last(), Some(&run(20, 20)));
        arrive(&mut flow, 2, 2);
        ready(&mut flow);
        assert_eq!(flow.beyond()[0], run(8, 8));
    }

    #[test]
    fn what_never_comes_is_given_up_and_nothing_else() {
        let mut flow = flow();
        arrive(&mut flow, 3, 3);
        arrive(&mut flow, 6, 7);
        assert_eq!(flow.give_up(NOW, u64::MAX), Some((1, 2)));
        assert_eq!(ready(&mut flow), [(3, 3, 0)]);
        assert_eq!(flow.give_up(NOW, u64::MAX), Some((4, 5)));
        assert_eq!(ready(&mut flow), [(6, 7, 0)]);
        assert_eq!(flow.give_up(NOW, u64::MAX), None);
        flow.know_upto(NOW, 9);
        assert_eq!(flow.give_up(NOW, u64::MAX), Some((8, 9)));
        assert_eq!(flow.acknowledgeable(), 9);
    }

    #[test]
    fn a_batch_that_overlaps_is_delivered_from_where_it_is_new() {
        let mut flow = flow();
        arrive(&mut flow, 1, 3);
        ready(&mut flow);
        assert_eq!(arrive(&mut flow, 2, 5), Arrival::First);
        assert_eq!(ready(&mut flow), [(4, 5, 2)]);
    }

    #[test]
    fn early_bytes_are_bounded() {
        let mut flow = flow();
        assert_eq!(
            flow.arrive(NOW, 2, 2, (1, Vec::new()), batch(1), 1),
            Arrival::First
        );
        assert_eq!(
            flow.arrive(NOW, 3, 3, (1, Vec::new()), batch(1), 1),
            Arrival::NoRoom
        );
        assert_eq!(
            flow.arrive(NOW, 1, 1, (1, Vec::new()), batch(1), 0),
            Arrival::First
        );
        assert_eq!(ready(&mut flow), [(1, 1, 0), (2, 2, 0)]);
        // What found no room is missed, and given up in the end if nobody brings it again.
        assert_eq!(flow.give_up(NOW, u64::MAX), Some((3, 3)));
    }

    #[test]
    fn what_is_let_go_is_missed() {
        let mut flow = flow();
        for number in [2, 3, 4] {
            arrive(&mut flow, number, number);
        }
        let each = flow.early_bytes() / 3;
        flow.shrink_early_to(2 * each);
        assert_eq!(flow.early_bytes(), 2 * each);
        arrive(&mut flow, 1, 1);
        assert_eq!(ready(&mut flow), [(1, 1, 0), (2, 2, 0), (3, 3, 0)]);
        assert_eq!(flow.give_up(NOW, u64::MAX), Some((4, 4)));
    }

    #[test]
    fn only_what_was_taken_and_passed_on_is_acknowledged() {
        let mut flow = flow();
        arrive(&mut flow, 1, 2);
        arrive(&mut flow, 3, 4);
        ready(&mut flow);
        flow.await_taking(1, 2, 8);
        flow.await_taking(3, 4, 8);
        flow.await_relays(1, 2, 2);
        flow.await_relays(3, 4, 1);
        flow.on_taken(2, 8);
        assert_eq!(flow.take_acknowledgement(), None);
        flow.on_relayed(2);
        flow.on_relayed(4);
        assert_eq!(flow.take_acknowledgement(), None);
        flow.on_relayed(2);
        assert_eq!(flow.take_acknowledgement(), Some(2));
        flow.on_taken(4, 8);
        assert_eq!(flow.take_acknowledgement(), Some(4));
        assert_eq!(flow.take_acknowledgement(), None);
    }
}

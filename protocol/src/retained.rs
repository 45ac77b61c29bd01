//! What a member keeps of a flow that spreads by reference, until everybody who is meant has it.
//!
//! Every member says now and then how far it has a flow (its *digest*), and whoever misses something fetches it from one that has it: anti-entropy with cumulative digests, as in Demers et al., "Epidemic Algorithms for Replicated Database Maintenance" (1987, section 1.3), with the destination set in place of all replicas.
//! A message is kept until the *floor* has passed it: the origin says in each batch how far every member has acknowledged, and the members' digests show the same without the origin.
//!
//! What is kept has a bound of its own, which an origin that minds its window does not reach: no batch is sent further above the floor than that.
//! At the bound the oldest goes, and whoever still misses it is told of a gap.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rolecast_membership::{Epoch, NodeId, Time};

use crate::batch::BATCH_OVERHEAD_BYTES;
use crate::flow_in::KnownDestSet;
use crate::wire::{DestSet, Pull, Span};

/// What is kept of one flow, and how far the others are.
#[derive(Debug, Default)]
pub(crate) struct Retained {
    pace: Pace,
    /// By first message, in the order of the numbers.
    batches: BTreeMap<u64, RetainedBatch>,
    /// How many of them refer to each destination set, by its version: one each, unless the origin gives a version twice.
    versions: BTreeMap<u32, Vec<(Arc<DestSet>, usize)>>,
    /// Bytes of the batches, and of each destination set that they refer to.
    bytes: usize,
    /// Everybody who is meant and lives, as far as this node knows, has everything up to here.
    floor: u64,
    /// Everybody who is meant has everything up to here, or the origin does not wait for who has not.
    agreed: u64,
    /// How far each other member said it is, and in which of its lives.
    others: BTreeMap<NodeId, Told>,
    /// How far this node was when it gave its last digest, and the last message that it had then.
    told: (u64, u64),
    /// Digests given since something was last news.
    rounds: u32,
    /// When the next digest is due.
    digest_at: Option<Time>,
    /// Where the round of those who get digests goes on, once it has begun.
    turn: Option<usize>,
    /// The latest version of the destination set that was passed on together with a batch.
    passed_on: u32,
    /// What was asked for last: everything after this message, at this time.
    pulled: Option<(u64, Time)>,
    /// What each other member was sent because it asked: in which of its lives, up to which message, and when last.
    sent: BTreeMap<NodeId, (Epoch, u64, Time)>,
}

/// How soon the others are told of something new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As soon as it is not merely on its way.
    #[default]
    Fast,
    /// After a while, of what nobody asks for before that.
    Slow,
}

/// What another member said.
#[derive(Clone, Debug, Default)]
struct Told {
    /// In which of its lives.
    epoch: Epoch,
    /// It is this far.
    upto: u64,
    /// What it has behind messages that it misses.
    beyond: Vec<Span>,
    /// Up to here it has nothing that this node misses.
    gone_upto: u64,
    /// The newest destination set that it knows.
    version: u32,
}

/// A batch as it came, with the destination set that it refers to.
#[derive(Clone, Debug)]
pub(crate) struct RetainedBatch {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) version: u32,
    pub(crate) known: KnownDestSet,
    pub(crate) head: Bytes,
    pub(crate) body: Bytes,
}

impl RetainedBatch {
    /// Whether it has something for this life of a node.
    fn is_meant_for(&self, node: NodeId, epoch: Epoch) -> bool {
        let member = self.known.set.member(node);
        member.is_some_and(|m| m.epoch == epoch && m.start <= self.last)
    }

    fn len_bytes(&self) -> usize {
        self.head.len() + self.body.len() + BATCH_OVERHEAD_BYTES
    }
}

/// Whether a batch refers to this very destination set, which the two then share.
fn is_of(set: &Arc<DestSet>, batch: &RetainedBatch) -> bool {
    Arc::ptr_eq(set, &batch.known.set)
}

/// How long a digest waits for company.
pub(crate) const DIGEST_DELAY: Duration = Duration::from_millis(5);
/// The same at a slow pace: whoever misses something does not ask for it before twice that time has passed.
const DIGEST_DELAY_SLOW: Duration = Duration::from_millis(250);
/// The longest time between two digests of a flow of which something is kept.
const DIGEST_PERIOD_MAX: Duration = Duration::from_millis(500);
/// Digests after something new that are given without growing distance: the second one says what is not merely on its way.
const ROUNDS_AT_ONCE: u32 = 2;
/// Digests after something new without which whoever is as far would have said so: by then a third of a second has passed.
const ROUNDS_LONG: u32 = 8;
/// After so many rounds without anything new, the time between two digests is the longest.
const ROUNDS_SLOW: u32 = 9;
/// After so long, what a member was sent because it asked is sent again if it asks again.
const SEND_PATIENCE: Duration = Duration::from_secs(5);
/// Bytes after which the answer to one pull ends; the rest is pulled again.
const PULL_BYTES: usize = 1 << 20;
/// After so long, what was asked for and did not come is asked for again.
const PULL_PATIENCE: Duration = Duration::from_millis(100);

impl Retained {
    /// Nothing yet, of what the others are told at this pace.
    pub(crate) fn new(pace: Pace) -> Self {
        Retained {
            pace,
            ..Retained::default()
        }
    }

    fn delay(&self) -> Duration {
        match self.pace {
            Pace::Fast => DIGEST_DELAY,
            Pace::Slow => DIGEST_DELAY_SLOW,
        }
    }

    /// Keeps a batch; what is too old goes when that is more than `bytes_max`.
    pub(crate) fn keep(&mut self, now: Time, batch: RetainedBatch, bytes_max: usize) {
        if batch.last <= self.floor {
            return;
        }
        self.count_in(&batch);
        if let Some(before) = self.batches.insert(batch.first, batch) {
            self.count_out(&before);
        }
        self.shrink_to(bytes_max);
        self.on_news(now);
    }

    /// Lets the oldest go until no more than this is kept.
    pub(crate) fn shrink_to(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max
            && let Some((_, oldest)) = self.batches.pop_first()
        {
            self.count_out(&oldest);
        }
    }

    fn count_in(&mut self, batch: &RetainedBatch) {
        let sets = self.versions.entry(batch.version).or_default();
        match sets.iter_mut().find(|(set, _)| is_of(set, batch)) {
            Some((_, references)) => *references += 1,
            None => {
                sets.push((Arc::clone(&batch.known.set), 1));
                self.bytes += batch.known.len_bytes();
            }
        }
        self.bytes += batch.len_bytes();
    }

    fn count_out(&mut self, batch: &RetainedBatch) {
        self.bytes -= batch.len_bytes();
        let Entry::Occupied(mut version) = self.versions.entry(batch.version) else {
            return;
        };
        let sets = version.get_mut();
        if let Some(place) = sets.iter().position(|(set, _)| is_of(set, batch)) {
            sets[place].1 -= 1;
            if sets[place].1 == 0 {
                sets.swap_remove(place);
                self.bytes -= batch.known.len_bytes();
            }
        }
        if sets.is_empty() {
            version.remove();
        }
    }

    /// Something happened that the others should hear of soon.
    pub(crate) fn on_news(&mut self, now: Time) {
        self.rounds = 0;
        if !self.batches.is_empty() {
            let soon = now + self.delay();
            self.digest_at = Some(self.digest_at.map_or(soon, |at| at.min(soon)));
        }
    }

    /// Everybody who is meant has everything up to here, whoever is taken for dead by whom.
    pub(crate) fn agree(&mut self, floor: u64) {
        self.agreed = self.agreed.max(floor);
        self.rise(floor);
    }

    /// Everybody who is meant and lives has everything up to here; what nobody needs goes.
    pub(crate) fn rise(&mut self, floor: u64) {
        self.floor = self.floor.max(floor);
        while let Some(entry) = self.batches.first_entry()
            && entry.get().last <= self.floor
        {
            let gone = entry.remove();
            self.count_out(&gone);
        }
        if self.batches.is_empty() {
            self.digest_at = None;
        }
    }

    /// Another member is this far.
    pub(crate) fn on_told(&mut self, node: NodeId, epoch: Epoch, upto: u64) {
        let told = self.others.entry(node).or_default();
        if told.epoch < epoch {
            *told = Told {
                epoch,
                ..Told::default()
            };
        }
        if told.epoch == epoch {
            told.upto = told.upto.max(upto);
        }
    }

    /// Another member, in the life that said last how far it is, has this behind messages that it misses.
    pub(crate) fn on_beyond(&mut self, node: NodeId, epoch: Epoch, beyond: &[Span]) {
        let told = self.others.get_mut(&node);
        if let Some(told) = told.filter(|told| told.epoch == epoch) {
            told.beyond = beyond.to_vec();
        }
    }

    /// Another member has nothing of what is missing here, up to this message: somebody else may be asked at once.
    pub(crate) fn on_gone(&mut self, node: NodeId, upto: u64) {
        if let Some(told) = self.others.get_mut(&node) {
            told.gone_upto = told.gone_upto.max(upto);
        }
        self.pulled = None;
    }

    /// Another member, in the life that said last how far it is, knows this destination set.
    pub(crate) fn on_version(&mut self, node: NodeId, version: u32) {
        if let Some(told) = self.others.get_mut(&node) {
            told.version = told.version.max(version);
        }
    }

    /// Whether a life of another member said that it knows this destination set, or a newer one.
    pub(crate) fn knows_set(&self, node: NodeId, epoch: Epoch, version: u32) -> bool {
        let told = self.others.get(&node);
        told.is_some_and(|told| told.epoch == epoch && told.version >= version)
    }

    /// How far a life of another member is, as far as it said.
    pub(crate) fn told_by(&self, node: NodeId, epoch: Epoch) -> u64 {
        let told = self.others.get(&node);
        told.filter(|told| told.epoch == epoch)
            .map_or(0, |told| told.upto)
    }

    /// Whether it is this life of another member that said last how far it is.
    pub(crate) fn speaks_in(&self, node: NodeId, epoch: Epoch) -> bool {
        self.others
            .get(&node)
            .is_some_and(|told| told.epoch == epoch)
    }

    /// Whether another member may have something of `first..=last`, as far as it said.
    pub(crate) fn may_have(&self, node: NodeId, first: u64, last: u64) -> bool {
        let overlaps = |span: &Span| span.first <= last && first <= span.last;
        self.others.get(&node).is_some_and(|told| {
            let has = told.upto >= first || told.beyond.iter().any(overlaps);
            has && told.gone_upto < last
        })
    }

    /// Keeps only what these members said.
    pub(crate) fn retain_told(&mut self, is_member: impl Fn(NodeId) -> bool) {
        self.others.retain(|&node, _| is_member(node));
        self.sent.retain(|&node, _| is_member(node));
    }

    /// Begins a round of digests at which this node is `upto` and has no message after `reach`; gives how far it was at the one before and what it had, and sets when the next is due.
    pub(crate) fn begin_round(&mut self, now: Time, (upto, reach): (u64, u64)) -> (u64, u64) {
        let (told, reached) = std::mem::replace(&mut self.told, (upto, reach));
        let aged = (told.min(upto), reached.min(reach));
        let doublings = self.rounds.saturating_sub(ROUNDS_AT_ONCE - 1).min(16);
        self.rounds = self.rounds.saturating_add(1);
        let period = (self.delay() * (1 << doublings)).min(DIGEST_PERIOD_MAX);
        self.digest_at = Some(now + period);
        aged
    }

    /// The others know: the next digest is one of those that come at a slow pace.
    pub(crate) fn lose_interest(&mut self, now: Time) {
        if (ROUNDS_AT_ONCE..ROUNDS_SLOW).contains(&self.rounds) {
            self.rounds = ROUNDS_SLOW;
            self.digest_at = self.digest_at.map(|at| at.max(now + DIGEST_PERIOD_MAX));
        }
    }

    /// Whether this version of the destination set goes with a batch that is about to be passed on: with the first one that refers to it.
    pub(crate) fn pass_on_set(&mut self, version: u32) -> bool {
        let goes = version > self.passed_on;
        self.passed_on = self.passed_on.max(version);
        goes
    }

    /// Whether digests have been given for a while without anything new.
    pub(crate) fn is_stuck(&self) -> bool {
        self.rounds > ROUNDS_AT_ONCE
    }

    /// Whether digests have been given for so long that whoever did not say that it is as far may not be able to ask.
    pub(crate) fn is_stuck_for_long(&self) -> bool {
        self.rounds > ROUNDS_LONG
    }

    /// The next `count` of `members` in turn.
    ///
    /// Whoever stands at place `own` among them begins with the `count` members from place `own * count` on.
    /// So everybody begins elsewhere, and what one tells the others, and each of them tells the next, has reached everybody after log n to the base of `count` steps: the graph of Imase and Itoh, "Design to Minimize Diameter on Building-Block Network" (1981).
    pub(crate) fn take_turns<T: Copy>(
        &mut self,
        own: usize,
        members: &[T],
        count: usize,
    ) -> Vec<T> {
        let len = members.len();
        if len <= count {
            return members.to_vec();
        }
        let start = self.turn.unwrap_or(own * count) % len;
        self.turn = Some((start + count) % len);
        let round = members.iter().cycle().skip(start);
        round.take(count).copied().collect()
    }

    /// Whether what follows `after` may be asked for; notes that it is.
    pub(crate) fn begin_pull(&mut self, now: Time, after: u64) -> bool {
        let waits = self
            .pulled
            .is_some_and(|(asked, at)| asked == after && now < at + PULL_PATIENCE);
        if !waits {
            self.pulled = Some((after, now));
        }
        !waits
    }

    /// What a member is to be sent that asks for messages, and from which one on; notes that it is sent.
    /// `None` if all of it is on its way.
    ///
    /// This node has everything up to `held`.
    pub(crate) fn take_wanted(
        &mut self,
        now: Time,
        (node, epoch): (NodeId, Epoch),
        pull: &Pull,
        held: u64,
    ) -> Option<(u64, Vec<RetainedBatch>)> {
        // What was sent before is on its way, in a session that loses nothing.
        let first = self.first_to_send(now, (node, epoch), pull.first);
        if first > pull.last {
            return None;
        }
        let mut bytes = 0;
        let wanted: Vec<RetainedBatch> = self
            .range(first, pull.last)
            .filter(|batch| batch.is_meant_for(node, epoch))
            .take_while(|batch| {
                let more = bytes < PULL_BYTES;
                bytes += batch.body.len();
                more
            })
            .cloned()
            .collect();
        // Of what this node has no more than a part of, the rest may yet be asked for.
        let sent = wanted.last().map(|batch| batch.last.min(held));
        self.on_sent(now, (node, epoch), sent);
        self.on_news(now);
        Some((first, wanted))
    }

    /// Of what a member asks for from `first` on, the first message that is not on its way to it.
    /// What was sent long ago may have made way for something else, and goes again.
    fn first_to_send(&self, now: Time, (node, epoch): (NodeId, Epoch), first: u64) -> u64 {
        match self.sent.get(&node) {
            Some(&(life, upto, at)) if life == epoch && now < at + SEND_PATIENCE => {
                first.max(upto + 1)
            }
            _ => first,
        }
    }

    /// A member is being sent what it asked for, up to this message.
    fn on_sent(&mut self, now: Time, (node, epoch): (NodeId, Epoch), upto: Option<u64>) {
        if let Some(upto) = upto {
            self.sent.insert(node, (epoch, upto, now));
        }
    }

    /// The batches that hold something of `first..=last`, in order.
    pub(crate) fn range(&self, first: u64, last: u64) -> impl Iterator<Item = &RetainedBatch> {
        // Batches do not overlap, so that at most one begins before and reaches that far.
        let before = self.batches.range(..=first).next_back();
        let start = before.map_or(first, |(&start, _)| start);
        let batches = self.batches.range(start..=last.max(start));
        let batches = batches.map(|(_, batch)| batch);
        batches.filter(move |batch| batch.last >= first)
    }

    /// How far everybody is who is meant and lives, as far as this node knows.
    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    /// How far everybody who is meant is.
    pub(crate) fn agreed(&self) -> u64 {
        self.agreed
    }

    /// Whether nothing is kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Bytes kept.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// When the next digest is due.
    pub(crate) fn digest_at(&self) -> Option<Time> {
        self.digest_at
    }
}

#[cfg(test)]
mod tests {
    use rolecast_membership::Tenure;

    use super::*;
    use crate::api::FlowId;
    use crate::mode::Mode;
    use crate::wire::{DestMember, FlowKey};

    fn node(number: u8) -> NodeId {
        NodeId::from_bytes([number; 32])
    }

    fn batch(first: u64, last: u64, bytes: usize) -> RetainedBatch {
        let key = FlowKey {
            origin: node(1),
            epoch: Epoch(1),
            flow: FlowId(1),
        };
        let set = DestSet {
            key,
            version: 1,
            role: "r".parse().expect("a role"),
            mode: Mode::default(),
            born: Epoch(1),
            members: Vec::new(),
            evicted: Vec::new(),
            large: None,
            sources: Vec::new(),
        };
        let known = KnownDestSet {
            set: set.into(),
            encoded: Bytes::new(),
        };
        RetainedBatch {
            first,
            last,
            version: 1,
            known,
            head: Bytes::new(),
            body: vec![0; bytes].into(),
        }
    }

    /// A destination set that takes this many bytes.
    fn set_of(bytes: usize) -> KnownDestSet {
        KnownDestSet {
            encoded: vec![0; bytes].into(),
            ..batch(1, 1, 1).known
        }
    }

    fn lasts(retained: &Retained, first: u64, last: u64) -> Vec<u64> {
        let range = retained.range(first, last);
        range.map(|batch| batch.last).collect()
    }

    #[test]
    fn what_the_floor_has_passed_goes_and_nothing_else() {
        let mut retained = Retained::default();
        for (first, last) in [(1, 3), (4, 4), (5, 9)] {
            retained.keep(Time::ZERO, batch(first, last, 10), 1_000);
        }
        assert_eq!(lasts(&retained, 1, 9), [3, 4, 9]);
        assert_eq!(lasts(&retained, 3, 4), [3, 4]);
        assert_eq!(lasts(&retained, 6, 6), [9]);
        retained.rise(2);
        assert_eq!(lasts(&retained, 1, 9), [3, 4, 9]);
        retained.rise(8);
        assert_eq!(lasts(&retained, 1, 9), [9]);
        retained.rise(3);
        retained.keep(Time::ZERO, batch(1, 3, 10), 1_000);
        assert_eq!(lasts(&retained, 1, 9), [9]);
        assert!(retained.digest_at().is_some());
        retained.rise(9);
        assert!(retained.is_empty() && retained.bytes() == 0);
        assert_eq!(retained.digest_at(), None);
    }

    #[test]
    fn that_somebody_is_dead_is_no_agreement() {
        let mut retained = Retained::default();
        retained.keep(Time::ZERO, batch(1, 3, 10), 1_000);
        retained.rise(3);
        assert!(retained.is_empty());
        assert_eq!((retained.floor(), retained.agreed()), (3, 0));
        retained.agree(5);
        assert_eq!((retained.floor(), retained.agreed()), (5, 5));
    }

    #[test]
    fn the_oldest_make_room() {
        let mut retained = Retained::default();
        let each = batch(1, 1, 10).len_bytes();
        for last in 1..=4 {
            retained.keep(Time::ZERO, batch(last, last, 10), 3 * each - 1);
        }
        assert_eq!(lasts(&retained, 1, 4), [3, 4]);
        assert_eq!(retained.bytes(), 2 * each);
    }

    #[test]
    fn a_destination_set_counts_once_for_all_batches_that_refer_to_it() {
        let mut retained = Retained::default();
        let [one, two] = [set_of(100), set_of(100)];
        let of_version = |first, version| RetainedBatch {
            version,
            known: if version == 1 { &one } else { &two }.clone(),
            ..batch(first, first, 10)
        };
        for (first, version) in [(1, 1), (2, 1), (3, 2)] {
            retained.keep(Time::ZERO, of_version(first, version), 10_000);
        }
        let set = of_version(1, 1).known.len_bytes();
        let each = of_version(1, 1).len_bytes();
        assert!(set >= 100 && each >= 10);
        assert_eq!(retained.bytes(), 3 * each + 2 * set);
        retained.rise(1);
        assert_eq!(retained.bytes(), 2 * each + 2 * set);
        retained.rise(2);
        assert_eq!(retained.bytes(), each + set);
        retained.shrink_to(0);
        assert_eq!(retained.bytes(), 0);
    }

    #[test]
    fn a_version_that_is_given_twice_counts_as_two_sets() {
        let [short, long] = [set_of(100), set_of(300)];
        let each = batch(1, 1, 10).len_bytes();
        for order in [[&short, &long, &short], [&long, &short, &long]] {
            let mut retained = Retained::default();
            for (first, known) in (1..).zip(order) {
                let known = known.clone();
                let batch = RetainedBatch {
                    known,
                    ..batch(first, first, 10)
                };
                retained.keep(Time::ZERO, batch, 10_000);
            }
            assert_eq!(retained.bytes(), 3 * each + 400);
            retained.rise(2);
            assert_eq!(retained.bytes(), each + order[2].len_bytes());
            retained.rise(3);
            assert_eq!(retained.bytes(), 0);
            assert!(retained.versions.is_empty());
        }
    }

    #[test]
    fn digests_come_twice_at_once_and_then_ever_more_seldom() {
        let mut retained = Retained::default();
        retained.keep(Time::ZERO, batch(1, 1, 10), 1_000);
        let mut waits = Vec::new();
        let mut aged = Vec::new();
        for _ in 0..11 {
            let at = retained.digest_at().expect("something is kept");
            aged.push(retained.begin_round(at, (1, 1)).0);
            let next = retained.digest_at().expect("something is kept");
            waits.push(next.since(at).as_millis());
        }
        assert_eq!(waits, [5, 5, 10, 20, 40, 80, 160, 320, 500, 500, 500]);
        assert_eq!(aged[..3], [0, 1, 1]);
        let at = retained.digest_at().expect("something is kept");
        retained.on_news(at);
        assert_eq!(retained.digest_at(), Some(at));
        retained.begin_round(at, (1, 1));
        assert_eq!(retained.digest_at(), Some(at + DIGEST_DELAY));
    }

    #[test]
    fn what_is_told_slowly_is_told_in_the_end_too() {
        let mut retained = Retained::new(Pace::Slow);
        retained.keep(Time::ZERO, batch(1, 1, 10), 1_000);
        let mut waits = Vec::new();
        for _ in 0..4 {
            let at = retained.digest_at().expect("something is kept");
            retained.begin_round(at, (1, 1));
            waits.push(at.as_micros() / 1_000);
        }
        assert_eq!(waits, [250, 500, 750, 1_250]);
    }

    #[test]
    fn who_loses_interest_has_told_twice_and_is_woken_by_news() {
        let mut retained = Retained::default();
        retained.keep(Time::ZERO, batch(1, 1, 10), 1_000);
        let mut now = retained.digest_at().expect("something is kept");
        for _ in 0..ROUNDS_AT_ONCE {
            retained.lose_interest(now);
            assert_eq!(retained.digest_at(), Some(now), "it has not told twice");
            retained.begin_round(now, (1, 1));
            now = retained.digest_at().expect("something is kept");
        }
        retained.lose_interest(now);
        let slow = now + DIGEST_PERIOD_MAX;
        assert_eq!(retained.digest_at(), Some(slow));
        retained.lose_interest(now + DIGEST_DELAY);
        assert_eq!(retained.digest_at(), Some(slow), "it is put off once");
        retained.begin_round(slow, (1, 1));
        assert_eq!(retained.digest_at(), Some(slow + DIGEST_PERIOD_MAX));
        retained.on_news(slow);
        assert_eq!(retained.digest_at(), Some(slow + DIGEST_DELAY));
    }

    #[test]
    fn a_destination_set_is_passed_on_with_the_first_batch_of_its_version() {
        let mut retained = Retained::default();
        let versions = [1, 1, 3, 2, 3];
        let goes = versions.map(|version| retained.pass_on_set(version));
        assert_eq!(goes, [true, false, true, false, false]);
    }

    #[test]
    fn what_was_sent_with_a_hole_before_it_is_sent_again_with_what_fills_the_hole() {
        let mut retained = Retained::default();
        let node = node(2);
        let known = |mut batch: RetainedBatch| {
            let mut set = (*batch.known.set).clone();
            set.members.push(DestMember {
                node,
                epoch: Epoch(1),
                tenure: Tenure(1),
                start: 1,
                replayed: 0,
                owed: Vec::new(),
            });
            batch.known.set = set.into();
            batch
        };
        let key = batch(1, 1, 1).known.set.key;
        let pull = Pull {
            key,
            first: 1,
            last: 2,
        };
        let sent = |retained: &mut Retained, held| {
            let wanted = retained.take_wanted(Time::ZERO, (node, Epoch(1)), &pull, held);
            let wanted = wanted.map_or(Vec::new(), |(_, wanted)| wanted);
            wanted.iter().map(|batch| batch.first).collect::<Vec<_>>()
        };
        retained.keep(Time::ZERO, known(batch(2, 2, 10)), 1_000);
        assert_eq!(sent(&mut retained, 0), [2]);
        retained.keep(Time::ZERO, known(batch(1, 1, 10)), 1_000);
        assert_eq!(sent(&mut retained, 2), [1, 2]);
        assert_eq!(sent(&mut retained, 2), [] as [u64; 0], "it is on its way");
    }

    #[test]
    fn everybody_gets_a_turn() {
        let mut retained = Retained::default();
        let members: Vec<u8> = (0..5).collect();
        assert_eq!(retained.take_turns(1, &members, 2), [2, 3]);
        assert_eq!(retained.take_turns(1, &members, 2), [4, 0]);
        assert_eq!(retained.take_turns(1, &members, 2), [1, 2]);
        assert_eq!(retained.take_turns(1, &members, 8), members);
    }

    #[test]
    fn what_one_tells_reaches_everybody_in_a_few_steps() {
        for (members, steps) in [(9, 1), (65, 2), (100, 3), (500, 3)] {
            let tells = |who: usize| {
                let others: Vec<usize> = (0..members).filter(|&other| other != who).collect();
                Retained::default().take_turns(who, &others, 8)
            };
            let mut told = vec![0];
            for _ in 0..steps {
                let next: Vec<usize> = told.iter().flat_map(|&who| tells(who)).collect();
                told.extend(next);
                told.sort_unstable();
                told.dedup();
            }
            assert_eq!(told.len(), members, "of {members} after {steps} steps");
        }
    }

    #[test]
    fn whoever_has_nothing_of_it_keeps_nobody_from_being_asked() {
        let mut retained = Retained::default();
        for other in [2, 3] {
            retained.on_told(node(other), Epoch(1), 9);
        }
        assert!(retained.may_have(node(2), 1, 4));
        assert!(retained.begin_pull(Time::ZERO, 1));
        assert!(!retained.begin_pull(Time::ZERO, 1), "it is on its way");
        retained.on_gone(node(2), 4);
        assert!(!retained.may_have(node(2), 1, 4) && retained.may_have(node(3), 1, 4));
        assert!(
            retained.may_have(node(2), 1, 5),
            "of the rest it said nothing"
        );
        assert!(retained.begin_pull(Time::ZERO, 1));
    }

    #[test]
    fn what_another_life_said_does_not_count() {
        let mut retained = Retained::default();
        retained.on_told(node(2), Epoch(2), 5);
        retained.on_told(node(2), Epoch(1), 9);
        assert_eq!(retained.told_by(node(2), Epoch(1)), 0);
        assert_eq!(retained.told_by(node(2), Epoch(2)), 5);
        retained.on_told(node(2), Epoch(3), 1);
        assert_eq!(retained.told_by(node(2), Epoch(3)), 1);
    }

    #[test]
    fn what_is_on_its_way_to_a_member_is_not_sent_again_at_once() {
        let mut retained = Retained::default();
        let life = (node(2), Epoch(1));
        assert_eq!(retained.first_to_send(Time::ZERO, life, 3), 3);
        retained.on_sent(Time::ZERO, life, Some(9));
        retained.on_sent(Time::ZERO, life, None);
        assert_eq!(retained.first_to_send(Time::ZERO, life, 3), 10);
        assert_eq!(retained.first_to_send(Time::ZERO, life, 12), 12);
        let later = Time::ZERO + SEND_PATIENCE;
        assert_eq!(retained.first_to_send(later, life, 3), 3);
        assert_eq!(
            retained.first_to_send(Time::ZERO, (node(2), Epoch(2)), 3),
            3
        );
    }

    #[test]
    fn who_has_nothing_of_it_is_not_waited_for() {
        let mut retained = Retained::default();
        retained.on_told(node(2), Epoch(1), 9);
        assert!(retained.may_have(node(2), 4, 6));
        retained.on_gone(node(2), 6);
        assert!(!retained.may_have(node(2), 4, 6));
        assert!(retained.may_have(node(2), 7, 9));
        assert!(!retained.may_have(node(2), 10, 12));
    }
}

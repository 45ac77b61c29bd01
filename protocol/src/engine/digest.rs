//! Spreading by reference: members say what they have, fetch what they miss, and keep what somebody may miss.
//!
//! The origin sends every payload to every member, and nobody passes it on unasked.
//! A few milliseconds after something new, each member that keeps it tells others how far it has the flow, twice at that distance and then less and less often, until everybody has it.
//! What a member had already at its digest before is not merely on its way: whoever misses that, and got nothing of the flow meanwhile, pulls it.
//! So no failure detector is in the loop: that the origin died is found out by nobody before its last messages are spread.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::RngExt;
use rolecast_membership::{Epoch, NodeId, Time};

use super::Engine;
use crate::canary::planted;
use crate::flow_in::FlowIn;
use crate::mode::Order;
use crate::retained::{DIGEST_DELAY, Retained, RetainedBatch};
use crate::session::{Cargo, LaneName, OutFrame};
use crate::spread::{self, Interest};
use crate::wire::{
    Control, DestEvicted, DestMember, FlowDigest, FlowKey, Gone, Pull, SEQ_MAX, Span, Why,
};

/// What is kept of a flow at most, in windows with the batch that may go beyond: one is what its origin may send above the floor, with as much again for the heads of many small batches.
const RETAINED_WINDOWS: usize = 2;
/// Of so many members that were left out of a flow one round tells them how far it is, at most.
const EVICTED_TOLD_MAX: usize = 8;
/// After so long, a flow of which nothing is known is asked for again.
const ASK_PATIENCE: Duration = Duration::from_millis(100);
/// How long nothing large may come from the origin of a large payload before this is fetched from another member.
const LARGE_PATIENCE: Duration = Duration::from_millis(500);
/// Of a large payload that is coming, so many others are told at one time how far it is here.
const ROUND_WHILE_COMING: usize = 1;
/// How long it is remembered that a large payload was heard of, if nothing of it comes.
const HEARD_MAX: Duration = Duration::from_secs(10);
/// Flows of which nothing is known that are asked for at one time.
const ASKED_MAX: usize = 1_024;

/// The flows of which digests are due.
#[derive(Debug, Default)]
pub(super) struct DueDigests {
    /// When something is due of which flow; an entry counts as long as the flow says the same.
    due: BTreeSet<(Time, FlowKey)>,
    /// Flows of which nothing was known, with when they were asked for.
    asked: BTreeMap<FlowKey, Time>,
    /// Large payloads of which nothing was known, with when they were heard of first.
    heard: BTreeMap<FlowKey, Time>,
}

impl DueDigests {
    /// When something is due.
    pub(super) fn at(&self) -> Option<Time> {
        self.due.first().map(|&(at, _)| at)
    }

    /// Forgets what was asked for too long ago.
    fn expire(&mut self, now: Time) {
        self.asked.retain(|_, at| now < *at + ASK_PATIENCE);
        self.heard.retain(|_, at| now < *at + HEARD_MAX);
    }

    /// Whether what is heard of a flow should have come by itself by this time.
    fn is_due(&mut self, now: Time, key: FlowKey) -> bool {
        if !key.flow.is_large() || self.heard.len() >= ASKED_MAX && !self.heard.contains_key(&key) {
            return true;
        }
        now >= *self.heard.entry(key).or_insert(now) + LARGE_PATIENCE
    }

    /// Whether a flow of which nothing is known may be asked for; notes that it is.
    fn may_ask(&mut self, now: Time, key: FlowKey) -> bool {
        let may = self.asked.len() < ASKED_MAX && !self.asked.contains_key(&key);
        if may {
            self.asked.insert(key, now);
        }
        may
    }
}

impl Engine {
    /// Keeps a batch that was received first.
    pub(super) fn retain(&mut self, now: Time, key: FlowKey, batch: RetainedBatch) {
        if planted!(NotRetained) {
            return;
        }
        let window = self.limits.flow_window_bytes + self.limits.batch_bytes_max();
        let bytes_max = RETAINED_WINDOWS * window;
        if let Some(flow) = self.flows_in.get_mut(&key) {
            flow.retained.keep(now, batch, bytes_max);
            self.digest_later(key);
        }
    }

    /// What is kept of a flow.
    fn retained(&self, key: FlowKey) -> Option<&Retained> {
        if key.origin != self.me.id {
            return self.flows_in.get(&key).map(|flow| &flow.retained);
        }
        let present = key.epoch == self.me.epoch;
        let own = self.flows_out.get(&key.flow).filter(|_| present);
        own.map(|flow| &flow.retained)
    }

    /// Takes over when the next digest of a flow is due.
    pub(super) fn digest_later(&mut self, key: FlowKey) {
        if let Some(at) = self.retained(key).and_then(Retained::digest_at) {
            self.digests.due.insert((at, key));
        }
    }

    /// A link came up: whoever is there may miss something, or know that nobody does.
    pub(super) fn digest_to(&mut self, now: Time, node: NodeId) {
        let concerned = |flow: &FlowIn| {
            let known = flow.newest_dest_set();
            flow.key.origin == node || known.is_some_and(|k| k.set.member(node).is_some())
        };
        let flows = self.flows_in.values_mut();
        for flow in flows.filter(|flow| !flow.retained.is_empty() && concerned(flow)) {
            flow.retained.on_news(now);
            let at = flow.retained.digest_at();
            self.digests.due.extend(at.map(|at| (at, flow.key)));
        }
        self.own_digests_to(now, node);
    }

    /// Gives the digests that are due, one frame to each peer.
    pub(super) fn send_due_digests(&mut self, now: Time) {
        let mut digests = Vec::new();
        while let Some(&(at, key)) = self.digests.due.first()
            && at <= now
        {
            self.digests.due.pop_first();
            self.lift_floor(key);
            if self.retained(key).and_then(Retained::digest_at) == Some(at) {
                match key.origin == self.me.id {
                    true => self.put_own_digests_of(now, key, &mut digests),
                    false => self.put_digests_of(now, key, &mut digests),
                }
                self.digest_later(key);
            }
        }
        if planted!(DigestsSilent) {
            return;
        }
        digests.sort_by_key(|&(node, _)| node);
        for of_one in digests.chunk_by(|a, b| a.0 == b.0) {
            let frame = of_one.iter().map(|(_, digest)| digest.clone()).collect();
            self.send_control_to(of_one[0].0, &Control::Digest(frame));
        }
    }

    /// One round of digests of a flow.
    fn put_digests_of(&mut self, now: Time, key: FlowKey, digests: &mut Vec<(NodeId, FlowDigest)>) {
        let others = self.members_beside(key);
        let reachable: Vec<(NodeId, Epoch, u64)> = others
            .filter(|member| self.peers.is_linked(member.node))
            .filter(|member| !self.is_over(member.node, member.epoch))
            .map(|member| (member.node, member.epoch, member.start))
            .collect();
        let evicted = self.flows_in.get(&key).map(FlowIn::left_out);
        let evicted: Vec<DestEvicted> = evicted
            .into_iter()
            .flatten()
            .filter(|evicted| self.peers.is_linked(evicted.node) && evicted.node != self.me.id)
            .take(EVICTED_TOLD_MAX)
            .copied()
            .collect();
        let origin = self.peers.is_linked(key.origin).then_some(key.origin);
        let own = reachable.partition_point(|&(node, ..)| node < self.me.id);
        // Nobody asks for what is coming, but for whom it comes is not known here.
        let few = self.is_coming(now, key).then_some(ROUND_WHILE_COMING);
        let flow = self.flows_in.get_mut(&key).expect("it is due");
        let upto = flow.held();
        let count = few.unwrap_or(spread::of(flow.mode).on_round());
        let targets = flow.retained.take_turns(own, &reachable, count);
        self.say_who_is_meant(key, &targets);
        let flow = self.flows_in.get_mut(&key).expect("it is due");
        let targets = targets.into_iter().map(|(node, _, start)| (node, start));
        let mut targets: Vec<(NodeId, u64)> = targets.collect();
        // As long as batches come, they say how far everybody is; after them only the origin can.
        let asks = flow.retained.is_stuck() || !flow.is_wanted();
        targets.extend(origin.filter(|_| asks).map(|o| (o, 1)));
        let mut beyond = flow.beyond();
        let reach = beyond.last().map_or(upto, |span| span.last);
        let (aged, aged_reach) = flow.retained.begin_round(now, (upto, reach));
        beyond.retain(|span| span.last <= aged_reach);
        let digest = FlowDigest {
            key,
            version: flow.newest_version(),
            upto,
            aged,
            beyond,
            floor: flow.retained.agreed(),
            claim: flow.claim(),
            heard: match flow.retained.is_stuck() {
                true => flow.hearsay(),
                false => Vec::new(),
            },
        };
        let targets = targets.into_iter();
        digests.extend(targets.map(|(node, start)| (node, digest.clone().since(start))));
        // Whoever is left out may miss yet what was sent before.
        digests.extend(evicted.into_iter().map(|evicted| {
            let digest = digest.clone().since(evicted.start);
            let upto = digest.upto;
            let digest = digest.upto(evicted.upto);
            // What comes later it may know of, though it cannot have it from here.
            let upto = evicted.lags.map_or(digest.upto, |_| upto);
            (evicted.node, FlowDigest { upto, ..digest })
        }));
    }

    /// Tells those of a dead origin's flow who have long been behind, and perhaps cannot ask, to whom the newest messages go.
    ///
    /// As long as the origin lives it tells them itself.
    fn say_who_is_meant(&mut self, key: FlowKey, targets: &[(NodeId, Epoch, u64)]) {
        let flow = &self.flows_in[&key];
        let known = flow.newest_dest_set();
        let Some(known) = known.filter(|_| flow.dead_since.is_some()) else {
            return;
        };
        let is_behind = |&&(node, epoch, start): &&(NodeId, Epoch, u64)| {
            let told = flow.retained.told_by(node, epoch);
            let knows = flow.retained.knows_set(node, epoch, known.set.version);
            start <= flow.held() && told < flow.held() && !knows
        };
        let behind = targets.iter().filter(is_behind);
        let behind = behind.filter(|_| flow.retained.is_stuck_for_long());
        let behind: Vec<(NodeId, Epoch)> = behind.map(|&(node, epoch, _)| (node, epoch)).collect();
        let known = known.clone();
        for to in behind {
            self.announce(to, key, known.set.version, &known.encoded);
        }
    }

    /// The members of a flow other than this node and the origin.
    pub(super) fn members_beside(&self, key: FlowKey) -> impl Iterator<Item = &DestMember> + '_ {
        let known = self.flows_in.get(&key).and_then(FlowIn::newest_dest_set);
        let members = known.map_or(&[][..], |known| &known.set.members).iter();
        members.filter(move |member| member.node != self.me.id && member.node != key.origin)
    }

    /// Whether a life of another node is known to be over.
    pub(super) fn is_over(&self, node: NodeId, epoch: Epoch) -> bool {
        let member = self.membership.member(node);
        let ended = self.peers.get(node).and_then(|peer| peer.dead_epoch);
        member.is_some_and(|m| m.record.identity.epoch > epoch) || ended >= Some(epoch)
    }

    /// Raises a flow's floor to what every member said that it has.
    ///
    /// Whoever is dead needs nothing; but that is this node's opinion, which others must not be told as if it were known.
    fn lift_floor(&mut self, key: FlowKey) {
        let Some(flow) = self.flows_in.get(&key) else {
            return;
        };
        let one_high = u64::from(planted!(FloorOneHigh));
        let mut floor = self.floor_here(flow, flow.watermark());
        let mut agreed = floor;
        for member in self.members_beside(key) {
            let told = flow.known_to_have(member.node, member.epoch);
            let told = told.max(member.start - 1);
            let counts = told > 0 || !planted!(FloorOfSome);
            if told < agreed && counts {
                agreed = told;
            }
            if told < floor && counts && !self.is_over(member.node, member.epoch) {
                floor = told;
            }
            // What is agreed is never above what is not.
            if floor + one_high <= flow.retained.agreed() {
                return;
            }
        }
        let [floor, agreed] = [floor, agreed].map(|floor| flow.watermark().min(floor + one_high));
        if let Some(flow) = self.flows_in.get_mut(&key) {
            flow.retained.agree(agreed);
            flow.retained.rise(floor);
        }
    }

    /// How much of a floor that somebody gives counts here.
    /// Whoever is left out needs what was sent before that, though its origin does not wait for it.
    fn floor_here(&self, flow: &FlowIn, floor: u64) -> u64 {
        let mut floor = floor.min(flow.watermark());
        // Of a large payload it needs nothing more.
        for evicted in flow.left_out().filter(|_| flow.large.is_none()) {
            let told = flow.known_to_have(evicted.node, evicted.epoch);
            let told = told.max(evicted.start - 1).max(flow.retained.floor());
            let behind = told < floor.min(evicted.upto);
            if behind && evicted.node != self.me.id && !self.is_over(evicted.node, evicted.epoch) {
                floor = told;
            }
        }
        floor
    }

    /// Everybody who is meant has a flow up to here, as somebody says who knows this version of the destination set.
    pub(super) fn on_floor(&mut self, key: FlowKey, version: u32, floor: u64) {
        let flow = self.flows_in.get(&key);
        // In a later version, others may be left out.
        let Some(flow) = flow.filter(|flow| version <= flow.newest_version()) else {
            return;
        };
        let floor = self.floor_here(flow, floor);
        if let Some(flow) = self.flows_in.get_mut(&key) {
            flow.retained.agree(floor);
        }
    }

    /// A peer says how far it has flows.
    pub(super) fn on_digest(
        &mut self,
        now: Time,
        node: NodeId,
        digests: &[FlowDigest],
    ) -> Result<(), &'static str> {
        let Some(epoch) = self.life_of_link(node) else {
            return Ok(());
        };
        self.digests.expire(now);
        let mut answers = Vec::new();
        for digest in digests {
            if digest.is_impossible() {
                return Err("a digest of impossible messages");
            }
            if digest.key.origin == self.me.id {
                if self.is_beyond_what_was_sent(digest) {
                    return Err("a digest of more than was sent");
                }
                self.on_own_claim(now, (node, epoch), digest);
                answers.extend(self.answer_as_origin(digest));
            } else {
                answers.extend(self.compare_digest(now, (node, epoch), digest));
                self.follow_safety(now, digest.key);
            }
        }
        if !answers.is_empty() {
            self.send_control_to(node, &Control::Digest(answers));
        }
        Ok(())
    }

    /// Whether a member says that it has messages which this life of this node did not send.
    fn is_beyond_what_was_sent(&self, digest: &FlowDigest) -> bool {
        let flow = digest.key.flow;
        let said = digest.reach().max(digest.floor);
        let sent = match self.flows_out.get(&flow) {
            Some(flow) => flow.next() - 1,
            // Of a large payload that is over, nothing is known any more.
            None if flow.is_large() && flow.0 <= self.last_large_flow() => u64::MAX,
            None => 0,
        };
        let present = digest.key.epoch == self.me.epoch;
        present && said > sent
    }

    /// The life in which a peer speaks over its present link.
    pub(super) fn life_of_link(&self, node: NodeId) -> Option<Epoch> {
        self.peers.get(node)?.link.as_ref()?.hello
    }

    /// Learns how far another one has a flow, and asks it for what is missing here; gives what that one is to know.
    fn compare_digest(
        &mut self,
        now: Time,
        (node, epoch): (NodeId, Epoch),
        digest: &FlowDigest,
    ) -> Option<FlowDigest> {
        let Some(flow) = self.flows_in.get_mut(&digest.key) else {
            self.pull_unknown(now, node, digest);
            return None;
        };
        // Of what is owed from a former life of the origin, nothing is known yet but the numbers.
        if flow.newest_dest_set().is_some() && !spread::keeps(flow.mode) {
            return None;
        }
        // It may be a member of a later destination set than this node knows.
        flow.retained.on_told(node, epoch, digest.upto);
        flow.retained.on_version(node, digest.version);
        if digest.aged > 0 || !digest.beyond.is_empty() {
            // An answer says nothing of that.
            flow.retained.on_beyond(node, epoch, &digest.beyond);
        }
        if let (Some(safety), Some(claim)) = (&mut flow.safety, digest.claim) {
            safety.on_said(now, (node, epoch), digest.upto, claim);
            safety.on_heard(&digest.heard);
        }
        self.on_floor(digest.key, digest.version, digest.floor);
        let is_coming = self.is_coming(now, digest.key);
        let flow = self.flows_in.get_mut(&digest.key)?;
        if node == digest.key.origin && digest.aged == 0 {
            return None;
        }
        if node == digest.key.origin && !spread::origin_keeps(flow.mode) {
            // It asks because it waits for what this member knows.
            return Some(flow.answer());
        }
        // What nobody has but the origin is no loss to anybody if that dies, as long as no member has heard of it.
        let from_origin = node == digest.key.origin;
        if !from_origin && flow.hear_upto(now, digest.version, digest.reach()) {
            flow.hear_of(now);
        }
        let first = flow.held() + 1;
        let aged_reach = digest.beyond.last().map_or(0, |span| span.last);
        let last = flow.missing_upto(digest.aged.max(aged_reach));
        let missed = flow.missing_for(now).unwrap_or_default();
        let due = from_origin || missed >= patience(digest.key) && !is_coming;
        // Whoever said that it has nothing of it is not asked again, so that another one is.
        let may_have = flow.retained.may_have(node, first, last) && flow.is_wanted();
        if first <= last && due && may_have && flow.retained.begin_pull(now, first) {
            self.pull(node, digest.key, first, last);
        }
        self.weigh_interest(now, digest);
        self.say_that_it_lags((node, epoch), digest);
        let flow = self.flows_in.get(&digest.key)?;
        if from_origin {
            return flow.safety.is_some().then(|| flow.answer());
        }
        let floor = flow.retained.agreed();
        // Whoever keeps nothing gives no digests of its own, and is waited for; answers, which have no age, are not answered.
        let upto = flow.held();
        let waited_for = flow.retained.is_empty() && digest.floor < upto;
        // Its answer says to whom the messages go of which this node knows no more than that.
        let waits = flow.dead_since.is_some() && flow.is_unaddressed();
        if digest.floor >= floor && (digest.aged == 0 || !waited_for && !waits) {
            return None;
        }
        let known = flow.newest_dest_set();
        let start = known.and_then(|known| Some(known.set.member(node)?.start));
        let mut answer = flow.answer();
        if digest.heard.is_empty() {
            // Only whoever passes on what it heard does not hear what it needs.
            answer.heard.clear();
        }
        Some(answer.since(start.unwrap_or(u64::MAX)))
    }

    /// Tells one that lags, and perhaps has not heard so from the origin, which messages exist that nobody else has for it.
    fn say_that_it_lags(&mut self, to: (NodeId, Epoch), digest: &FlowDigest) {
        let flow = self.flows_in.get(&digest.key);
        let known = flow.and_then(|flow| flow.newest_dest_set());
        let Some(known) = known.filter(|known| digest.version < known.set.version) else {
            return;
        };
        let evicted = known.set.evicted(to.0);
        if evicted.is_some_and(|e| e.epoch == to.1 && e.lags.is_some()) {
            let known = known.clone();
            self.announce(to, digest.key, known.set.version, &known.encoded);
        }
    }

    /// Asks for a flow of which this node has not heard, because its origin did not get so far.
    fn pull_unknown(&mut self, now: Time, node: NodeId, digest: &FlowDigest) {
        let key = digest.key;
        self.hear_of_unknown(now, key);
        let over = self.forgotten.contains(key) || self.finished.contains(key);
        // What was announced comes up when its life is known.
        let parked = self.words.parked.is_announced(key);
        if digest.aged == 0 || over || parked || !self.digests.is_due(now, key) {
            return;
        }
        if self.is_coming(now, key) {
            return;
        }
        if self.digests.may_ask(now, key) {
            self.pull(node, key, 1, digest.aged);
        }
    }

    /// Whether a large payload comes from its origin, though others may have to come before it.
    ///
    /// An origin sends what is large to all members, to each in turn and over one lane that loses nothing.
    /// So as long as something comes over that, the rest does, however long it takes; and if nothing does, nobody has to know why.
    fn is_coming(&self, now: Time, key: FlowKey) -> bool {
        let peer = self.peers.get(key.origin);
        let session = peer.and_then(|peer| peer.session.as_ref());
        let session = session.filter(|session| session.peer_epoch == key.epoch);
        let at = session.and_then(|session| session.lane(LaneName::Bulk).received_at());
        let lately = at.is_some_and(|at| now < at + LARGE_PATIENCE);
        key.flow.is_large() && lately && self.peers.is_linked(key.origin)
    }

    /// Another one may have everything that this member has, so that it may lose interest in telling.
    fn weigh_interest(&mut self, now: Time, digest: &FlowDigest) {
        let Some(flow) = self.flows_in.get_mut(&digest.key) else {
            return;
        };
        if let Interest::LostOnceIn(times) = spread::of(flow.mode).on_equal_digest()
            && digest.upto >= flow.held()
            && self.rng.random_ratio(1, times)
        {
            flow.retained.lose_interest(now);
            self.digest_later(digest.key);
        }
    }

    /// Asks whoever passed a batch on for the destination set to which it refers, and for the batch again with whatever is missing before it.
    pub(super) fn ask_for_set(&mut self, now: Time, node: NodeId, key: FlowKey, last: u64) {
        let own = key.origin == self.me.id;
        let over = self.forgotten.contains(key) || self.finished.contains(key);
        if own || over || key.flow.is_large() {
            return;
        }
        self.digests.expire(now);
        let first = self.flows_in.get(&key).map_or(1, |flow| flow.held() + 1);
        if self.digests.may_ask(now, key) {
            self.pull(node, key, first, last);
        }
    }

    fn pull(&mut self, node: NodeId, key: FlowKey, first: u64, last: u64) {
        let first = first + u64::from(planted!(PullOneLate));
        if planted!(PullForgotten) || first > last {
            return;
        }
        let pull = Pull { key, first, last };
        self.send_control_to(node, &Control::Pull(pull));
    }

    /// A peer asks for what it misses.
    pub(super) fn on_pull(
        &mut self,
        now: Time,
        node: NodeId,
        pull: &Pull,
    ) -> Result<(), &'static str> {
        if pull.first == 0 || pull.first > pull.last || pull.last > SEQ_MAX {
            return Err("a pull of impossible messages");
        }
        let Some(epoch) = self.life_of_link(node) else {
            return Ok(());
        };
        if pull.key.origin == self.me.id {
            self.answer_own_pull(now, (node, epoch), pull);
            return Ok(());
        }
        let may_answer = self.may_answer_pull(node, pull.key);
        let Some(flow) = self.flows_in.get_mut(&pull.key) else {
            return Ok(());
        };
        let known = flow.newest_dest_set();
        // Whoever waits for what it is not meant by has to hear that.
        let causal = flow.mode.order == Order::Causal;
        let meant = known.is_some_and(|known| {
            known.set.member(node).is_some() || known.set.evicted(node).is_some()
        });
        if !causal && !meant {
            return Ok(());
        }
        // To know that, it has to have been meant itself by all that is asked for, and to have got it.
        let knows_all = flow.claim().is_some_and(|claim| claim.from <= pull.first);
        let held = flow.held();
        let known = known.filter(|_| knows_all).map(|known| known.set.clone());
        if !may_answer || planted!(PullUnanswered) {
            return Ok(());
        }
        let Some((first, wanted)) = flow.retained.take_wanted(now, (node, epoch), pull, held)
        else {
            return Ok(());
        };
        flow.hear_of(now);
        self.digest_later(pull.key);
        // What it has not got yet itself, it may have when it is asked again.
        let last = wanted.first().map_or(pull.last, |batch| batch.first - 1);
        let pull = Pull { last, ..*pull };
        if first == pull.first && first <= last && last <= held {
            let why = known.map_or(Why::NotKept, |set| {
                set.why_not((node, epoch), (first, last))
            });
            self.send_control_to(node, &Control::Gone(Gone { pull, why }));
        }
        for batch in wanted {
            self.send_retained((node, epoch), pull.key, batch);
        }
        Ok(())
    }

    /// Whether there is room on the way to a peer for the answer to a pull.
    /// However often it asks: no more is put on its way than others may have on theirs.
    pub(super) fn may_answer_pull(&self, node: NodeId, key: FlowKey) -> bool {
        let session = self.peers.get(node).and_then(|peer| peer.session.as_ref());
        let (bytes_max, lane) = (
            self.limits.session_bytes_max / 2,
            LaneName::of_flow(key.flow),
        );
        session.is_none_or(|session| session.lane(lane).bytes() < bytes_max)
    }

    /// A peer that was asked for messages has none of them.
    pub(super) fn on_gone(&mut self, now: Time, node: NodeId, gone: &Gone) {
        let pull = &gone.pull;
        if let Some(flow) = self.flows_in.get_mut(&pull.key) {
            flow.retained.on_gone(node, pull.last);
        }
        // Of a member that went and came back, others may not know that it was one before; only the origin does.
        let flow = self.flows_in.get(&pull.key);
        let member = flow.is_some_and(|flow| flow.inbox().is_some());
        let nothing_meant = match gone.why {
            Why::NotKept => false,
            Why::NotMeant => !member || node == pull.key.origin,
            Why::LeftOut => true,
        };
        if nothing_meant {
            let (first, last) = (pull.first, pull.last.min(SEQ_MAX));
            self.on_stranger(now, pull.key, Span { first, last });
        }
    }

    pub(super) fn send_retained(
        &mut self,
        to: (NodeId, Epoch),
        key: FlowKey,
        batch: RetainedBatch,
    ) {
        self.announce(to, key, batch.version, &batch.known.encoded);
        let cargo = Cargo::Relay {
            key,
            upto: batch.last,
            awaited: false,
        };
        let (head, body) = (batch.head, batch.body);
        let frame = OutFrame { head, body, cargo };
        let to = (to.0, to.1, LaneName::of_flow(key.flow));
        let pushed = self.peers.push(self.me.epoch, to, frame, &mut self.out);
        if pushed.is_some() {
            self.relayed += batch.last + 1 - batch.first;
        }
    }
}

/// How long what another member has may yet come from the origin, which sends it too.
///
/// Large payloads are what makes links slow, and what is fetched of one costs most; see also [`Engine::is_coming`].
fn patience(key: FlowKey) -> Duration {
    match key.flow.is_large() {
        true => LARGE_PATIENCE,
        false => DIGEST_DELAY,
    }
}

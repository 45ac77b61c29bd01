//! Holding messages back until enough members hold them.
//!
//! A flow that is k-safe delivers a message only when k members of the message's destination set are known to hold it, the origin among them if it is a member.
//! Every member tells the others how far it holds the flow, and how far it knows it to be *safe*, that is held by k of them; both are cumulative, and to know the second from anybody is as good as to count.
//!
//! That is uniform reliable broadcast by counting acknowledgements (Cachin, Guerraoui, Rodrigues: "Introduction to Reliable and Secure Distributed Programming", 2011, algorithms 3.4 and 3.5), with k in place of a majority.
//! Where k members are left after any k − 1 crashes, which takes a destination set of 2k − 1, all survivors come to count k holders, as there with a majority.
//! In a smaller set the survivors could be too few to ever count so many, and could not tell whether one that crashed had counted them.
//! So there a member delivers only when k members know that the message is safe, of which one survives and says so; or when everybody who is alive knows.
//!
//! What cannot become safe any more, because fewer than k members hold it or are alive to get it, is given up after a patience, with a `Gap`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rolecast_membership::{Epoch, NodeId, Time};

use crate::canary::planted;
use crate::wire::{Claim, DestMember, DestSet, FlowDigest, FlowKey, HEARD_MAX, Heard};

/// What is known of who holds the messages of one flow, at a member or at the origin.
#[derive(Debug)]
pub(crate) struct Safety {
    /// How many members have to hold a message.
    k: usize,
    me: NodeId,
    origin: NodeId,
    /// What is said of messages before this one does not count.
    from: u64,
    /// Everything up to here is held here.
    held: u64,
    /// Everything up to here is known to be held by k members.
    safe: u64,
    /// Everything up to here may be delivered.
    deliverable: u64,
    /// What is held and not done with, in order and without holes.
    pending: VecDeque<Pending>,
    said: BTreeMap<NodeId, Said>,
    /// Whether anything was ever sent to so few that they wait for each other's word.
    to_few: bool,
    /// What was last told to others: how far this node is, and how far the flow is safe.
    told: (u64, u64),
    told_at: Option<Time>,
}

/// A batch that is held.
#[derive(Debug)]
struct Pending {
    first: u64,
    last: u64,
    set: Arc<DestSet>,
    /// Since when it cannot become safe.
    hopeless_since: Option<Time>,
}

/// What another node said last.
#[derive(Clone, Copy, Debug)]
struct Said {
    epoch: Epoch,
    held: u64,
    claim: Claim,
    at: Time,
}

/// How long what is told of a flow waits for company, if something was told just before.
pub(crate) const TELL_PERIOD: Duration = Duration::from_millis(1);

impl Said {
    fn holds(&self, pending: &Pending) -> bool {
        let counts = self.claim.from <= pending.first || planted!(HolderOfAnotherLife);
        counts && pending.last <= self.held
    }

    fn knows(&self, pending: &Pending) -> bool {
        self.claim.from <= pending.first && pending.last <= self.claim.safe
    }
}

impl Safety {
    /// Of a flow of which nothing before message `from` is meant for this node.
    pub(crate) fn new(k_safe: u8, me: NodeId, origin: NodeId, from: u64) -> Self {
        Safety {
            k: k_safe.into(),
            me,
            origin,
            from,
            held: from - 1,
            safe: from - 1,
            deliverable: from - 1,
            pending: VecDeque::new(),
            said: BTreeMap::new(),
            to_few: false,
            told: (0, 0),
            told_at: None,
        }
    }

    /// Everything up to here is held here.
    pub(crate) fn held(&self) -> u64 {
        self.held
    }

    /// Everything up to here may be delivered.
    pub(crate) fn deliverable(&self) -> u64 {
        self.deliverable
    }

    /// What this node, which holds the flow up to `upto`, says of it to others.
    pub(crate) fn digest(
        &self,
        (key, version): (FlowKey, u32),
        upto: u64,
        floor: u64,
    ) -> FlowDigest {
        FlowDigest {
            key,
            version,
            upto,
            aged: 0,
            beyond: Vec::new(),
            floor,
            claim: Some(self.claim()),
            heard: Vec::new(),
        }
    }

    /// Whether nothing waits.
    pub(crate) fn is_done(&self) -> bool {
        self.pending.is_empty()
    }

    /// What this node claims of the flow.
    pub(crate) fn claim(&self) -> Claim {
        Claim {
            from: self.from,
            safe: self.safe,
        }
    }

    /// A batch that follows what is held is held too.
    pub(crate) fn hold(&mut self, first: u64, last: u64, set: Arc<DestSet>) {
        self.held = last;
        self.to_few |= self.is_few(&set);
        self.pending.push_back(Pending {
            first,
            last,
            set,
            hopeless_since: None,
        });
    }

    /// Nothing up to here matters any more: it was delivered.
    pub(crate) fn done(&mut self, upto: u64) {
        while self.pending.front().is_some_and(|p| p.last <= upto) {
            self.pending.pop_front();
        }
    }

    /// Everything up to here was given up: nothing that is said of it counts.
    pub(crate) fn give_up(&mut self, upto: u64) {
        self.done(upto);
        self.from = self.from.max(upto + 1);
        self.held = self.held.max(upto);
        self.safe = self.safe.max(upto);
        self.deliverable = self.deliverable.max(upto);
    }

    /// Nothing is meant for this node of what it does not hold before message `from`; what it said of what it held stays true.
    pub(crate) fn pass_over(&mut self, from: u64) {
        self.done(from - 1);
        self.held = self.held.max(from - 1);
        self.safe = self.safe.max(from - 1);
        self.deliverable = self.deliverable.max(from - 1);
    }

    /// Starts over with message `from`, in another holding of the role or another life.
    pub(crate) fn restart(&mut self, from: u64) {
        self.give_up(from - 1);
        self.pending.clear();
        self.held = from - 1;
        self.safe = from - 1;
        self.deliverable = from - 1;
    }

    /// Another node said how far it holds the flow, and what it knows.
    pub(crate) fn on_said(
        &mut self,
        now: Time,
        (node, epoch): (NodeId, Epoch),
        held: u64,
        claim: Claim,
    ) {
        let said = Said {
            epoch,
            held,
            claim,
            at: now,
        };
        let known = self.said.entry(node).or_insert(said);
        if known.epoch < epoch {
            *known = said;
        } else if known.epoch == epoch {
            known.held = known.held.max(held);
            known.claim.from = known.claim.from.max(claim.from);
            known.claim.safe = known.claim.safe.max(claim.safe);
            known.at = now;
        }
    }

    /// Another node passes on what others said.
    pub(crate) fn on_heard(&mut self, heard: &[Heard]) {
        for &Heard {
            node,
            epoch,
            held,
            claim,
        } in heard
        {
            let meant = |p: &Pending| p.set.member(node).is_some_and(|m| m.epoch == epoch);
            if node != self.me && self.ends().any(meant) {
                let at = self.said.get(&node).map_or(Time::ZERO, |said| said.at);
                self.on_said(at, (node, epoch), held, claim);
            }
        }
    }

    /// What others said, to be passed on to those who cannot hear them.
    ///
    /// Where it is enough to know that a message is safe, whoever says that it is need not say who holds it.
    pub(crate) fn hearsay(&self) -> Vec<Heard> {
        let own_word_is_enough = |said: &Said| {
            let same_start = said.claim.from == self.from;
            !self.to_few && same_start && said.held <= self.safe
        };
        let said = self
            .said
            .iter()
            .filter(|(_, said)| !own_word_is_enough(said));
        let said = said.map(|(&node, said)| Heard {
            node,
            epoch: said.epoch,
            held: said.held,
            claim: said.claim,
        });
        said.take(HEARD_MAX).collect()
    }

    /// The first and the last batch that is pending.
    fn ends(&self) -> impl Iterator<Item = &Pending> {
        [self.pending.front(), self.pending.back()]
            .into_iter()
            .flatten()
    }

    /// How far this life of a node knows the flow to be safe, as far as it said.
    pub(crate) fn safe_by(&self, node: NodeId, epoch: Epoch) -> u64 {
        let said = self.said.get(&node).filter(|said| said.epoch == epoch);
        said.map_or(0, |said| said.claim.safe)
    }

    /// Keeps only what these nodes, and those who are meant by what is pending, said.
    pub(crate) fn retain_said(&mut self, is_member: impl Fn(NodeId) -> bool) {
        let mut said = std::mem::take(&mut self.said);
        said.retain(|&node, _| {
            let meant = self.ends().any(|p| p.set.member(node).is_some());
            node == self.origin || meant || is_member(node)
        });
        self.said = said;
    }

    /// Counts again; says whether more may be delivered than before.
    pub(crate) fn advance(&mut self, is_alive: impl Fn(NodeId, Epoch) -> bool) -> bool {
        let before = self.deliverable;
        let mut next = self.pending.partition_point(|p| p.last <= self.safe);
        while let Some(pending) = self.pending.get(next)
            && self.is_safe(pending)
        {
            self.safe = pending.last;
            next += 1;
        }
        let mut next = self.pending.partition_point(|p| p.last <= self.deliverable);
        while let Some(pending) = self.pending.get(next)
            && pending.last <= self.safe
            && self.is_deliverable(pending, &is_alive)
        {
            self.deliverable = pending.last;
            next += 1;
        }
        self.deliverable > before
    }

    fn is_safe(&self, pending: &Pending) -> bool {
        let holders = pending.set.members.iter();
        let holders = holders.filter(|member| self.holds(member, pending)).count();
        holders + usize::from(planted!(SafeOneShort)) >= self.k
            || self.said.iter().any(|(&node, said)| {
                // Of what was sent while it was left out, a node says nothing.
                let member = pending.set.member(node);
                let meant = member.is_some_and(|member| member.epoch == said.epoch);
                (meant || node == self.origin) && said.knows(pending)
            })
    }

    /// Whether too few are left after k − 1 crashes to count k holders again.
    fn is_few(&self, set: &DestSet) -> bool {
        set.members.len() + 1 < 2 * self.k
    }

    fn is_deliverable(&self, pending: &Pending, is_alive: impl Fn(NodeId, Epoch) -> bool) -> bool {
        let members = &pending.set.members;
        if !self.is_few(&pending.set) || planted!(SafetyUnknown) {
            return true;
        }
        let knows = |member: &&DestMember| {
            let said = self.said_by(member);
            member.node == self.me || said.is_some_and(|said| said.knows(pending))
        };
        let waited_for =
            |member: &DestMember| !knows(&member) && is_alive(member.node, member.epoch);
        members.iter().filter(knows).count() >= self.k || !members.iter().any(waited_for)
    }

    /// What a member said in the life that is meant.
    fn said_by(&self, member: &DestMember) -> Option<&Said> {
        let said = self.said.get(&member.node);
        said.filter(|said| said.epoch == member.epoch || planted!(HolderOfAnotherLife))
    }

    fn holds(&self, member: &DestMember, pending: &Pending) -> bool {
        // What is pending is held here, and by whoever sent it.
        [self.me, self.origin].contains(&member.node)
            || self.said_by(member).is_some_and(|said| said.holds(pending))
    }

    /// Looks whether the first batch that is held here and not safe can still become so; gives its last message when that has been hopeless for so long.
    ///
    /// Whoever is alive has to have said meanwhile that it does not know better, or `forget_after` has to be over.
    pub(crate) fn hopeless(
        &mut self,
        now: Time,
        (gap_after, forget_after): (Duration, Duration),
        is_alive: impl Fn(NodeId, Epoch) -> bool,
    ) -> Option<u64> {
        let mut queue = std::mem::take(&mut self.pending);
        for pending in &mut queue {
            let hopeless = match pending.last > self.safe {
                true => !self.may_become_safe(pending, &is_alive),
                // Whoever waits to know that it is safe waits in vain.
                false => pending.last > self.deliverable && self.is_given_up(pending, &is_alive),
            };
            let since = hopeless.then_some(pending.hopeless_since.unwrap_or(now));
            pending.hopeless_since = since;
        }
        self.pending = queue;
        // What is safe comes first, whatever it waits for.
        let pending = self.pending.front()?;
        let (since, last) = (pending.hopeless_since?, pending.last);
        let silent = |member: &DestMember| {
            let said = self.said_by(member);
            member.node != self.me
                && is_alive(member.node, member.epoch)
                && said.is_none_or(|said| said.at < since + gap_after / 2)
        };
        let patient = now < since + gap_after
            || (now < since + forget_after && pending.set.members.iter().any(silent));
        (!patient || planted!(HopelessAtOnce)).then_some(last)
    }

    /// Whether enough members hold a batch, or are alive and may get it.
    fn may_become_safe(&self, pending: &Pending, is_alive: impl Fn(NodeId, Epoch) -> bool) -> bool {
        let may_hold = |member: &&DestMember| {
            let alive = is_alive(member.node, member.epoch);
            self.holds(member, pending) || (alive && !self.gave_up(member, pending))
        };
        pending.set.members.iter().filter(may_hold).count() >= self.k
    }

    /// Whether somebody who is alive has given a batch up.
    fn is_given_up(&self, pending: &Pending, is_alive: impl Fn(NodeId, Epoch) -> bool) -> bool {
        let mut members = pending.set.members.iter();
        members.any(|m| self.gave_up(m, pending) && is_alive(m.node, m.epoch))
    }

    fn gave_up(&self, member: &DestMember, pending: &Pending) -> bool {
        let said = self.said_by(member);
        said.is_some_and(|said| said.claim.from > pending.last)
    }

    /// Whether the others are to be told something, and when.
    pub(crate) fn tell_at(&self, now: Time) -> Option<Time> {
        let soonest = self.told_at.map_or(now, |at| at + TELL_PERIOD);
        // One who holds a message is always there.
        (self.k > 1 && self.told != self.news()).then(|| soonest.max(now))
    }

    /// Everything is about to be told.
    pub(crate) fn on_told(&mut self, now: Time) {
        self.told = self.news();
        self.told_at = Some(now);
    }

    /// What the others do not know by themselves: that the origin holds what it sent, they do.
    fn news(&self) -> (u64, u64) {
        let held = if self.me == self.origin { 0 } else { self.held };
        (held, self.safe)
    }

    /// The first message that is pending.
    pub(crate) fn first(&self) -> Option<u64> {
        self.pending.front().map(|pending| pending.first)
    }

    /// Those who are meant by the first batch that is pending.
    pub(crate) fn first_set(&self) -> Option<&Arc<DestSet>> {
        self.pending.front().map(|pending| &pending.set)
    }
}

#[cfg(test)]
mod tests {
    use rolecast_membership::{RoleName, Tenure};

    use super::*;
    use crate::api::FlowId;
    use crate::mode::Mode;

    fn node(number: u8) -> NodeId {
        NodeId::from_bytes([number; 32])
    }

    /// What node 2 knows of a flow of node 1 to so many members, of which it holds one message, as do those who said so.
    fn safety(k_safe: u8, members: u8, said: &[(u8, u64)]) -> Safety {
        let mut safety = Safety::new(k_safe, node(2), node(1), 1);
        let members = (1..=members).map(|number| DestMember {
            node: node(number),
            epoch: Epoch(1),
            tenure: Tenure(1),
            start: 1,
            replayed: 0,
            owed: Vec::new(),
        });
        let set = DestSet {
            key: FlowKey {
                origin: node(1),
                epoch: Epoch(1),
                flow: FlowId(1),
            },
            version: 1,
            role: RoleName::everyone(),
            mode: Mode::default(),
            born: Epoch(1),
            members: members.collect(),
            evicted: Vec::new(),
            large: None,
            sources: Vec::new(),
        };
        safety.hold(1, 1, Arc::new(set));
        for &(number, from) in said {
            let claim = Claim { from, safe: 0 };
            safety.on_said(Time::ZERO, (node(number), Epoch(1)), 1, claim);
        }
        safety.advance(|_, _| true);
        safety
    }

    #[track_caller]
    fn check(safety: &Safety, safe: u64, passed_on: &[u8]) {
        assert_eq!(safety.safe, safe);
        let heard = safety.hearsay().into_iter().map(|heard| heard.node);
        let expected: Vec<NodeId> = passed_on.iter().map(|&number| node(number)).collect();
        assert_eq!(heard.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn who_was_left_out_goes_on_speaking_for_what_it_held_and_for_nothing_else() {
        // Node 3 holds message 1, was left out of message 2, and is taken back at message 3.
        let mut back = safety(2, 4, &[(4, 1)]);
        assert_eq!(back.claim(), Claim { from: 1, safe: 1 });
        back.pass_over(3);
        assert_eq!(back.claim(), Claim { from: 1, safe: 2 });
        let mut other = safety(4, 4, &[]);
        other.on_said(Time::ZERO, (node(3), Epoch(1)), 2, back.claim());
        other.advance(|_, _| true);
        assert_eq!(other.safe, 1, "it is taken at its word");
        let mut meant = DestSet::clone(other.first_set().expect("one is pending"));
        meant.members.retain(|member| member.node != node(3));
        other.hold(2, 2, Arc::new(meant));
        other.advance(|_, _| true);
        assert_eq!(
            other.safe, 1,
            "it knows nothing of what was not meant for it"
        );
    }

    #[test]
    fn whoever_knows_that_a_message_is_safe_need_not_say_who_holds_it() {
        check(&safety(4, 7, &[(3, 1)]), 0, &[3]);
        check(&safety(4, 7, &[(3, 1), (4, 1)]), 1, &[]);
        // Who began later says something else.
        check(&safety(4, 7, &[(3, 1), (4, 1), (5, 2)]), 1, &[5]);
        // Among few, each has to know who knows.
        check(&safety(4, 6, &[(3, 1), (4, 1)]), 1, &[3, 4]);
    }
}

//! The sending side of a flow: who is meant, what is on the way, and how far each member is.

mod destination;
mod evicted;
mod history;
mod lagging;
mod own_safety;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use rolecast_membership::{Epoch, NodeId, RoleName, Tenure};

use self::evicted::Eviction;
use self::history::History;
use crate::api::FlowId;
use crate::batch::Batch;
use crate::canary::planted;
use crate::large::Outgoing;
use crate::mode::Mode;
use crate::retained::Retained;
use crate::safety::Safety;
use crate::wire::{DestSet, FlowKey, OWED_MAX, Owed};

/// A flow of this node.
#[derive(Debug)]
pub(crate) struct FlowOut {
    pub(crate) id: FlowId,
    pub(crate) role: RoleName,
    pub(crate) mode: Mode,
    /// The number of the next message.
    next: u64,
    /// The present life of this node.
    epoch: Epoch,
    /// The life in which message 1 was, or will be, sent.
    born: Epoch,
    /// The first message of the present life.
    first: u64,
    version: u32,
    members: BTreeMap<NodeId, MemberOut>,
    /// Members that went before they had acknowledged everything: if one comes back in the same life, it has to hear of what it missed.
    gone: BTreeMap<NodeId, MemberOut>,
    /// The encoded announcement of the present version, made when it is first sent.
    announcement: Option<Bytes>,
    /// The present destination set, made when it is first asked for.
    set: Option<Arc<DestSet>>,
    /// Batches that some member has not acknowledged: last message and bytes.
    in_flight: VecDeque<(u64, usize)>,
    in_flight_bytes: usize,
    /// Every member has acknowledged up to here, or was given up, or lags behind.
    settled: u64,
    /// Those that lag have too.
    taken: u64,
    /// Who holds what, if messages wait for that.
    pub(crate) safety: Option<Box<OwnSafety>>,
    /// As many members as the mode asks for hold everything up to here, and the program was told so.
    stable: u64,
    /// The furthest that any member other than this node is known to hold.
    arrived: u64,
    /// In causal order, the flows that batches may depend on: the number of each, and how far the last batch said it was given.
    sources: BTreeMap<FlowKey, (u32, u64)>,
    /// The version of the destination set of the last batch.
    told_version: u32,
    /// What is kept for members to whom it was not sent, if the flow spreads so that there are any.
    pub(crate) retained: Retained,
    /// Whether a batch was refused for want of room since the flow was last writable.
    pub(crate) refused: bool,
    /// Which members it goes on without.
    eviction: Eviction,
    /// What is kept for members that come later.
    history: History,
    /// If its messages are the chunks of a large payload, what is known of that.
    pub(crate) large: Option<Outgoing>,
}

/// Who holds what of this node's own flow, and what it sent to itself and has not delivered.
#[derive(Debug)]
pub(crate) struct OwnSafety {
    pub(crate) safety: Safety,
    waiting: VecDeque<OwnBatch>,
}

/// A batch that this node sent to itself, in the holding of the role that was meant.
#[derive(Debug)]
struct OwnBatch {
    first: u64,
    last: u64,
    tenure: Tenure,
    batch: Batch,
}

/// A holder of the role, as a destination set names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) node: NodeId,
    pub(crate) epoch: Epoch,
    pub(crate) tenure: Tenure,
}

/// The most members that went of which is remembered what they missed.
const GONE_MAX: usize = 1_024;

/// How far a member is.
#[derive(Clone, Debug)]
struct MemberOut {
    epoch: Epoch,
    tenure: Tenure,
    start: u64,
    /// How many messages from there on were sent before it came.
    replayed: u64,
    /// What was meant for it in former lives of this node and was not acknowledged.
    owed: Vec<Owed>,
    acked: u64,
    /// Whether this node, if it is the member, has been delivered something.
    begun: bool,
}

impl MemberOut {
    /// It has acknowledged everything up to here that was sent since it came.
    fn acked_live(&self) -> u64 {
        match self.replayed {
            0 => self.acked,
            replayed => self.acked.max(self.start + replayed - 1),
        }
    }

    /// Everything up to `upto` that it has not acknowledged is owed to it from the end of this life on.
    /// Of what was sent before it came, it knows by itself if it was told of it.
    fn owe(&mut self, epoch: Epoch, upto: u64) {
        let acked = self.acked_live();
        if acked < upto {
            self.owed.push(Owed {
                epoch,
                first: acked + 1,
                last: upto,
            });
        }
        if self.owed.len() > OWED_MAX {
            self.owed.remove(0);
        }
    }
}

/// A member that was given up before it had acknowledged everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LostMember {
    pub(crate) node: NodeId,
    pub(crate) after: u64,
    pub(crate) upto: u64,
}

impl FlowOut {
    pub(crate) fn new(
        id: FlowId,
        role: RoleName,
        mode: Mode,
        (me, epoch): (NodeId, Epoch),
    ) -> Self {
        let own = |()| OwnSafety {
            safety: Safety::new(mode.k_safe, me, me, 1),
            waiting: VecDeque::new(),
        };
        FlowOut {
            id,
            role,
            mode,
            next: 1,
            epoch,
            born: epoch,
            first: 1,
            version: 0,
            members: BTreeMap::new(),
            gone: BTreeMap::new(),
            announcement: None,
            set: None,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            settled: 0,
            taken: 0,
            safety: (mode.k_safe > 1).then_some(()).map(own).map(Box::new),
            stable: 0,
            arrived: 0,
            sources: BTreeMap::new(),
            told_version: 0,
            retained: Retained::default(),
            refused: false,
            eviction: Eviction::default(),
            history: History::default(),
            large: None,
        }
    }

    /// Takes over who holds the role; gives the members that are no longer meant and had not acknowledged everything.
    pub(crate) fn set_holders(&mut self, holders: &[Holder]) -> Vec<LostMember> {
        let same = |holder: &Holder, member: &MemberOut| {
            (holder.epoch, holder.tenure) == (member.epoch, member.tenure)
        };
        let forgotten = self.forget_evicted(holders);
        let holders = holders.iter().filter(|holder| !self.is_evicted(holder));
        let holders: Vec<Holder> = holders.copied().collect();
        let unchanged = forgotten.is_none()
            && holders.len() == self.members.len()
            && holders.iter().all(|h| {
                self.members
                    .get(&h.node)
                    .is_some_and(|member| same(h, member))
            });
        if unchanged {
            return Vec::new();
        }
        self.on_set_changed();
        let mut before = std::mem::take(&mut self.members);
        for holder in &holders {
            let member = match before.get(&holder.node) {
                Some(member) if same(holder, member) => {
                    before.remove(&holder.node).expect("it was just found")
                }
                _ => {
                    let missed = self.gone.remove(&holder.node);
                    let missed = missed.filter(|member| same(holder, member));
                    if missed.is_none() {
                        self.note_newcomer(holder.node);
                    }
                    MemberOut {
                        epoch: holder.epoch,
                        tenure: holder.tenure,
                        start: match self.next {
                            next if planted!(StartOneEarly) => (next - 1).max(1),
                            next => next + u64::from(planted!(StartOneLate)),
                        },
                        replayed: 0,
                        owed: missed.map(|member| member.owed).unwrap_or_default(),
                        acked: self.next - 1,
                        begun: false,
                    }
                }
            };
            self.members.insert(holder.node, member);
        }
        let members = &self.members;
        self.retained
            .retain_told(|node| members.contains_key(&node));
        let upto = self.next - 1;
        // Whoever goes in the middle of a large payload misses the rest, however much it has taken.
        let begun = self.is_under_way();
        before.retain(|_, member| member.acked < upto || begun);
        for member in before.values_mut() {
            member.owe(self.epoch, upto);
        }
        self.gone.append(&mut before.clone());
        while self.gone.len() > GONE_MAX {
            self.gone.pop_first();
        }
        let mut lost = forgotten.unwrap_or_default();
        before.retain(|_, member| member.acked_live() < upto || begun);
        lost.extend(before.into_iter().map(|(node, member)| LostMember {
            node,
            after: member.acked_live(),
            upto,
        }));
        lost
    }

    /// Whether it is the flow of a large payload of which more is to come.
    fn is_under_way(&self) -> bool {
        self.large.as_ref().is_some_and(|large| !large.ended)
    }

    /// Nothing more is meant for this member; says whether it was one.
    pub(crate) fn remove_member(&mut self, node: NodeId, epoch: Epoch, tenure: Tenure) -> bool {
        if !self.names(node, epoch, tenure) {
            return false;
        }
        self.members.remove(&node);
        self.on_set_changed();
        true
    }

    /// The version of the present destination set.
    pub(crate) fn version(&self) -> u32 {
        self.version
    }

    fn on_set_changed(&mut self) {
        self.version += 1;
        self.announcement = None;
        self.set = None;
    }

    /// Whether it is meant for this holding of the role.
    pub(crate) fn names(&self, node: NodeId, epoch: Epoch, tenure: Tenure) -> bool {
        let member = self.members.get(&node);
        member.is_some_and(|member| (member.epoch, member.tenure) == (epoch, tenure))
    }

    /// Starts over in another life of this node: what was on the way in the former one is given up.
    pub(crate) fn renew(&mut self, own: (NodeId, Epoch)) -> Vec<LostMember> {
        let upto = self.next - 1;
        self.first = self.next;
        let former = std::mem::replace(&mut self.epoch, own.1);
        self.on_set_changed();
        self.in_flight.clear();
        self.in_flight_bytes = 0;
        self.retained = Retained::default();
        self.history = History::default();
        let mut lost = Vec::new();
        let begun = self.is_under_way();
        let mut evicted: Vec<NodeId> = self.renew_evicted();
        if self.keeps_last() {
            evicted.clear();
        }
        for (&node, member) in &mut self.members {
            if node == own.0 {
                member.epoch = own.1;
            }
            // Of whoever was left out it is known.
            let after = member.acked_live();
            if (after < upto || begun) && !evicted.contains(&node) {
                lost.push(LostMember { node, after, upto });
            }
            member.owe(former, upto);
            member.start = self.next;
            member.replayed = 0;
            member.acked = upto;
        }
        lost
    }

    /// Numbers `count` messages and notes that their bytes are on the way; gives the first number.
    pub(crate) fn push(&mut self, count: u32, bytes: usize) -> u64 {
        let first = self.next + u64::from(planted!(NumberLeftOut));
        self.next = first + u64::from(count);
        if !self.members.is_empty() {
            self.in_flight.push_back((self.next - 1, bytes));
            self.in_flight_bytes += bytes;
        }
        first
    }

    /// The member that has taken least of what is on the way.
    pub(crate) fn slowest(&self) -> Option<NodeId> {
        let (last, _) = self.in_flight.back()?;
        let behind = self.members.iter().filter(|(_, m)| m.acked < *last);
        let slowest = behind.min_by_key(|(_, member)| member.acked);
        slowest.map(|(&node, _)| node)
    }

    /// Whether the window has room.
    pub(crate) fn has_room(&self, window_bytes: usize) -> bool {
        self.in_flight_bytes < window_bytes
    }

    /// A member has taken everything up to `upto`; says whether that is news.
    pub(crate) fn acknowledge(
        &mut self,
        node: NodeId,
        epoch: Epoch,
        tenure: Tenure,
        upto: u64,
    ) -> bool {
        // Nobody can have taken what was not sent.
        let upto = (upto + u64::from(planted!(AckOneFar))).min(self.next - 1);
        let lagging = self.eviction.lagging_mut(node);
        match self.members.get_mut(&node).or(lagging) {
            Some(member) if (member.epoch, member.tenure) == (epoch, tenure) => {
                let news = upto > member.acked;
                member.acked = member.acked.max(upto);
                if upto >= member.start {
                    member.owed.clear();
                }
                news
            }
            _ => false,
        }
    }

    /// Whoever has taken the last chunk of a large payload that has ended has taken its end too.
    pub(crate) fn with_end(&self, upto: u64) -> u64 {
        let ended = self.large.as_ref().is_some_and(|large| large.ended);
        if ended && upto.checked_add(2) == Some(self.next) {
            upto + 1
        } else {
            upto
        }
    }

    /// Frees what every member has taken; gives how far that is, if it got further.
    pub(crate) fn settle(&mut self) -> Option<u64> {
        let last = self.next - 1;
        let acked = self.members.values().map(|member| member.acked);
        let acked = acked.chain(self.acked_by_evicted());
        let floor = match planted!(SettledByFastest) {
            true => acked.max(),
            false => acked.min(),
        };
        let floor = floor.unwrap_or(last);
        while let Some(&(upto, bytes)) = self.in_flight.front()
            && upto <= floor
        {
            self.in_flight.pop_front();
            self.in_flight_bytes -= bytes;
        }
        self.settled = self.settled.max(floor);
        self.let_go();
        let taken = self.eviction.lagging().map(|member| member.acked);
        let taken = taken.min().map_or(floor, |acked| acked.min(floor));
        (taken > self.taken).then(|| {
            self.taken = taken;
            taken
        })
    }

    /// The first message that is meant for a member that has been delivered nothing before, and is from here on.
    /// Gives as well how many from there on were sent before it came.
    pub(crate) fn begin_at(&mut self, node: NodeId) -> Option<(u64, u64)> {
        // What was sent to it before it was left out may be delivered only then.
        let left_out = self.eviction.members.get_mut(&node);
        let left_out = left_out.map(|evicted| &mut evicted.member);
        let member = self.members.get_mut(&node).or(left_out)?;
        let begins = !std::mem::replace(&mut member.begun, true);
        begins.then_some((member.start, member.replayed))
    }

    /// The present members: node and life.
    pub(crate) fn members(&self) -> impl Iterator<Item = (NodeId, Epoch)> + '_ {
        self.members
            .iter()
            .map(|(&node, member)| (node, member.epoch))
    }

    /// The members that have not acknowledged everything: node, life, and the first message that is meant for each.
    pub(crate) fn behind(&self) -> impl Iterator<Item = (NodeId, Epoch, u64)> + '_ {
        let last = self.next - 1;
        let behind = self.members.iter().filter(move |(_, m)| m.acked < last);
        behind.map(|(&node, member)| (node, member.epoch, member.start))
    }

    /// The members that have to hear of what they missed in a former life of this node.
    pub(crate) fn debtors(&self) -> Vec<(NodeId, Epoch)> {
        let debtors = self.members.iter().filter(|(_, m)| !m.owed.is_empty());
        debtors.map(|(&node, m)| (node, m.epoch)).collect()
    }

    /// How far a member is; everything, if it is none.
    pub(crate) fn acknowledged_by(&self, node: NodeId) -> u64 {
        let lagging = || self.eviction.lagging_one(node);
        let member = self.members.get(&node).or_else(lagging);
        member.map_or(u64::MAX, |member| member.acked)
    }

    /// The number of the next message.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// The life of this node to which the next message belongs.
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// How many members there are.
    pub(crate) fn member_count(&self) -> usize {
        self.members.len()
    }

    /// Whether something up to this message is meant for this life of a node.
    pub(crate) fn is_meant(&self, (node, epoch): (NodeId, Epoch), upto: u64) -> bool {
        let member = self.members.get(&node);
        member.is_some_and(|member| member.epoch == epoch && member.start <= upto)
            || self.was_meant((node, epoch), upto)
    }

    /// The tenure of a member.
    pub(crate) fn tenure_of(&self, node: NodeId) -> Option<Tenure> {
        self.members.get(&node).map(|member| member.tenure)
    }

    /// The tenure of a member, or of one that it goes on without: what was sent to it before is for it.
    pub(crate) fn any_tenure_of(&self, node: NodeId) -> Option<Tenure> {
        self.tenure_of(node).or_else(|| self.evicted_tenure(node))
    }

    /// Every member that does not lag has acknowledged everything up to here.
    pub(crate) fn settled(&self) -> u64 {
        self.settled
    }

    /// Whether nothing is on the way, and nothing is kept for anybody who lags.
    pub(crate) fn is_settled(&self) -> bool {
        self.in_flight.is_empty() && self.eviction.lagging().next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mode::Dissemination;

    fn node(number: u8) -> NodeId {
        NodeId::from_bytes([number; 32])
    }

    fn holder(number: u8) -> Holder {
        Holder {
            node: node(number),
            epoch: Epoch(1),
            tenure: Tenure(1),
        }
    }

    fn flow(holders: &[Holder]) -> FlowOut {
        let role = "r".parse().expect("a role");
        let mode = Dissemination::Eager.into();
        let mut flow = FlowOut::new(FlowId(1), role, mode, (node(9), Epoch(1)));
        flow.set_holders(holders);
        flow
    }

    #[test]
    fn the_slowest_member_holds_the_window() {
        let mut flow = flow(&[holder(1), holder(2)]);
        assert_eq!(flow.push(10, 100), 1);
        assert!(!flow.has_room(100));
        assert!(flow.acknowledge(node(1), Epoch(1), Tenure(1), 10));
        assert_eq!(flow.settle(), None);
        assert!(flow.acknowledge(node(2), Epoch(1), Tenure(1), 10));
        assert_eq!(flow.settle(), Some(10));
        assert!(flow.has_room(100) && flow.is_settled());
    }

    #[test]
    fn nothing_is_settled_as_long_as_somebody_lags() {
        let mut flow = flow(&[holder(1)]);
        flow.treat_slow(crate::slow::SlowMembers::KeepLast);
        flow.push(1, 100);
        flow.evict(node(1));
        flow.settle();
        assert!(flow.has_room(1) && !flow.is_settled());
        flow.bring_back(node(1));
        assert!(flow.is_settled());
    }

    #[test]
    fn a_member_that_goes_is_reported_with_what_it_misses() {
        let mut flow = flow(&[holder(1), holder(2)]);
        flow.push(10, 100);
        flow.acknowledge(node(1), Epoch(1), Tenure(1), 10);
        flow.acknowledge(node(2), Epoch(1), Tenure(1), 4);
        let lost = flow.set_holders(&[holder(1)]);
        assert_eq!(
            lost,
            [LostMember {
                node: node(2),
                after: 4,
                upto: 10
            }]
        );
        assert_eq!(flow.settle(), Some(10));
    }

    #[test]
    fn a_member_that_comes_back_in_the_same_life_hears_of_what_it_missed() {
        let mut flow = flow(&[holder(1), holder(2)]);
        flow.push(10, 100);
        flow.acknowledge(node(2), Epoch(1), Tenure(1), 4);
        flow.set_holders(&[]);
        flow.renew((node(9), Epoch(2)));
        flow.push(1, 10);
        let later = Holder {
            tenure: Tenure(2),
            ..holder(1)
        };
        flow.set_holders(&[later, holder(2)]);
        let owed = |flow: &FlowOut, number| {
            let member = &flow.members[&node(number)];
            (member.owed.clone(), member.start)
        };
        let first_life = Owed {
            epoch: Epoch(1),
            first: 5,
            last: 10,
        };
        assert_eq!(
            owed(&flow, 1),
            (vec![], 12),
            "another holding is owed nothing"
        );
        assert_eq!(owed(&flow, 2), (vec![first_life], 12));

        // Lives in which nothing was sent to it owe it nothing.
        flow.renew((node(9), Epoch(3)));
        flow.push(2, 20);
        flow.renew((node(9), Epoch(4)));
        let third_life = Owed {
            epoch: Epoch(3),
            first: 12,
            last: 13,
        };
        assert_eq!(owed(&flow, 2), (vec![first_life, third_life], 14));
        flow.push(1, 10);
        flow.acknowledge(node(2), Epoch(1), Tenure(1), 14);
        assert_eq!(owed(&flow, 2), (vec![], 14));
    }

    #[test]
    fn what_was_sent_before_a_member_came_is_not_lost_with_it() {
        let mut flow = flow(&[holder(1)]);
        let batch = Batch::single(Bytes::from_static(b"x"), None);
        for _ in 0..3 {
            let first = flow.push(1, 10);
            flow.remember(first, &batch, 10_000);
        }
        flow.set_holders(&[holder(1), holder(2), holder(3)]);
        assert_eq!(flow.take_newcomers(), [node(2), node(3)]);
        for number in [2, 3] {
            let (_, runs) = flow.replay(node(number), 2, 10_000).expect("they are kept");
            assert_eq!((runs.len(), flow.members[&node(number)].start), (2, 2));
        }
        assert!(flow.set_holders(&[holder(1), holder(2)]).is_empty());
        flow.push(1, 10);
        let lost = LostMember {
            node: node(2),
            after: 3,
            upto: 4,
        };
        assert_eq!(flow.set_holders(&[holder(1)]), [lost]);
        flow.renew((node(9), Epoch(2)));
        flow.set_holders(&[holder(1), holder(2), holder(3)]);
        let owed = |number| {
            let owed = flow.members[&node(number)].owed.iter();
            owed.map(|owed| (owed.first, owed.last)).collect::<Vec<_>>()
        };
        assert_eq!((owed(2), owed(3)), (vec![(4, 4)], vec![]));
    }

    #[test]
    fn acknowledgements_of_other_lives_and_of_the_future_do_not_count() {
        let mut flow = flow(&[holder(1)]);
        flow.push(3, 30);
        assert!(!flow.acknowledge(node(1), Epoch(2), Tenure(1), 3));
        assert!(!flow.acknowledge(node(1), Epoch(1), Tenure(2), 3));
        assert!(!flow.acknowledge(node(2), Epoch(1), Tenure(1), 3));
        assert!(flow.acknowledge(node(1), Epoch(1), Tenure(1), u64::MAX));
        assert_eq!(flow.settle(), Some(3));
        assert_eq!(flow.push(1, 10), 4);
        assert_eq!(flow.settle(), None);
    }

    #[test]
    fn who_comes_later_is_owed_only_what_is_sent_later() {
        let mut flow = flow(&[holder(1)]);
        flow.push(5, 50);
        flow.acknowledge(node(1), Epoch(1), Tenure(1), 5);
        flow.set_holders(&[holder(1), holder(2)]);
        assert_eq!(flow.settle(), Some(5));
    }
}

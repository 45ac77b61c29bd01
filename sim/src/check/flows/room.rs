//! What may keep a flow shut because of a member: the flow's own window, or the way to that member, on which whatever is sent to it has to find room.
//!
//! Nobody but its engine knows how full a way is.
//! What was ever sent to a node is known, and as long as that is less than a way takes, none to it can be full.

use std::collections::BTreeMap;

use rolecast_membership::NodeId;
use rolecast_protocol::{FlowId, InboxId, Seq};

use super::super::lives::{Lives, ProcessId, SeatId};
use super::{Flow, FlowName, Flows};

/// How much may be on the way to whom.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    /// How much one way takes, if that is known.
    pub(crate) bytes_max: Option<usize>,
    /// Multicasts that were ever sent to a node, by whomever.
    multicasts: BTreeMap<NodeId, usize>,
    /// Calls and answers, to whomever.
    calls: usize,
    /// Members that were left out before anything of a flow was sent to them, with the last message before.
    left_out: BTreeMap<FlowName, Vec<Early>>,
}

/// A member that was left out before anything of a flow was sent to it.
#[derive(Clone, Copy, Debug)]
struct Early {
    node: NodeId,
    /// The last message before.
    after: u64,
    /// Whether it was taken back.
    back: bool,
}

impl Flows {
    /// A call or an answer of so many bytes is on its way.
    pub(crate) fn note_call(&mut self, bytes: usize) {
        self.ways.calls += bytes + WORDS_BYTES;
    }

    /// A batch goes to these members.
    pub(super) fn note_sent(&mut self, lives: &Lives, members: &[SeatId], bytes: usize) {
        for &seat in members {
            let node = lives.life(lives.seat(seat).life).identity.id;
            *self.ways.multicasts.entry(node).or_default() += bytes + WORDS_BYTES;
        }
    }

    /// An inbox is sent what was sent before, as far as that is kept.
    pub(super) fn note_past(&mut self, lives: &Lives, process: ProcessId, inbox: InboxId) {
        let window = self.window_bytes.unwrap_or(usize::MAX);
        let role = lives.role_of(process, inbox);
        let flows = self.flows.values();
        let flows = flows.filter(|flow| Some(&flow.role) == role);
        let past = flows.map(|flow| flow.bytes_of(1, flow.last).min(window / 2) + WORDS_BYTES);
        let past: usize = past.sum();
        let node = lives.node_of(process);
        *self.ways.multicasts.entry(node).or_default() += past;
    }

    /// Whether there may be no room on the way from a process to a node, for whatever it is.
    pub(super) fn may_be_full(&self, lives: &Lives, from: ProcessId, to: NodeId) -> bool {
        let multicasts = self.ways.multicasts.get(&to).copied().unwrap_or(0);
        let full = |max| multicasts + self.ways.calls > max;
        lives.node_of(from) != to && self.ways.bytes_max.is_some_and(full)
    }

    /// How much of a flow may be on the way to a member that has acknowledged everything up to `after`.
    ///
    /// Of what was sent before it came it may have acknowledged nothing, as long as that is all that it has.
    pub(super) fn on_the_way(
        &self,
        lives: &Lives,
        flow: &Flow,
        seat: SeatId,
        (after, upto): (Seq, Seq),
    ) -> usize {
        let asks = self.asked.contains_key(&lives.place_of(seat));
        let mut before = flow.overlapping(1, after.0);
        let past = match asks && before.all(|sent| !sent.members.contains(&seat)) {
            true => flow.bytes_of(1, after.0),
            false => 0,
        };
        let window = self.window_bytes.unwrap_or(usize::MAX);
        past.min(window / 2) + flow.bytes_of(after.0 + 1, upto.0)
    }

    /// A member is left out to which nothing of a flow was sent yet; says whether that may be.
    pub(super) fn leave_out_early(
        &mut self,
        lives: &Lives,
        (process, id): (ProcessId, FlowId),
        node: NodeId,
        (after, upto): (Seq, Seq),
    ) -> bool {
        let may = after == upto && self.may_be_full(lives, process, node);
        if may {
            let (after, back) = (after.0, false);
            let name = (lives.life_of(process), id);
            let early = self.ways.left_out.entry(name).or_default();
            early.push(Early { node, after, back });
        }
        may
    }

    /// A member is taken back; says whether it was left out before anything was sent to it.
    pub(super) fn take_back_early(&mut self, name: FlowName, node: NodeId) -> bool {
        let mut early = self.ways.left_out.get_mut(&name).into_iter().flatten();
        let early = early.find(|early| early.node == node && !early.back);
        early.map(|early| early.back = true).is_some()
    }

    /// Whether a node was left out of a flow before anything was sent to it, and before this message.
    pub(super) fn was_left_out_early(&self, name: FlowName, node: NodeId, seq: u64) -> bool {
        let mut early = self.ways.left_out.get(&name).into_iter().flatten();
        early.any(|early| early.node == node && early.after < seq)
    }

    /// The nodes that are left out of a flow and to which nothing was sent before, with the last message before.
    pub(super) fn left_out_early(&self, name: FlowName) -> Vec<(NodeId, u64)> {
        let early = self.ways.left_out.get(&name).into_iter().flatten();
        let early = early.filter(|early| !early.back);
        early.map(|early| (early.node, early.after)).collect()
    }
}

impl Flow {
    /// How much of a window these messages use up, with what they were sent together with.
    fn bytes_of(&self, first: u64, last: u64) -> usize {
        let sent = self.overlapping(first, last);
        sent.map(|sent| sent.cost_bytes).sum()
    }
}

/// What goes along with a batch or a call at most: its head, to whom it goes, and what is said of it.
const WORDS_BYTES: usize = 1 << 10;

//! Passing on what was received first, and bounding what is kept for those to whom it goes.

use bytes::Bytes;
use rolecast_membership::{NodeId, Time};

use super::Engine;
use super::receive::BatchNumbers;
use crate::api::FlowId;
use crate::canary::planted;
use crate::flow_in::KnownDestSet;
use crate::retained::RetainedBatch;
use crate::session::{Cargo, LaneName, OutFrame};
use crate::spread::{self, Audience};
#[cfg(feature = "canaries")]
use crate::wire::{DataHead, encode_head};
use crate::wire::{FlowKey, SEQ_MAX};

impl Engine {
    /// Does for the others what the flow's dissemination wants done with a batch that was received first.
    pub(super) fn pass_on(
        &mut self,
        now: Time,
        from: NodeId,
        numbers: &BatchNumbers,
        head: &Bytes,
        body: &Bytes,
    ) {
        if planted!(RelayForgotten) {
            return;
        }
        let &BatchNumbers {
            key,
            version,
            first,
            count,
            ..
        } = numbers;
        let last = first + u64::from(count) - 1;
        let flow = self.flows_in.get(&key);
        let Some(known) = flow.and_then(|flow| flow.dest_set(version)).cloned() else {
            return;
        };
        #[cfg(feature = "canaries")]
        if planted!(StrangersHeard) || planted!(StrangersInvented) {
            self.pass_on_invention(&known, numbers, body);
        }
        let audience = spread::of(known.set.mode).on_first_receipt();
        let relayed = (audience != Audience::Nobody).then(|| known.clone());
        if spread::keeps(known.set.mode) {
            let (head, body) = (head.clone(), body.clone());
            let batch = RetainedBatch {
                first,
                last,
                version,
                known,
                head,
                body,
            };
            self.retain(now, key, batch);
        }
        if let Some(known) = relayed {
            self.relay(
                now,
                (known, version),
                (from, audience),
                (first, last),
                (head, body),
            );
        }
    }

    /// Passes a batch on.
    fn relay(
        &mut self,
        now: Time,
        (known, version): (KnownDestSet, u32),
        (from, audience): (NodeId, Audience),
        (first, last): (u64, u64),
        (head, body): (&Bytes, &Bytes),
    ) {
        let key = known.set.key;
        let awaits = spread::of(known.set.mode).awaits_relays();
        let with_set = self.passes_on_set(key, version, audience);
        let have_it = [self.me.id, from, key.origin];
        let targets = audience.choose(
            &known.set,
            |member| !have_it.contains(&member.node),
            |member| self.peers.is_linked(member.node),
            &mut self.rng,
        );
        // The origin may know before this node that a member is in a later life.
        // What follows from that may make room in sessions, where nothing of this batch must be yet.
        for member in &targets {
            let ended = self.peers.enter_life(member.node, member.epoch);
            self.on_life_ended(now, member.node, member.epoch, ended);
        }
        let mut awaited_peers = 0;
        let forgotten = usize::from(planted!(RelayOneShort));
        for member in targets.iter().skip(forgotten) {
            let to = (member.node, member.epoch);
            if with_set {
                self.announce(to, key, version, &known.encoded);
            }
            let awaited = awaits && self.peers.is_linked(member.node);
            let cargo = Cargo::Relay {
                key,
                upto: last,
                awaited,
            };
            let frame = OutFrame {
                head: head.clone(),
                body: body.clone(),
                cargo,
            };
            let to = (to.0, to.1, LaneName::of_flow(key.flow));
            let pushed = self.peers.push(self.me.epoch, to, frame, &mut self.out);
            if pushed.is_some() {
                awaited_peers += u32::from(awaited);
                self.relayed += last + 1 - first;
            }
        }
        if let Some(flow) = self.flows_in.get_mut(&key) {
            flow.await_relays(first, last, awaited_peers);
        }
        for member in targets {
            self.bound_session(member.node, self.limits.session_bytes_max);
        }
    }

    /// Passes on a batch as if it came from a node that there never was.
    #[cfg(feature = "canaries")]
    fn pass_on_invention(&mut self, known: &KnownDestSet, numbers: &BatchNumbers, body: &Bytes) {
        if known.set.large.is_some() {
            return;
        }
        let mut set = (*known.set).clone();
        set.key.origin = NodeId::from_bytes([0x5a; 32]);
        let &BatchNumbers {
            version,
            first,
            count,
            floor,
            ..
        } = numbers;
        let (key, deps) = (set.key, Vec::new());
        let encoded = encode_head(&DataHead::DestSet(set));
        let head = DataHead::Batch {
            key,
            version,
            first,
            count,
            floor,
            deps,
        };
        for member in &known.set.members {
            let to = (member.node, member.epoch);
            if self.peers.is_linked(member.node) {
                self.announce(to, key, version, &encoded);
                self.push(to, &head, body.clone(), Cargo::Plain);
            }
        }
    }

    /// Whether the destination set goes with a batch to those to whom it is passed on, if they do not know it.
    ///
    /// Whoever passes on to all tells everybody once.
    /// Whoever passes on to a few tells those who get the first batch with this version, and whoever else asks.
    fn passes_on_set(&mut self, key: FlowKey, version: u32, audience: Audience) -> bool {
        let flow = self.flows_in.get_mut(&key);
        let first = flow.is_some_and(|flow| flow.retained.pass_on_set(version));
        first || audience == Audience::All
    }

    /// A relayed batch arrived at a peer, or will not.
    pub(super) fn on_relayed(&mut self, now: Time, key: FlowKey, upto: u64) {
        if let Some(flow) = self.flows_in.get_mut(&key) {
            flow.on_relayed(upto);
            self.ack_later(now, key);
            self.report_finished(key);
        }
    }

    /// A peer dropped what it had of these flows up to here; somebody else may have it.
    pub(super) fn on_skipped(&mut self, now: Time, flows: &[(FlowKey, u64)]) {
        for (key, upto) in flows {
            if let Some(flow) = self.flows_in.get_mut(key) {
                flow.know_upto(now, (*upto).min(SEQ_MAX));
            }
        }
    }

    /// Drops batches of a session that keeps more than `bytes_max` and may be dropped.
    pub(super) fn bound_session(&mut self, node: NodeId, bytes_max: usize) {
        let session = self
            .peers
            .get_mut(node)
            .and_then(|peer| peer.session.as_mut());
        let Some(session) = session.filter(|session| session.bytes_max() > bytes_max) else {
            return;
        };
        let flows = &self.flows_out;
        let acknowledged = |flow| {
            // Of a large payload that is over, nobody needs anything.
            let unknown = if FlowId::is_large(flow) { u64::MAX } else { 0 };
            flows
                .get(&flow)
                .map_or(unknown, |flow| flow.acknowledged_by(node))
        };
        for (key, upto) in session.bound(bytes_max, acknowledged) {
            if let Some(flow) = self.flows_in.get_mut(&key) {
                flow.on_relayed(upto);
                self.acks.flows.insert(key);
                self.acks.at.get_or_insert(self.tick_at);
            }
        }
    }
}

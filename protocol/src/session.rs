//! A perfect point-to-point channel between two lives.
//!
//! The textbook builds its broadcasts on links that lose, duplicate and invent nothing (Cachin, Guerraoui, Rodrigues: "Introduction to Reliable and Secure Distributed Programming", 2011, module 2.3).
//! QUIC streams are that only while a connection lives.
//! A session makes them so across connections: data frames are numbered from 1, kept until the peer acknowledges them, and sent again from where the peer stands when a link comes back.
//! It has two lanes, each with its own numbers and its own stream, so that what is large holds up nothing that is small.

use std::collections::BTreeMap;

use rolecast_membership::Epoch;

use crate::api::FlowId;
use crate::canary::planted;
use crate::lane::Lane;
pub(crate) use crate::lane::{Cargo, LaneName, OutFrame, Received};
use crate::wire::FlowKey;

/// The session with one life of a peer: both directions.
#[derive(Debug)]
pub(crate) struct Session {
    /// The peer's life.
    pub(crate) peer_epoch: Epoch,
    /// In the order of [`LaneName::ALL`].
    lanes: [Lane; 2],
    /// The version of each flow's destination set that was last announced in this session.
    announced: BTreeMap<FlowKey, u32>,
}

impl Session {
    pub(crate) fn new(peer_epoch: Epoch) -> Self {
        Session {
            peer_epoch,
            lanes: [Lane::new(), Lane::new()],
            announced: BTreeMap::new(),
        }
    }

    /// One of its lanes.
    pub(crate) fn lane(&self, name: LaneName) -> &Lane {
        &self.lanes[name as usize]
    }

    /// One of its lanes.
    pub(crate) fn lane_mut(&mut self, name: LaneName) -> &mut Lane {
        &mut self.lanes[name as usize]
    }

    /// Whether the peer may have so many frames of each lane.
    pub(crate) fn may_have(&self, received: Received) -> bool {
        let mut lanes = self.lanes.iter().zip(received);
        lanes.all(|(lane, received)| lane.may_have(received))
    }

    /// The peer has so many frames of each lane; gives those that were not known to have arrived.
    pub(crate) fn acknowledge(&mut self, received: Received) -> Vec<Cargo> {
        let lanes = self.lanes.iter_mut().zip(received);
        lanes
            .flat_map(|(lane, received)| lane.acknowledge(received))
            .collect()
    }

    /// No acknowledgement shall wait any longer for what is queued; gives what did.
    pub(crate) fn release_relays(&mut self) -> Vec<(FlowKey, u64)> {
        let lanes = self.lanes.iter_mut();
        lanes.flat_map(Lane::release_relays).collect()
    }

    /// Drops what may be dropped of each lane that has more than `bytes_max` bytes, until it has half of that; see [`Lane::skip`].
    pub(crate) fn bound(
        &mut self,
        bytes_max: usize,
        acknowledged: impl Fn(FlowId) -> u64,
    ) -> Vec<(FlowKey, u64)> {
        let mut released = Vec::new();
        for lane in self
            .lanes
            .iter_mut()
            .filter(|lane| lane.bytes() > bytes_max)
        {
            // Half of it goes, so that this is done seldom.
            released.extend(lane.skip(bytes_max / 2, &acknowledged));
        }
        released
    }

    /// Notes which version of a destination set the peer is about to know; says whether it has to be sent.
    pub(crate) fn announce(&mut self, key: FlowKey, version: u32) -> bool {
        let before = self.announced.insert(key, version);
        before != Some(version) && !(before.is_some() && planted!(DestSetAnnouncedOnce))
    }

    /// Forgets a flow.
    pub(crate) fn forget_flow(&mut self, key: FlowKey) {
        self.announced.remove(&key);
    }

    /// Everything that was not acknowledged, with whether it was ever handed to a link.
    pub(crate) fn into_unacknowledged(self) -> impl Iterator<Item = (Cargo, bool)> {
        self.lanes.into_iter().flat_map(Lane::into_unacknowledged)
    }

    /// How many frames of the peer were received; they count as acknowledged from here on.
    pub(crate) fn take_received(&mut self) -> Received {
        self.lanes.each_mut().map(Lane::take_received)
    }

    /// How many frames of the peer were received.
    pub(crate) fn received(&self) -> Received {
        self.lanes.each_ref().map(Lane::received)
    }

    /// Bytes kept for the peer, in the lane in which most are.
    pub(crate) fn bytes_max(&self) -> usize {
        self.lanes.iter().map(Lane::bytes).max().unwrap_or(0)
    }

    /// Bytes kept for the peer.
    pub(crate) fn bytes(&self) -> usize {
        self.lanes.iter().map(Lane::bytes).sum()
    }

    /// Whether the peer knows of everything that was received.
    pub(crate) fn owes_nothing(&self) -> bool {
        let mut lanes = self.lanes.iter();
        lanes.all(|lane| lane.unacknowledged_bytes() == 0)
    }

    /// How many frames it has had, in both directions.
    pub(crate) fn frames(&self) -> u64 {
        let lanes = self.lanes.iter();
        lanes.map(|lane| lane.last_number() + lane.received()).sum()
    }

    /// Whether the peer has acknowledged everything.
    pub(crate) fn is_settled(&self) -> bool {
        self.lanes.iter().all(Lane::is_settled)
    }
}

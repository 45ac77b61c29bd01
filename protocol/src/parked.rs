//! What peers pass on in the name of lives of which this node knows nothing, set aside until somebody vouches for these.
//!
//! Of each peer that says such things there is a bound of what is kept; what goes beyond is not kept, and counts as missed once the life is known.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use rolecast_membership::{NodeId, Time};

use crate::api::Origin;
use crate::session::LaneName;
use crate::wire::FlowKey;

/// What peers said in the name of unknown lives.
#[derive(Debug, Default)]
pub(crate) struct Parked {
    /// By the life that is unknown, and the life that speaks of it.
    lives: BTreeMap<Origin, BTreeMap<Origin, Said>>,
    /// Bytes kept of each peer that says something.
    bytes: BTreeMap<NodeId, usize>,
    total_bytes: usize,
}

/// A frame as it came, and the lane in which it did.
type Frame = (LaneName, Bytes);

/// What one peer said in the name of one life.
#[derive(Debug)]
pub(crate) struct Said {
    since: Time,
    /// The flows that it announced, each with the last message of which something was not kept.
    flows: BTreeMap<FlowKey, u64>,
    /// In the order in which they came.
    frames: Vec<Frame>,
    /// When others are asked again whether there was such a life, and after how long once more.
    ask_at: Time,
    pause: Duration,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parking {
    /// It is the first one that this peer says of this life.
    First,
    /// It is kept with others.
    Kept,
    /// There is no room for it.
    NoRoom,
}

/// For so long a peer may speak of a life of which nobody knows.
///
/// Whoever passes something on knows the life that said it, and answers at once when it is asked; a link that broke meanwhile is back, or gone round, or its end taken for dead, within this time.
pub(crate) const UNKNOWN_MAX: Duration = Duration::from_secs(30);
/// The most unknown lives of which one peer may speak.
const LIVES_MAX: usize = 1_024;
/// Bytes kept of all peers together, beside the share that each has in any case.
const BYTES_MAX: usize = 256 << 20;
/// Bytes that are kept of a peer though others have taken all that there is.
const SHARE_BYTES: usize = 64 << 10;
/// What a frame costs beside its bytes.
const OVERHEAD_BYTES: usize = 256;
/// The wait before others are asked a second time; it doubles.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// However long nobody knows, others are asked so often: a link may be back at any time.
const ASK_AT_LEAST_EVERY: Duration = Duration::from_secs(4);

impl Parked {
    pub(crate) fn is_empty(&self) -> bool {
        self.lives.is_empty()
    }

    /// Bytes that are kept.
    pub(crate) fn bytes(&self) -> usize {
        self.total_bytes
    }

    /// Whether this peer announced this flow, of a life that is unknown yet.
    pub(crate) fn holds(&self, from: Origin, key: FlowKey) -> bool {
        let said = self.lives.get(&key.origin());
        let said = said.and_then(|said| said.get(&from));
        said.is_some_and(|said| said.flows.contains_key(&key))
    }

    /// Whether anybody announced this flow, of a life that is unknown yet.
    pub(crate) fn is_announced(&self, key: FlowKey) -> bool {
        let said = self.lives.get(&key.origin()).into_iter().flatten();
        said.into_iter()
            .any(|(_, said)| said.flows.contains_key(&key))
    }

    /// Keeps a frame that announces a flow of an unknown life; no more than `bytes_max` are kept of one peer.
    pub(crate) fn announce(
        &mut self,
        now: Time,
        from: Origin,
        key: FlowKey,
        frame: Frame,
        bytes_max: usize,
    ) -> Parking {
        let cost = cost_bytes(&frame.1);
        let lives = self.lives.values().filter(|said| said.contains_key(&from));
        let known = self.lives.get(&key.origin());
        let first = known.is_none_or(|said| !said.contains_key(&from));
        let too_many = first && lives.count() >= LIVES_MAX;
        if too_many || !self.has_room(from.node, cost, bytes_max) {
            return Parking::NoRoom;
        }
        let said = self.lives.entry(key.origin()).or_default();
        let said = said.entry(from).or_insert_with(|| Said {
            since: now,
            flows: BTreeMap::new(),
            frames: Vec::new(),
            ask_at: now + ASK_AGAIN,
            pause: ASK_AGAIN,
        });
        said.flows.entry(key).or_default();
        said.frames.push(frame);
        self.count_in(from, cost);
        if first { Parking::First } else { Parking::Kept }
    }

    /// Keeps another frame of a flow that this peer announced, with messages up to `upto`, or notes that they were not kept.
    pub(crate) fn follow(
        &mut self,
        from: Origin,
        (key, upto): (FlowKey, u64),
        frame: Option<Frame>,
        bytes_max: usize,
    ) {
        let cost = frame.as_ref().map_or(0, |(_, frame)| cost_bytes(frame));
        let fits = self.has_room(from.node, cost, bytes_max);
        let said = self.lives.get_mut(&key.origin());
        let Some(said) = said.and_then(|said| said.get_mut(&from)) else {
            return;
        };
        if let Some(frame) = frame.filter(|_| fits) {
            said.frames.push(frame);
            self.count_in(from, cost);
        } else if let Some(missed) = said.flows.get_mut(&key) {
            *missed = upto.max(*missed);
        }
    }

    fn has_room(&self, node: NodeId, cost: usize, bytes_max: usize) -> bool {
        let bytes = self.bytes.get(&node).copied().unwrap_or(0) + cost;
        let is_room = self.total_bytes + cost <= BYTES_MAX || bytes <= SHARE_BYTES;
        bytes <= bytes_max && is_room
    }

    fn count_in(&mut self, from: Origin, cost: usize) {
        *self.bytes.entry(from.node).or_default() += cost;
        self.total_bytes += cost;
    }

    /// Takes out what was said in the name of those lives that are known.
    pub(crate) fn take_known(&mut self, is_known: impl Fn(Origin) -> bool) -> Vec<(Origin, Said)> {
        let known = self.lives.keys().copied().filter(|&life| is_known(life));
        let known: Vec<Origin> = known.collect();
        let said = known.iter().filter_map(|life| self.lives.remove(life));
        let said: Vec<_> = said.flatten().collect();
        self.count_out(&said);
        said
    }

    /// Takes out what has been said of lives that nobody knows for too long: the lives, and who speaks of them.
    pub(crate) fn take_overdue(&mut self, now: Time) -> Vec<(Origin, Origin)> {
        let mut overdue = Vec::new();
        for (&life, said) in &self.lives {
            let late = said
                .iter()
                .filter(|(_, said)| said.since + UNKNOWN_MAX <= now);
            overdue.extend(late.map(|(&from, _)| (life, from)));
        }
        for (life, from) in &overdue {
            let said = self.lives.get_mut(life);
            let said = said.and_then(|said| said.remove(from));
            self.count_out(&[(*from, said.expect("it was just found"))]);
        }
        self.lives.retain(|_, said| !said.is_empty());
        overdue
    }

    fn count_out(&mut self, said: &[(Origin, Said)]) {
        for (from, said) in said {
            let cost: usize = said.frames.iter().map(|(_, frame)| cost_bytes(frame)).sum();
            if let Some(bytes) = self.bytes.get_mut(&from.node) {
                *bytes -= cost;
            }
            self.total_bytes -= cost;
        }
        self.bytes.retain(|_, bytes| *bytes > 0);
    }

    /// Drops everything; gives the lives that nobody needs to know any more.
    pub(crate) fn clear(&mut self) -> Vec<Origin> {
        let parked = std::mem::take(self);
        parked.lives.into_keys().collect()
    }

    /// Whether anybody speaks of a life that is unknown.
    pub(crate) fn awaits(&self, life: Origin) -> bool {
        self.lives.contains_key(&life)
    }

    /// The lives about which it is time to ask again, by who speaks of them.
    pub(crate) fn due_questions(&mut self, now: Time) -> BTreeMap<NodeId, Vec<Origin>> {
        let mut due: BTreeMap<NodeId, Vec<Origin>> = BTreeMap::new();
        for (&life, said) in &mut self.lives {
            for (from, said) in said.iter_mut().filter(|(_, said)| said.ask_at <= now) {
                said.pause = (2 * said.pause).min(ASK_AT_LEAST_EVERY);
                said.ask_at = now + said.pause;
                due.entry(from.node).or_default().push(life);
            }
        }
        due
    }
}

impl Said {
    /// The frames in the order in which they came, and the flows of which messages were not kept, each with the last of these.
    pub(crate) fn into_parts(self) -> (Vec<Frame>, Vec<(FlowKey, u64)>) {
        let missed = self.flows.into_iter().filter(|&(_, upto)| upto > 0);
        (self.frames, missed.collect())
    }
}

fn cost_bytes(frame: &Bytes) -> usize {
    frame.len() + OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use rolecast_membership::Epoch;

    use super::*;
    use crate::api::FlowId;
    use crate::wire::strategies::id;

    const ROOM: usize = 10 * (OVERHEAD_BYTES + 100);

    fn life(node: u8, epoch: u64) -> Origin {
        Origin {
            node: id(node),
            epoch: Epoch(epoch),
        }
    }

    fn key(node: u8, flow: u32) -> FlowKey {
        FlowKey {
            origin: id(node),
            epoch: Epoch(1),
            flow: FlowId(flow),
        }
    }

    fn frame() -> Frame {
        (LaneName::Data, Bytes::from_static(&[7; 100]))
    }

    #[test]
    fn what_one_peer_says_takes_the_room_of_no_other() {
        let mut parked = Parked::default();
        let mut park = |from, node, flow| {
            parked.announce(Time::ZERO, life(from, 1), key(node, flow), frame(), ROOM)
        };
        assert_eq!(park(2, 9, 1), Parking::First);
        for flow in 2..=10 {
            assert_eq!(park(2, 9, flow), Parking::Kept);
        }
        assert_eq!(park(2, 9, 11), Parking::NoRoom);
        assert_eq!(park(2, 8, 1), Parking::NoRoom, "of another life neither");
        assert_eq!(park(3, 9, 1), Parking::First);
        assert_eq!(parked.bytes(), ROOM + ROOM / 10);
        let known = parked.take_known(|of| of == life(9, 1));
        assert_eq!(known.len(), 2);
        assert!(parked.is_empty() && parked.bytes.is_empty());
    }

    #[test]
    fn whoever_comes_last_finds_room_too() {
        let mut parked = Parked::default();
        let large = || (LaneName::Data, Bytes::from_static(&[7; 10_000]));
        for from in 1..=200 {
            let mut flow = 0;
            while flow < 5_000
                && parked.announce(Time::ZERO, life(from, 1), key(0, flow), large(), usize::MAX)
                    != Parking::NoRoom
            {
                flow += 1;
            }
            assert!(flow > 4, "{from} finds no room");
        }
        let most = BYTES_MAX + 200 * SHARE_BYTES;
        assert!(parked.bytes() <= most, "{}", parked.bytes());
    }

    #[test]
    fn what_finds_no_room_is_missed_later() {
        let mut parked = Parked::default();
        let from = life(2, 1);
        parked.announce(Time::ZERO, from, key(9, 1), frame(), ROOM);
        for upto in 1..=20 {
            parked.follow(from, (key(9, 1), upto), Some(frame()), ROOM);
        }
        parked.follow(from, (key(9, 1), 12), None, ROOM);
        // Nothing was announced that this would follow.
        parked.follow(from, (key(9, 2), 5), Some(frame()), ROOM);
        assert!(parked.holds(from, key(9, 1)) && !parked.holds(from, key(9, 2)));
        assert!(!parked.holds(life(2, 2), key(9, 1)), "nor by another life");
        let known = parked.take_known(|_| true).pop();
        let (frames, missed) = known.expect("it was parked").1.into_parts();
        assert_eq!((frames.len(), missed), (10, vec![(key(9, 1), 20)]));
    }

    #[test]
    fn each_peer_has_its_time_and_is_asked_less_and_less_often() {
        let mut parked = Parked::default();
        let at = |millis| Time::from_millis(millis);
        let (one, two) = (life(2, 1), life(3, 1));
        parked.announce(at(0), one, key(9, 1), frame(), ROOM);
        parked.announce(at(10_000), two, key(9, 1), frame(), ROOM);
        let mut asked = Vec::new();
        for millis in (0..30_000).step_by(100) {
            if parked.due_questions(at(millis)).contains_key(&id(2)) {
                asked.push(millis);
            }
            assert!(parked.take_overdue(at(millis)).is_empty());
        }
        let first = [500, 1_500, 3_500, 7_500, 11_500];
        assert_eq!((&asked[..5], asked.last()), (&first[..], Some(&27_500)));
        assert_eq!(parked.take_overdue(at(30_000)), [(life(9, 1), one)]);
        assert!(parked.awaits(life(9, 1)));
        assert_eq!(parked.take_overdue(at(40_000)), [(life(9, 1), two)]);
        assert!(parked.is_empty() && parked.bytes() == 0);
    }
}

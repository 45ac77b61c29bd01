//! What peers say.

use std::time::Duration;

use bytes::Bytes;
use foca::{Member as SwimMember, Message, State};

use crate::antientropy::EVERYBODY;
use crate::codec::{Parsed, packet, parse, restore, shorten};
use crate::frame::{ANSWER_BYTES_MAX, Frame, Gone, PULL_MAX};
use crate::life::Life;
use crate::lives::Lived;
use crate::membership::{Membership, Phase};
use crate::packet::{News, Packet, PacketBuilder, Side};
use crate::peers::HAIL_PAUSE_MIN;
use crate::registry::{Digest, Entry, Stamp};
use crate::swim::LEFT;
use crate::tombs::TOMBS_MAX;
use crate::{Epoch, Event, Identity, NodeId, Output, Record, antientropy};

/// The most members that are taken in, whatever peers say.
pub(crate) const MEMBERS_MAX: usize = 8_192;

/// Between two exchanges, so many peers that connect are sent a digest.
///
/// Whoever joins a large mesh is connected to all of it within moments, and most digests differ as long as news are on their way: each of those peers would list everything that it knows.
const GREETED_MAX: u32 = 8;

impl Membership {
    /// A link is up: both sides introduce themselves, and compare what they know.
    pub(crate) fn on_connected(&mut self, identity: Identity) {
        let id = identity.id;
        if id == self.registry.own().identity.id {
            return;
        }
        let stranger = self.live_epoch(id) < Some(identity.epoch) && !self.tombs.left(identity);
        // Its own record is on its way and says enough, unless this node holds it for down.
        let patience = match self.tombs.epoch(id) {
            Some(_) => Duration::ZERO,
            None => HAIL_PAUSE_MIN,
        };
        self.lives.learned += 1;
        self.peers
            .connect(identity, stranger.then_some(self.now + patience));
        if self.swim.suspects(id) {
            // It is told so as soon as it can hear it.
            self.next_watch = self.now;
        }
        let bytes = self.own_frame();
        self.outputs.push_back(Output::Frame { to: id, bytes });
        if self.greeted < GREETED_MAX {
            self.greeted += 1;
            self.send_digest(id);
        }
    }

    pub(crate) fn on_datagram(&mut self, from: NodeId, bytes: &[u8]) {
        let Some(packet) = Packet::decode(bytes) else {
            return;
        };
        if !packet.swim.is_empty() {
            self.on_swim(from, packet.side, packet.swim);
            self.settle();
        }
        for news in packet.news {
            match news {
                News::Record(encoded) => self.on_record(from, encoded, true),
                News::Hint(entry) => self.on_hint(from, entry, true),
                News::Doubt(doubt) => {
                    if let Some(news) = self.swim.on_doubt(self.now, doubt) {
                        self.spread_doubt(&news);
                    }
                    self.settle();
                }
                News::Asked(number) => self.swim.on_asked(number),
            }
        }
    }

    pub(crate) fn on_frame(&mut self, from: NodeId, bytes: &[u8]) {
        match Frame::decode(bytes) {
            Some(Frame::Digest(digest)) => self.on_digest(from, digest),
            Some(Frame::Ranges {
                from: first,
                ranges,
            }) => {
                let answers = antientropy::answer(&self.registry, first, &ranges);
                self.send_frames(from, answers);
            }
            Some(Frame::Have {
                from: first,
                to: last,
                entries,
            }) => {
                self.on_have(from, first, last, &entries);
            }
            Some(Frame::Hint(entry)) => self.on_hint(from, entry, entry.id == from),
            Some(Frame::Pull(ids)) => self.answer(from, &ids),
            Some(Frame::Records(records)) => {
                for encoded in records {
                    self.on_record(from, encoded, false);
                }
            }
            Some(Frame::Gone(gone)) => self.on_gone(&gone),
            Some(Frame::Farewell(identity)) => self.on_farewell(from, identity),
            Some(Frame::Ask(lives)) => self.on_asked_about(from, &lives),
            Some(Frame::Known(lives)) => {
                for life in lives.into_iter().take(PULL_MAX) {
                    self.lives.on_known(life);
                }
            }
            None => {}
        }
    }

    /// The epoch in which a node is alive, whether its record is known or not.
    pub(crate) fn live_epoch(&self, id: NodeId) -> Option<Epoch> {
        let stamp = self.wants.vital(id).or_else(|| self.registry.stamp(id));
        stamp.map(|stamp| stamp.epoch)
    }

    /// SWIM's part of a packet, which is looked at before `foca` gets it.
    fn on_swim(&mut self, from: NodeId, side: Side, bytes: &[u8]) {
        let Some(packet) = restore(from, self.swim.life(), bytes) else {
            return;
        };
        let Some(mut parsed) = parse(&packet) else {
            return;
        };
        let src = parsed.header.src;
        if self.meets_later_self(&parsed) || self.is_full_for(&parsed) {
            return;
        }
        let known = self.live_epoch(from).max(self.tombs.epoch(from));
        if known > Some(src.epoch()) {
            self.tell_later_life(src);
            return;
        }
        let refused = parsed.header.message == Message::TurnUndead
            && parsed.header.dst == self.swim.life()
            && self.tombs.epoch(from) == Some(src.epoch());
        if refused && !self.yields_to(src, side) {
            return;
        }
        let bytes = parsed.keep(|update| self.is_news(update));
        self.notice_suspicions(&parsed);
        self.swim.on_packet(self.now, &bytes);
        if parsed.header.dst == self.swim.life() && self.tombs.epoch(from).is_none() {
            self.on_probe_message(src, &parsed.header.message);
        }
    }

    /// Whom the packet names as suspects.
    fn notice_suspicions(&mut self, parsed: &Parsed<'_>) {
        let own = self.swim.life();
        let suspects = parsed.updates.iter();
        for update in suspects.filter(|update| update.state() == State::Suspect) {
            if *update.id() == own {
                self.swim.on_accused(update.incarnation());
            } else {
                self.swim.set_doubt(true);
            }
        }
    }

    /// What a message of a probe says beside what `foca` makes of it.
    fn on_probe_message(&mut self, src: Life, message: &Message<Life>) {
        match message {
            Message::Ack(number) => self.swim.on_ack(self.now, src, *number),
            Message::ForwardedAck {
                origin,
                probe_number,
            } => self.swim.on_forwarded_ack(*origin, *probe_number),
            Message::PingReq { probe_number, .. } => {
                let mut packet = PacketBuilder::new(self.registry.side(), &[]);
                packet.add(&News::Asked(*probe_number).encode());
                let bytes = packet.finish();
                self.outputs
                    .push_back(Output::Datagram { to: src.0, bytes });
            }
            _ => {}
        }
    }

    /// Whether an update may change anything.
    ///
    /// Most say what is known; `foca` would look through all its members for each of them.
    fn is_news(&self, update: &SwimMember<Life>) -> bool {
        let (id, epoch) = (update.id().id(), update.id().epoch());
        if id == self.swim.life().id() {
            return true;
        }
        if let Some(down) = self.tombs.epoch(id) {
            return epoch > down;
        }
        let as_first = (update.state(), update.incarnation()) == (State::Alive, 0);
        match self.live_epoch(id) {
            Some(live) if as_first => epoch > live,
            Some(live) => epoch >= live,
            None => true,
        }
    }

    /// Whether the packet knows a later life of this very node.
    ///
    /// If that life is over, this one goes on behind it: it was started with a clock or a memory that lagged.
    fn meets_later_self(&mut self, parsed: &Parsed<'_>) -> bool {
        let own = self.swim.life();
        let later = |life: &Life| life.id() == own.id() && life.epoch() > own.epoch();
        let mentioned = parsed.updates.iter().find(|update| later(update.id()));
        if later(&parsed.header.src) {
            self.supersede(parsed.header.src.0);
            return true;
        }
        let Some(update) = mentioned else {
            return false;
        };
        match (update.state(), foca::Identity::renew(update.id())) {
            (State::Down, Some(next)) => {
                let life = Life(Identity {
                    addr: own.0.addr,
                    ..next.0
                });
                self.swim.change_life(self.now, life);
            }
            _ => self.supersede(update.id().0),
        }
        true
    }

    fn supersede(&mut self, by: Identity) {
        self.outputs.push_back(Output::Event(Event::Superseded(by)));
        self.phase = Phase::Over;
    }

    /// Whether the packet would bring in more members than there may be.
    fn is_full_for(&self, parsed: &Parsed<'_>) -> bool {
        if self.swim.active() + parsed.updates.len() < MEMBERS_MAX {
            return false;
        }
        let ids = parsed.updates.iter().map(|update| update.id().id());
        let unknown = ids
            .chain([parsed.header.src.id()])
            .filter(|id| self.live_epoch(*id).is_none() && self.tombs.epoch(*id).is_none())
            .count();
        unknown > 0 && self.swim.active() + unknown > MEMBERS_MAX
    }

    /// Answers a packet from a former life with what became of it.
    fn tell_later_life(&mut self, src: Life) {
        let Some(known) = self.swim.state(src.id()).cloned() else {
            return;
        };
        let swim = packet(self.swim.life(), src, Message::Gossip, Some(known));
        self.send_swim(src, &swim);
    }

    /// Two parts of the mesh took each other for down: settles whether this one comes back with a new epoch.
    ///
    /// It then takes all others for alive again until SWIM says otherwise, because they will not come back by themselves.
    fn yields_to(&mut self, src: Life, theirs: Side) -> bool {
        if self.tombs.left(src.0) {
            return false;
        }
        let ours = self.registry.side();
        let own = self.swim.life();
        if ours.outweighs(&theirs) || (ours == theirs && own.id() < src.id()) {
            if self
                .tombs
                .may_refuse(self.now, src.id(), self.tempo.probe_rtt)
            {
                let swim = packet(own, src, Message::TurnUndead, None);
                self.send_swim(src, &swim);
            }
            return false;
        }
        let pardoned = self.tombs.pardon_all();
        for life in &pardoned {
            self.swim.forget(self.now, *life);
        }
        // This also takes back what is still to be gossiped of their deaths.
        self.swim.apply(
            self.now,
            pardoned
                .into_iter()
                .map(|life| SwimMember::alive(Life(life))),
        );
        true
    }

    /// Someone holds lives for down that are alive here: the rumour of their death got lost, or it was false.
    ///
    /// A leave is believed; the rest is put under suspicion, and has time to answer.
    fn on_gone(&mut self, gone: &[Gone]) {
        for Gone { id, epoch, left } in gone.iter().take(TOMBS_MAX) {
            if *id == self.swim.life().id() || self.live_epoch(*id) != Some(*epoch) {
                continue;
            }
            let Some(state) = self.swim.state(*id) else {
                continue;
            };
            if *left {
                let down = SwimMember::new(*state.id(), LEFT, State::Down);
                self.swim.apply(self.now, [down]);
            } else {
                let (life, incarnation) = (*state.id(), state.incarnation());
                self.swim.accuse(self.now, life, incarnation);
            }
        }
    }

    fn on_farewell(&mut self, from: NodeId, identity: Identity) {
        if identity.id == from && self.live_epoch(from) == Some(identity.epoch) {
            self.swim.apply(
                self.now,
                [SwimMember::new(Life(identity), LEFT, State::Down)],
            );
        }
    }

    /// A link is gone: whoever was there has lived, and may be remembered by nothing else.
    pub(crate) fn on_disconnected(&mut self, id: NodeId) {
        let identity = self.peers.disconnect(id);
        self.note_lived(identity);
    }

    /// A link is closed until it is needed.
    pub(crate) fn on_rest(&mut self, id: NodeId) {
        let identity = self.peers.rest(id);
        self.note_lived(identity);
    }

    fn note_lived(&mut self, identity: Option<Identity>) {
        if let Some(identity) = identity
            && !self.knows_life(identity.id, identity.epoch)
        {
            self.lives.note(Lived::of(identity));
        }
    }

    fn on_asked_about(&mut self, from: NodeId, lives: &[Lived]) {
        let known = lives.iter().take(PULL_MAX);
        let known = known.filter(|life| self.knows_life(life.id, life.epoch));
        let known: Vec<Lived> = known.copied().collect();
        if !known.is_empty() {
            self.send_frames(from, vec![Frame::Known(known).encode()]);
        }
    }

    fn on_digest(&mut self, from: NodeId, digest: Digest) {
        if digest != self.registry.digest() {
            let known = antientropy::tell(&self.registry, EVERYBODY);
            self.send_frames(from, vec![known]);
        }
    }

    fn on_have(&mut self, from: NodeId, first: NodeId, last: NodeId, entries: &[Entry]) {
        let difference = antientropy::compare(&self.registry, first, last, entries);
        let ours = difference
            .ours
            .iter()
            .filter_map(|id| self.registry.encoded(*id));
        let room = self.answered.entry(from).or_insert(ANSWER_BYTES_MAX);
        let frames = Frame::records(ours, room);
        self.send_frames(from, frames);
        let (mut pull, mut gone) = (Vec::new(), Vec::new());
        for entry in difference.theirs {
            // Whom one holds for alive and the other for down is worth a call from both.
            gone.extend(self.tombs.doubt(self.now, entry.id, entry.stamp.epoch));
            if self.is_wanted(entry) {
                pull.push(entry.id);
            }
        }
        if !gone.is_empty() {
            self.send_frames(from, vec![Frame::Gone(gone).encode()]);
        }
        for ids in pull.chunks(PULL_MAX) {
            let bytes = Frame::Pull(ids.to_vec()).encode();
            self.outputs.push_back(Output::Frame { to: from, bytes });
        }
    }

    /// Whether a record would be taken in.
    fn is_wanted(&self, entry: Entry) -> bool {
        let Entry { id, stamp } = entry;
        // Most of what is told is known.
        if self.registry.stamp(id).is_some_and(|known| known >= stamp) {
            return false;
        }
        let live = self.live_epoch(id);
        id != self.registry.own().identity.id
            && self.tombs.epoch(id).is_none_or(|epoch| epoch < stamp.epoch)
            && live.is_none_or(|epoch| epoch <= stamp.epoch)
            && (live.is_some() || self.swim.active() < MEMBERS_MAX)
    }

    fn on_hint(&mut self, from: NodeId, entry: Entry, relay: bool) {
        if self.is_wanted(entry) {
            self.wants.add_hint(self.now, entry, relay, from);
        }
    }

    fn answer(&mut self, to: NodeId, ids: &[NodeId]) {
        let ids = ids.iter().take(PULL_MAX);
        let room = self.answered.entry(to).or_insert(ANSWER_BYTES_MAX);
        let frames = Frame::records(ids.filter_map(|id| self.registry.encoded(*id)), room);
        self.send_frames(to, frames);
    }

    fn send_frames(&mut self, to: NodeId, frames: Vec<Bytes>) {
        self.outputs
            .extend(frames.into_iter().map(|bytes| Output::Frame { to, bytes }));
    }

    /// Takes in a record, if it is newer than what is known and its node is not down in that life.
    ///
    /// `news` says that it came as news, and is passed on as such; a record from its own node is news too.
    fn on_record(&mut self, from: NodeId, encoded: &[u8], news: bool) {
        if self.phase == Phase::Over {
            return;
        }
        let Some((identity, version)) = Record::peek(encoded) else {
            return;
        };
        let entry = Entry {
            id: identity.id,
            stamp: Stamp {
                epoch: identity.epoch,
                version,
            },
        };
        let own = self.swim.life();
        if entry.id == own.id() {
            if identity.epoch > own.epoch() {
                self.supersede(identity);
            }
            return;
        }
        if !self.is_wanted(entry) {
            return;
        }
        let Some(record) = Record::decode(encoded) else {
            return;
        };
        if self.live_epoch(entry.id) != Some(identity.epoch) {
            // Its record is the news of it: SWIM need not tell the same once more.
            self.swim.admit(self.now, Life(identity));
            self.settle();
        }
        if self.live_epoch(entry.id) == Some(identity.epoch) {
            self.accept(
                record,
                Bytes::copy_from_slice(encoded),
                news || from == entry.id,
            );
        }
    }

    /// Puts in the record of a member that is alive in that life.
    fn accept(&mut self, record: Record, encoded: Bytes, news: bool) {
        let entry = Entry {
            id: record.identity.id,
            stamp: Stamp::of(&record),
        };
        let want = self.wants.remove(entry.id);
        if news || want.is_some_and(|want| want.relay) {
            self.gossip.push(self.now, entry, &encoded);
        }
        let event = match self.registry.put(record.clone(), encoded) {
            None => Event::Joined(record),
            Some(before) if before.identity.epoch == record.identity.epoch => Event::Updated {
                before,
                after: record,
            },
            Some(before) => Event::Replaced {
                before,
                after: record,
            },
        };
        self.outputs.push_back(Output::Event(event));
    }

    pub(crate) fn send_swim(&mut self, to: Life, swim: &[u8]) {
        let bytes = PacketBuilder::new(self.registry.side(), &shorten(swim)).finish();
        self.outputs.push_back(Output::Datagram { to: to.0, bytes });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::PacketBuilder;
    use crate::tombs::TOMBS_MAX;
    use crate::{Config, Input, Profile, Time};

    fn identity(number: u32) -> Identity {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let addr = ([10, 0, 0, 1], 7400).into();
        Identity {
            id: NodeId::from_bytes(id),
            epoch: Epoch(1),
            addr,
        }
    }

    fn membership() -> Membership {
        let record = Record::new(identity(1));
        let config = Config {
            record,
            seeds: Vec::new(),
            profile: Profile::Lan,
        };
        let mut membership = Membership::new(config, 1, Time::ZERO);
        membership.handle(Time::ZERO, Input::PeerConnected(identity(2)));
        membership
    }

    fn packet_from(peer: u32, updates: impl Iterator<Item = SwimMember<Life>>) -> Bytes {
        let (src, dst) = (Life(identity(peer)), Life(identity(1)));
        let mut swim = packet(src, dst, Message::Gossip, None);
        let updates: Vec<_> = updates.collect();
        swim.extend_from_slice(&u16::try_from(updates.len()).expect("few").to_be_bytes());
        for update in updates {
            foca::Codec::encode_member(&mut crate::codec::PacketCodec, &update, &mut swim)
                .expect("a vector has room");
        }
        PacketBuilder::new(Side { live: 2, low: 0 }, &shorten(&swim)).finish()
    }

    fn drain(membership: &mut Membership) {
        while membership.poll_output().is_some() {}
    }

    #[test]
    fn a_peer_cannot_make_a_node_keep_records_without_bound() {
        let mut membership = membership();
        let records: Vec<Bytes> = (2..MEMBERS_MAX as u32 + 1_000)
            .map(|n| Record::new(identity(n)).encode())
            .collect();
        let from = identity(2).id;
        for bytes in Frame::records(records.iter(), &mut ANSWER_BYTES_MAX.clone()) {
            membership.handle(Time::ZERO, Input::Frame { from, bytes });
            drain(&mut membership);
        }
        assert_eq!(membership.members().count(), MEMBERS_MAX);
        // Packets bring in nobody either, but those who are in are still heard.
        let strangers = (20_000..20_010).map(|n| SwimMember::alive(Life(identity(n))));
        let bytes = packet_from(2, strangers);
        membership.handle(Time::ZERO, Input::Datagram { from, bytes });
        assert_eq!(membership.swim.states().count(), MEMBERS_MAX);
        let bytes = packet_from(2, [SwimMember::down(Life(identity(3)))].into_iter());
        membership.handle(Time::ZERO, Input::Datagram { from, bytes });
        assert_eq!(membership.members().count(), MEMBERS_MAX - 1);
    }

    #[test]
    fn a_peer_cannot_make_a_node_remember_the_dead_or_want_records_without_bound() {
        let mut membership = membership();
        let from = identity(2).id;
        for start in (0..4_000).step_by(10) {
            let dead = (start..start + 10).map(|n| SwimMember::down(Life(identity(n + 100))));
            let bytes = packet_from(2, dead);
            membership.handle(Time::ZERO, Input::Datagram { from, bytes });
            drain(&mut membership);
        }
        assert_eq!(membership.swim.states().count(), TOMBS_MAX + 1);
        for number in 10_000..14_000 {
            let stamp = Stamp {
                epoch: Epoch(1),
                version: 1,
            };
            let bytes = Frame::Hint(Entry {
                id: identity(number).id,
                stamp,
            })
            .encode();
            membership.handle(Time::ZERO, Input::Frame { from, bytes });
            drain(&mut membership);
        }
        assert!(membership.wants.len() <= crate::wants::HINTS_MAX + 1);
    }

    #[test]
    fn nobody_speaks_for_another_node() {
        let mut membership = membership();
        let bytes = packet_from(3, std::iter::empty());
        membership.handle(
            Time::ZERO,
            Input::Datagram {
                from: identity(2).id,
                bytes: bytes.clone(),
            },
        );
        // It counts as said by whoever the link is to.
        assert_eq!(membership.swim.active(), 1);
        assert_eq!(membership.live_epoch(identity(3).id), None);
        membership.handle(
            Time::ZERO,
            Input::Datagram {
                from: identity(3).id,
                bytes,
            },
        );
        assert_eq!(membership.swim.active(), 2);
        let bytes = Frame::Farewell(identity(3)).encode();
        membership.handle(
            Time::ZERO,
            Input::Frame {
                from: identity(2).id,
                bytes: bytes.clone(),
            },
        );
        assert_eq!(membership.swim.active(), 2);
        membership.handle(
            Time::ZERO,
            Input::Frame {
                from: identity(3).id,
                bytes,
            },
        );
        assert_eq!(membership.swim.active(), 1);
    }

    /// What a node answers when it is asked about these lives.
    fn known_to(membership: &mut Membership, lives: &[Lived]) -> Vec<Lived> {
        let (from, bytes) = (identity(2).id, Frame::Ask(lives.to_vec()).encode());
        drain(membership);
        membership.handle(Time::ZERO, Input::Frame { from, bytes });
        let outputs = std::iter::from_fn(|| membership.poll_output());
        let frames = outputs.filter_map(|output| match output {
            Output::Frame { to, bytes } if to == from => Some(bytes),
            _ => None,
        });
        let answers = frames.map(|bytes| match Frame::decode(&bytes) {
            Some(Frame::Known(lives)) => lives,
            other => panic!("{other:?}"),
        });
        answers.flatten().collect()
    }

    #[test]
    fn who_is_asked_vouches_for_whoever_lives_was_buried_or_was_met() {
        let mut membership = membership();
        let from = identity(2).id;
        // 3 lives, 4 is down, 5 was connected for a moment, and of 6 nobody spoke.
        let bytes = Frame::Records(vec![&Record::new(identity(3)).encode()]).encode();
        membership.handle(Time::ZERO, Input::Frame { from, bytes });
        let bytes = packet_from(2, [SwimMember::down(Life(identity(4)))].into_iter());
        membership.handle(Time::ZERO, Input::Datagram { from, bytes });
        membership.handle(Time::ZERO, Input::PeerConnected(identity(5)));
        let life = |number, epoch| Lived {
            id: identity(number).id,
            epoch: Epoch(epoch),
        };
        let all: Vec<Lived> = (1..7).map(|number| life(number, 1)).collect();
        assert_eq!(known_to(&mut membership, &all), all[..5]);
        let gone = Input::PeerDisconnected(identity(5).id);
        membership.handle(Time::ZERO, gone);
        assert_eq!(known_to(&mut membership, &all), all[..5]);
        // Nobody knows what comes after the life that is known.
        let later: Vec<Lived> = (1..7).map(|number| life(number, 2)).collect();
        assert_eq!(known_to(&mut membership, &later), []);
    }

    #[test]
    fn a_life_is_known_once_somebody_who_was_asked_says_so() {
        let mut membership = membership();
        let (from, life) = (identity(2).id, Lived::of(identity(9)));
        let answer = |lives: &[Lived]| Input::Frame {
            from,
            bytes: Frame::Known(lives.to_vec()).encode(),
        };
        membership.handle(Time::ZERO, answer(&[life]));
        assert!(!membership.knows_life(life.id, life.epoch), "nobody asked");
        drain(&mut membership);
        membership.ask_about(Time::ZERO, from, &[(life.id, life.epoch)]);
        let asked = membership.poll_output();
        let Some(Output::Frame { to, bytes }) = asked else {
            panic!("{asked:?}");
        };
        assert_eq!(
            (to, Frame::decode(&bytes)),
            (from, Some(Frame::Ask(vec![life])))
        );
        let learned = membership.lives_learned();
        membership.handle(
            Time::ZERO,
            answer(&[Lived {
                epoch: Epoch(2),
                ..life
            }]),
        );
        assert!(
            !membership.knows_life(life.id, life.epoch),
            "that was not the question"
        );
        membership.handle(Time::ZERO, answer(&[life]));
        assert!(membership.knows_life(life.id, life.epoch));
        assert!(!membership.knows_life(life.id, Epoch(2)));
        assert!(membership.lives_learned() > learned);
    }

    #[test]
    fn a_rumour_of_death_from_elsewhere_is_put_to_question() {
        let mut membership = membership();
        let from = identity(2).id;
        let records: Vec<Bytes> = (2..5).map(|n| Record::new(identity(n)).encode()).collect();
        let bytes = Frame::records(records.iter(), &mut ANSWER_BYTES_MAX.clone()).remove(0);
        membership.handle(Time::ZERO, Input::Frame { from, bytes });
        drain(&mut membership);
        let gone = |number, left| Gone {
            id: identity(number).id,
            epoch: Epoch(1),
            left,
        };
        let bytes = Frame::Gone(vec![gone(3, false), gone(4, true)]).encode();
        membership.handle(Time::ZERO, Input::Frame { from, bytes });
        let events = |membership: &mut Membership| {
            let mut events = Vec::new();
            while let Some(output) = membership.poll_output() {
                if let Output::Event(event) = output {
                    events.push(event);
                }
            }
            events
        };
        let expected = [Event::Left(identity(4)), Event::Suspected(identity(3).id)];
        assert_eq!(events(&mut membership), expected, "a leave is no opinion");
        while let Some(now) = membership
            .poll_timeout()
            .filter(|now| *now < Time::from_millis(4_100))
        {
            membership.handle(now, Input::Timeout);
        }
        assert!(events(&mut membership).contains(&Event::Down(identity(3))));
    }
}

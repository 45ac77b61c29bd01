//! The membership of one node: its entry points and its clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use foca::{Member as SwimMember, Message, State};
use rand::rngs::ChaCha8Rng;

use crate::codec::shorten;
use crate::frame::{Frame, PULL_MAX};
use crate::gossip::{Gossip, NEWS_BYTES_MAX};
use crate::life::Life;
use crate::lives::{Lived, Lives};
use crate::packet::PacketBuilder;
use crate::peers::Peers;
use crate::random::{fork, jitter, sample};
use crate::registry::{Entry, Registry, Stamp};
use crate::seeds::Seeds;
use crate::swim::{LEFT, Swim, is_active};
use crate::tempo::{Tempo, transmissions};
use crate::tombs::Tombs;
use crate::wants::{Ask, Wants};
use crate::{
    Config, Epoch, Event, Input, Liveness, Member, NodeId, Output, ROLES_MAX, Record, RecordError,
    RoleName, Tenure, Time, UNREACHABLE_MAX,
};

/// The membership of one node.
///
/// After every call that takes `now`, drain [`Membership::poll_output`] to `None`, and call [`Membership::handle`] with [`Input::Timeout`] when [`Membership::poll_timeout`] says.
///
/// ```
/// use rolecast_membership::*;
///
/// let identity = Identity { id: NodeId::from_bytes([1; 32]), epoch: Epoch(1), addr: ([127, 0, 0, 1], 7400).into() };
/// let config = Config { record: Record::new(identity), seeds: vec![([127, 0, 0, 1], 7401).into()], profile: Profile::Lan };
/// let mut membership = Membership::new(config, 42, Time::ZERO);
/// assert!(matches!(membership.poll_output(), Some(Output::DialSeed { .. })));
/// let tenure = membership.take_up(Time::ZERO, RoleName::new("db:master")?)?;
/// assert_eq!(membership.record().roles.values().next(), Some(&tenure));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Membership {
    pub(crate) now: Time,
    pub(crate) tempo: Tempo,
    pub(crate) phase: Phase,
    pub(crate) swim: Swim,
    pub(crate) registry: Registry,
    pub(crate) gossip: Gossip,
    pub(crate) peers: Peers,
    pub(crate) seeds: Seeds,
    pub(crate) tombs: Tombs,
    pub(crate) wants: Wants,
    pub(crate) lives: Lives,
    pub(crate) rng: ChaCha8Rng,
    pub(crate) outputs: VecDeque<Output>,
    /// When a digest is exchanged with some peer.
    next_exchange: Time,
    /// How many peers that connected were sent one since.
    pub(crate) greeted: u32,
    /// How many bytes of records each peer that asked for some since may still get.
    pub(crate) answered: BTreeMap<NodeId, usize>,
    /// When those that are down are called, as long as there are any.
    next_reach: Time,
    /// When members are looked at for suspicion, if there is a doubt.
    pub(crate) next_watch: Time,
    /// The earliest of all deadlines.
    deadline: Option<Time>,
}

/// Whether this node takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Active,
    /// It left or was superseded: nothing comes out any more.
    Over,
}

impl Membership {
    /// Starts a mesh of one, and looks for the seeds.
    ///
    /// Equal arguments and equal calls give equal outputs, on every machine.
    ///
    /// # Panics
    /// If the record does not pass [`Record::check`]: no peer would accept it.
    #[must_use]
    pub fn new(config: Config, seed: u64, now: Time) -> Self {
        let Config {
            record,
            seeds,
            profile,
        } = config;
        record.check().expect("the caller checked the record");
        let tempo = Tempo::of(profile);
        let mut rng = fork(seed, 1);
        let encoded = record.encode();
        let mut membership = Membership {
            now,
            tempo,
            phase: Phase::Active,
            swim: Swim::new(record.identity, tempo, fork(seed, 2)),
            seeds: Seeds::new(now, seeds, record.identity.addr),
            registry: Registry::new(record, encoded),
            gossip: Gossip::new(tempo.gossip_period),
            peers: Peers::default(),
            tombs: Tombs::default(),
            wants: Wants::default(),
            lives: Lives::default(),
            next_exchange: now + jitter(&mut rng, tempo.exchange_period),
            greeted: 0,
            answered: BTreeMap::new(),
            next_reach: now,
            next_watch: now,
            rng,
            outputs: VecDeque::new(),
            deadline: None,
        };
        membership.dial_seeds();
        membership.find_deadline();
        membership
    }

    /// Of how many other nodes something is remembered: those that are members, and those that are down or left and are still called now and then.
    ///
    /// It is bounded by what lives and by the tombs that are kept, whatever came and went.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.registry.members().count() + self.tombs.len()
    }

    /// Takes in what happened; a peer's bytes cannot make it fail.
    pub fn handle(&mut self, now: Time, input: Input) {
        if !self.begin(now) {
            return;
        }
        match input {
            Input::PeerConnected(identity) => self.on_connected(identity),
            Input::PeerDisconnected(id) => self.on_disconnected(id),
            Input::PeerRests(id) => self.on_rest(id),
            Input::Datagram { from, bytes } => {
                self.swim.on_heard(self.now);
                self.on_datagram(from, &bytes);
            }
            Input::Frame { from, bytes } => {
                self.swim.on_heard(self.now);
                self.on_frame(from, &bytes);
            }
            Input::Timeout => self.swim.on_timeout(self.now, &self.peers),
        }
        self.finish();
        self.find_deadline();
    }

    /// What is to be done next; drain to `None` after every call that takes `now`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call `handle` with `Input::Timeout` at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.deadline
    }

    /// Takes over when something is due next.
    fn find_deadline(&mut self) {
        self.deadline = self.next_deadline();
    }

    fn next_deadline(&self) -> Option<Time> {
        if self.phase == Phase::Over {
            return None;
        }
        [
            self.swim.deadline(),
            self.gossip.deadline(),
            self.peers.deadline(),
            self.seeds.deadline(),
            self.wants.deadline(),
            Some(self.next_exchange),
            (!self.tombs.is_empty()).then_some(self.next_reach),
            self.swim.in_doubt().then_some(self.next_watch),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Takes up a role; if it is held already, gives the tenure it has.
    ///
    /// # Errors
    /// [`RecordError`] if the record would pass a limit; nothing has changed then.
    pub fn take_up(&mut self, now: Time, role: RoleName) -> Result<Tenure, RecordError> {
        self.take_up_with(now, role, 0)
    }

    /// Takes up a role and asks its senders for so many messages that they sent before; if it is held already, gives the tenure it has.
    ///
    /// # Errors
    /// [`RecordError`] if the record would pass a limit; nothing has changed then.
    pub fn take_up_with(
        &mut self,
        now: Time,
        role: RoleName,
        replay: u32,
    ) -> Result<Tenure, RecordError> {
        let own = self.registry.own();
        if let Some(tenure) = own.roles.get(&role) {
            return Ok(*tenure);
        }
        if own.roles.len() >= ROLES_MAX {
            return Err(RecordError::TooManyRoles {
                roles: own.roles.len() + 1,
            });
        }
        let mut record = own.clone();
        record.version += 1;
        let tenure = Tenure(record.version);
        if replay > 0 {
            record.replays.insert(role.clone(), replay);
        }
        record.roles.insert(role, tenure);
        record.check()?;
        self.publish(now, record);
        Ok(tenure)
    }

    /// Drops a role; says whether it was held.
    pub fn drop_role(&mut self, now: Time, role: &RoleName) -> bool {
        if !self.registry.own().roles.contains_key(role) {
            return false;
        }
        let mut record = self.registry.own().clone();
        record.version += 1;
        record.roles.remove(role);
        record.replays.remove(role);
        self.publish(now, record);
        true
    }

    /// Says which members this node cannot reach itself, if that has changed; the first [`UNREACHABLE_MAX`] of them count.
    pub fn set_unreachable(&mut self, now: Time, mut unreachable: BTreeSet<NodeId>) {
        while unreachable.len() > UNREACHABLE_MAX {
            unreachable.pop_last();
        }
        if self.registry.own().unreachable == unreachable {
            return;
        }
        let mut record = self.registry.own().clone();
        record.version += 1;
        record.unreachable = unreachable;
        // A record so full that this finds no room goes on saying what it said.
        if record.check().is_ok() {
            self.publish(now, record);
        }
    }

    /// Looks for the mesh at these addresses instead of the former seeds; at most [`SEEDS_MAX`](crate::SEEDS_MAX) of them count.
    ///
    /// An address that was a seed before is dialled when it was due anyway, another one at once.
    pub fn set_seeds(&mut self, now: Time, seeds: Vec<SocketAddr>) {
        if self.begin(now) {
            self.seeds.replace(self.now, seeds);
            self.dial_seeds();
            self.find_deadline();
        }
    }

    /// Tells the mesh that this node leaves; nothing but the farewell comes out from here on.
    pub fn leave(&mut self, now: Time) {
        if !self.begin(now) {
            return;
        }
        let own = self.swim.life();
        let farewell = Frame::Farewell(own.0).encode();
        for to in self.peers.ids() {
            self.outputs.push_back(Output::Frame {
                to,
                bytes: farewell.clone(),
            });
        }
        let members = self.registry.members().map(|member| member.record.identity);
        for to in sample(&mut self.rng, members, FAREWELLS_MAX) {
            let down = SwimMember::new(own, LEFT, State::Down);
            let swim = crate::codec::packet(own, Life(to), Message::Gossip, Some(down));
            let bytes = PacketBuilder::new(self.registry.side(), &shorten(&swim)).finish();
            self.outputs.push_back(Output::Datagram { to, bytes });
        }
        self.phase = Phase::Over;
        self.find_deadline();
    }

    /// This node's own record.
    #[must_use]
    pub fn record(&self) -> &Record {
        self.registry.own()
    }

    /// The live member with this id; this node itself is not among them.
    #[must_use]
    pub fn member(&self, id: NodeId) -> Option<&Member> {
        self.registry.member(id)
    }

    /// The live members in the order of their ids; this node itself is not among them.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.registry.members()
    }

    /// Whether there has been this life of a node, or one after it, as far as this node knows: by a link to it, from the mesh, or because others said so when they were asked ([`Membership::ask_about`]).
    #[must_use]
    pub fn knows_life(&self, id: NodeId, epoch: Epoch) -> bool {
        let own = self.swim.life();
        let known = [
            (own.id() == id).then(|| own.epoch()),
            self.live_epoch(id),
            self.tombs.epoch(id),
            self.peers.epoch(id),
            self.lives.latest(id),
        ];
        known.into_iter().max().flatten() >= Some(epoch)
    }

    /// How often something was learned that may change an answer of [`Membership::knows_life`] from no to yes.
    #[must_use]
    pub fn lives_learned(&self) -> u64 {
        self.lives.learned
    }

    /// Asks a peer whether there have been these lives; what it says counts once for each, until [`Membership::stop_asking`].
    pub fn ask_about(&mut self, now: Time, to: NodeId, lives: &[(NodeId, Epoch)]) {
        if !self.begin(now) {
            return;
        }
        let lives: Vec<Lived> = lives
            .iter()
            .map(|&(id, epoch)| Lived { id, epoch })
            .collect();
        for &life in &lives {
            self.lives.ask(life);
        }
        for lives in lives.chunks(PULL_MAX) {
            let bytes = Frame::Ask(lives.to_vec()).encode();
            self.outputs.push_back(Output::Frame { to, bytes });
        }
    }

    /// What is said of this life does not count any more.
    pub fn stop_asking(&mut self, id: NodeId, epoch: Epoch) {
        self.lives.forget_question(Lived { id, epoch });
    }

    /// Sets the time; says whether this node takes part at all.
    fn begin(&mut self, now: Time) -> bool {
        self.now = self.now.max(now);
        if self.phase == Phase::Active {
            self.swim.absorb_stall(self.now);
        }
        self.phase == Phase::Active
    }

    /// Does whatever is due, and what follows from it.
    fn finish(&mut self) {
        self.settle();
        if self.phase == Phase::Over {
            return;
        }
        self.watch();
        self.hail();
        self.reach();
        self.fetch();
        self.exchange();
        self.dial_seeds();
        self.settle();
        self.spread();
    }

    /// Replaces the own record and spreads it.
    pub(crate) fn publish(&mut self, now: Time, record: Record) {
        let encoded = record.encode();
        self.registry.set_own(record, encoded);
        if self.begin(now) {
            self.push_own();
            self.spread();
            self.find_deadline();
        }
    }

    /// Makes the own record news.
    pub(crate) fn push_own(&mut self) {
        let entry = self.own_entry();
        self.gossip
            .push_own(self.now, entry, self.registry.own_encoded());
    }

    pub(crate) fn own_entry(&self) -> Entry {
        let own = self.registry.own();
        Entry {
            id: own.identity.id,
            stamp: Stamp::of(own),
        }
    }

    /// The own record for one peer: all of it, or a hint if it is large.
    pub(crate) fn own_frame(&self) -> bytes::Bytes {
        let encoded = self.registry.own_encoded();
        if encoded.len() <= NEWS_BYTES_MAX {
            Frame::Records(vec![encoded]).encode()
        } else {
            Frame::Hint(self.own_entry()).encode()
        }
    }

    /// Sends news to a few random members, if a round is due.
    fn spread(&mut self) {
        if self.phase == Phase::Over || !self.gossip.begin_round(self.now) {
            return;
        }
        let limit = transmissions(self.registry.len() + 1);
        let side = self.registry.side();
        let members = self.registry.members().map(|member| member.record.identity);
        let members = members.filter(|member| !self.peers.spares(member.id));
        for to in sample(&mut self.rng, members, self.tempo.gossip_fanout) {
            let mut packet = PacketBuilder::new(side, &[]);
            self.gossip.fill(&mut packet, limit);
            if !packet.is_empty() {
                self.outputs.push_back(Output::Datagram {
                    to,
                    bytes: packet.finish(),
                });
            }
        }
        self.gossip.end_round(self.now);
    }

    /// Compares SWIM's suspicions with what was reported, if there is a doubt.
    fn watch(&mut self) {
        if !self.swim.in_doubt() || self.next_watch > self.now {
            return;
        }
        self.next_watch = self.now + WATCH_PERIOD;
        let mut suspects = 0;
        for state in self.swim.states().filter(|state| is_active(state)) {
            let suspect = state.state() == State::Suspect;
            suspects += usize::from(suspect);
            let liveness = if suspect {
                Liveness::Suspect
            } else {
                Liveness::Alive
            };
            let id = state.id().id();
            if self.registry.set_liveness(id, liveness) {
                let event = if suspect {
                    Event::Suspected(id)
                } else {
                    Event::AliveAgain(id)
                };
                self.outputs.push_back(Output::Event(event));
            }
        }
        self.swim.set_doubt(suspects > 0);
        self.challenge();
    }

    /// Tells those whom this node suspects so, until they answer.
    ///
    /// In plain SWIM one rumour has to reach the suspect and another one has to come back; with loss one of them sometimes does not.
    /// (The "buddy system" of Dadgar, Phillips, Currey: "Lifeguard: Local Health Awareness for More Accurate Failure Detection", 2017, section IV-C.)
    fn challenge(&mut self) {
        for suspect in self.swim.take_stock() {
            let to = *suspect.id();
            // The answer counts by its incarnation; no probe is waiting for this number.
            let ping = Message::Ping(0);
            let swim = crate::codec::packet(self.swim.life(), to, ping, Some(suspect));
            self.send_swim(to, &swim);
        }
    }

    /// Asks connected peers that are no members to take this node in.
    fn hail(&mut self) {
        for identity in self.peers.take_hails(self.now) {
            self.swim.announce(self.now, identity);
        }
    }

    /// Calls those that are down.
    fn reach(&mut self) {
        if self.tombs.is_empty() || self.next_reach > self.now {
            return;
        }
        self.next_reach = self.now + jitter(&mut self.rng, REACH_TICK);
        for life in self.tombs.take_expired(self.now) {
            self.lives.note(Lived::of(life));
            self.swim.forget(self.now, life);
        }
        let period = self.tempo.reach_period;
        let live = self.registry.len() + 1;
        for life in self.tombs.take_calls(self.now, period, live, &mut self.rng) {
            self.swim.announce(self.now, life);
        }
    }

    /// Asks for records that are missing.
    fn fetch(&mut self) {
        for (id, ask) in self.wants.take_due(self.now) {
            let asked = match ask {
                Ask::Source(source) => Some(source),
                Ask::Itself => Some(id),
                Ask::Anyone => None,
            };
            let to = asked
                .filter(|peer| self.peers.is_connected(*peer))
                .or_else(|| self.peers.any(&mut self.rng, Some(id)));
            if let Some(to) = to {
                let bytes = Frame::Pull(vec![id]).encode();
                self.outputs.push_back(Output::Frame { to, bytes });
            }
        }
    }

    /// Compares what is known with some peer.
    fn exchange(&mut self) {
        if self.next_exchange > self.now {
            return;
        }
        self.next_exchange = self.now + jitter(&mut self.rng, self.tempo.exchange_period);
        self.greeted = 0;
        self.answered.clear();
        if let Some(to) = self.peers.any(&mut self.rng, None) {
            self.send_digest(to);
        }
    }

    pub(crate) fn send_digest(&mut self, to: NodeId) {
        let bytes = Frame::Digest(self.registry.digest()).encode();
        self.outputs.push_back(Output::Frame { to, bytes });
    }

    fn dial_seeds(&mut self) {
        if self
            .seeds
            .deadline()
            .is_none_or(|deadline| deadline > self.now)
        {
            return;
        }
        let alone = self.swim.active() == 0;
        let members = self.registry.members();
        let addrs: BTreeSet<SocketAddr> = members.map(|m| m.record.identity.addr).collect();
        let lives_at = |addr| addrs.contains(&addr);
        for addr in self
            .seeds
            .take_due(self.now, alone, lives_at, &mut self.rng)
        {
            self.outputs.push_back(Output::DialSeed { addr });
        }
    }
}

/// How many members hear of a leave by a packet; every connected peer hears of it by a frame.
const FAREWELLS_MAX: usize = 128;
/// How often suspicions are looked at, while there is a doubt.
const WATCH_PERIOD: Duration = Duration::from_millis(250);
/// How often it is looked up who is to be called.
const REACH_TICK: Duration = Duration::from_secs(1);

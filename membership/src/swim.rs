//! SWIM, with our time and our randomness.
//!
//! `foca` decides who is alive; it asks for packets to be sent and for timers, and says what changed.
//! All of that is collected in [`Effects`], so that nothing happens while `foca` runs.
//! No error of `foca` stops anything: it means that one packet or one step of a probe was lost, which SWIM survives.

mod accusations;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use foca::{
    Error, Foca, Incarnation, Member, Message, NoCustomBroadcast, Notification, ProbeNumber,
    Runtime, State, Timer,
};
use rand::rngs::ChaCha8Rng;

use crate::codec::{PacketCodec, packet, ping_number};
use crate::health::Health;
use crate::life::Life;
use crate::peers::Peers;
use crate::probe::Probe;
use crate::suspicion::{Doubt, Suspicions};
use crate::tempo::Tempo;
use crate::{Identity, NodeId, Time};

/// The incarnation of a member that left by its own will.
///
/// Down wins over whatever was known, with any incarnation; so the incarnation can say why, and says it wherever the update spreads.
pub(crate) const LEFT: foca::Incarnation = foca::Incarnation::MAX;

/// What `foca` wants done, and whom it changed its mind about.
#[derive(Default)]
pub(crate) struct Effects {
    /// Packets to send.
    pub(crate) sends: Vec<(Life, Bytes)>,
    /// Lives that are down from here on.
    pub(crate) downs: Vec<Life>,
    /// Nodes whose state may have changed.
    pub(crate) touched: BTreeSet<NodeId>,
    /// The own new life, if the old one was declared down.
    pub(crate) renewed: Option<Life>,
    /// Suspicions of this node's own, which others are to hear of.
    pub(crate) doubts: Vec<Doubt>,
    /// Whether the last active member was lost.
    pub(crate) idle: bool,
    timers: Vec<(Duration, Timer<Life>)>,
}

impl Effects {
    /// Whether there is nothing to do.
    fn is_empty(&self) -> bool {
        self.sends.is_empty()
            && self.downs.is_empty()
            && self.touched.is_empty()
            && self.renewed.is_none()
            && self.doubts.is_empty()
            && !self.idle
    }
}

impl Runtime<Life> for Effects {
    fn notify(&mut self, notification: Notification<'_, Life>) {
        match notification {
            Notification::MemberUp(life) | Notification::MemberDown(life) => {
                self.touched.insert(life.id());
            }
            Notification::Rename(_, after) => {
                self.touched.insert(after.id());
            }
            Notification::Rejoin(life) => self.renewed = Some(*life),
            Notification::Idle => self.idle = true,
            Notification::Active | Notification::Defunct => {}
        }
    }

    fn send_to(&mut self, to: Life, data: &[u8]) {
        self.sends.push((to, Bytes::copy_from_slice(data)));
    }

    fn submit_after(&mut self, timer: Timer<Life>, after: Duration) {
        match timer {
            Timer::RemoveDown(life) => self.downs.push(life),
            timer => self.timers.push((after, timer)),
        }
    }
}

type Inner = Foca<Life, PacketCodec, ChaCha8Rng, NoCustomBroadcast>;

/// One node's SWIM.
pub(crate) struct Swim {
    foca: Inner,
    tempo: Tempo,
    /// Ordered by deadline, then by order of submission.
    timers: BTreeMap<(Time, u64), Timer<Life>>,
    submitted: u64,
    /// The timer token that `foca` accepts; timers with another one are dead.
    token: foca::TimerToken,
    effects: Effects,
    health: Health,
    suspicions: Suspicions,
    /// When something came from another node last.
    heard_at: Time,
    /// The last probe.
    probing: Option<Probe>,
    /// The least incarnation in which an accusation of this node would be news.
    unrefuted: Incarnation,
    /// The next round of gossip and when it is due, as long as there is nothing to tell.
    resting: Option<(Time, Timer<Life>)>,
    transmissions: u8,
    /// Whether a member may have become suspect, or may have stopped being it.
    doubt: bool,
}

impl Swim {
    pub(crate) fn new(identity: Identity, tempo: Tempo, rng: ChaCha8Rng) -> Self {
        let config = tempo.foca(1);
        Swim {
            transmissions: config.max_transmissions.get(),
            foca: Foca::with_custom_broadcast(
                Life(identity),
                config,
                rng,
                PacketCodec,
                NoCustomBroadcast,
            ),
            tempo,
            timers: BTreeMap::new(),
            submitted: 0,
            token: 0,
            effects: Effects::default(),
            health: Health::default(),
            suspicions: Suspicions::default(),
            heard_at: Time::ZERO,
            probing: None,
            unrefuted: 0,
            resting: None,
            doubt: false,
        }
    }

    /// The own life.
    pub(crate) fn life(&self) -> Life {
        *self.foca.identity()
    }

    /// How many members are active, this node not counted.
    pub(crate) fn active(&self) -> usize {
        self.foca.num_members()
    }

    /// The next deadline.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let timer = self.timers.first_key_value().map(|((at, _), _)| *at);
        timer.into_iter().chain(self.suspicions.deadline()).min()
    }

    /// What is to be done since the last call, if there is anything.
    pub(crate) fn take_effects(&mut self) -> Option<Effects> {
        (!self.effects.is_empty()).then(|| std::mem::take(&mut self.effects))
    }

    /// Takes in a packet that was parsed before.
    pub(crate) fn on_packet(&mut self, now: Time, bytes: &[u8]) {
        self.attempt(now, |foca, effects| foca.handle_data(bytes, effects));
    }

    /// Lets `foca` know about members.
    pub(crate) fn apply(&mut self, now: Time, members: impl IntoIterator<Item = Member<Life>>) {
        self.attempt(now, |foca, effects| {
            foca.apply_many(members.into_iter(), true, effects)
        });
    }

    /// Lets `foca` know about a member of which the others hear in another way.
    pub(crate) fn admit(&mut self, now: Time, life: Life) {
        self.attempt(now, |foca, effects| {
            foca.apply_many(std::iter::once(Member::alive(life)), false, effects)
        });
    }

    /// Asks a node to take this one in.
    pub(crate) fn announce(&mut self, now: Time, to: Identity) {
        self.attempt(now, |foca, effects| foca.announce(Life(to), effects));
    }

    /// Goes on in another life.
    pub(crate) fn change_life(&mut self, now: Time, life: Life) {
        self.attempt(now, |foca, effects| foca.change_identity(life, effects));
        self.effects.renewed = Some(life);
        self.unrefuted = 0;
    }

    /// Takes up probing after the life changed, which `foca` puts off until a packet arrives.
    pub(crate) fn reconnect(&mut self, now: Time) {
        self.apply(now, []);
    }

    /// Forgets that a life is down.
    pub(crate) fn forget(&mut self, now: Time, life: Identity) {
        self.attempt(now, |foca, effects| {
            foca.handle_timer(Timer::RemoveDown(Life(life)), effects)
        });
    }

    /// All that `foca` knows: active members and those that are down.
    pub(crate) fn states(&self) -> impl Iterator<Item = &Member<Life>> {
        self.foca.iter_membership_state()
    }

    /// What `foca` knows about one node.
    pub(crate) fn state(&self, id: NodeId) -> Option<&Member<Life>> {
        self.states().find(|member| member.id().id() == id)
    }

    /// Says whether there is a doubt from here on.
    pub(crate) fn set_doubt(&mut self, doubt: bool) {
        self.doubt = doubt;
    }

    /// Whether someone may have become suspect, or may have stopped being it.
    pub(crate) fn in_doubt(&self) -> bool {
        self.doubt
    }

    /// Runs what is due, given to whom there are links.
    ///
    /// What is periodic is scheduled anew after `now`, so however late the call comes, every periodic timer runs once.
    pub(crate) fn on_timeout(&mut self, now: Time, peers: &Peers) {
        while let Some(timer) = self.take_due(now) {
            match timer {
                Timer::ProbeRandomMember(_) => self.probe(now, timer, peers),
                Timer::SendIndirectProbe { .. } => {
                    let sends = self.effects.sends.len();
                    self.attempt(now, |foca, effects| foca.handle_timer(timer, effects));
                    let asked = self.effects.sends.iter().skip(sends);
                    let helpers = asked.filter(|(to, _)| peers.may_answer(to.id())).count();
                    if let Some(probe) = &mut self.probing {
                        probe.ask(helpers);
                    }
                }
                timer if self.is_refuted(&timer) => {}
                timer => self.attempt(now, |foca, effects| foca.handle_timer(timer, effects)),
            }
        }
    }

    /// A timer that is due, or a suspicion that is over.
    fn take_due(&mut self, now: Time) -> Option<Timer<Life>> {
        let timer = self.timers.first_entry();
        match timer.filter(|entry| entry.key().0 <= now) {
            Some(entry) => Some(entry.remove()),
            None => {
                if self.is_deaf(now) {
                    self.suspicions.wait_until(now + self.tempo.silence());
                }
                self.suspicions.take_due(now)
            }
        }
    }

    /// Ends one probe and begins the next one.
    fn probe(&mut self, now: Time, timer: Timer<Life>, peers: &Peers) {
        if let Some(probe) = self.probing.take() {
            self.judge(now, probe, peers);
        }
        let again = timer.clone();
        let sends = self.effects.sends.len();
        let result = self.run(now, |foca, effects| foca.handle_timer(timer, effects));
        if let Err(error) = result {
            self.keep_probing(now, again, &error);
        }
        let ping = self.effects.sends.get(sends);
        self.probing = ping.and_then(|(to, bytes)| Some(Probe::new(*to, ping_number(bytes)?)));
    }

    /// What a probe that is over says about this node itself, and whether it says anything about the other one.
    fn judge(&mut self, now: Time, probe: Probe, peers: &Peers) {
        if probe.is_answered() {
            self.health.improve();
        } else if peers.is_new(probe.life.id(), now) {
            // `foca` counts it as answered, and so as no failure.
            let ack = packet(probe.life, self.life(), Message::Ack(probe.number), None);
            self.attempt(now, |foca, effects| foca.handle_data(&ack, effects));
        } else if probe.is_own_fault() {
            self.health.worsen();
        }
    }

    /// A member has answered, in a packet that was taken in before.
    ///
    /// If that was the last probe, nobody else is to be asked about it, and no timer is needed for that.
    pub(crate) fn on_ack(&mut self, now: Time, from: Life, number: ProbeNumber) {
        let Some(probe) = self
            .probing
            .as_mut()
            .filter(|probe| probe.is_of(from.id(), number))
        else {
            return;
        };
        probe.answer();
        let asks = |timer: &Timer<Life>| matches!(timer, Timer::SendIndirectProbe { probed_id, .. } if *probed_id == from);
        let waiting = self.timers.iter().find(|(_, timer)| asks(timer));
        if let Some(&key) = waiting.map(|(key, _)| key)
            && let Some(timer) = self.timers.remove(&key)
        {
            self.attempt(now, |foca, effects| foca.handle_timer(timer, effects));
        }
    }

    /// A helper has passed on a member's answer.
    pub(crate) fn on_forwarded_ack(&mut self, about: Life, number: ProbeNumber) {
        let probe = self.probing.as_mut();
        if let Some(probe) = probe.filter(|probe| probe.is_of(about.id(), number)) {
            probe.answer();
        }
    }

    /// A helper says that it was asked.
    pub(crate) fn on_asked(&mut self, number: ProbeNumber) {
        if let Some(probe) = &mut self.probing {
            probe.on_asked(number);
        }
    }

    /// Shifts all timers by the time for which this process did not run.
    ///
    /// Who was stopped has not seen the answers of those whom it suspects: it must not declare them down first thing.
    pub(crate) fn absorb_stall(&mut self, now: Time) {
        let Some(late) = self.deadline().map(|deadline| now.since(deadline)) else {
            return;
        };
        if late > self.tempo.probe_rtt {
            self.health.worsen();
            self.suspicions.put_off(late);
            let timers = std::mem::take(&mut self.timers);
            self.timers = timers
                .into_iter()
                .map(|((at, order), timer)| ((at + late, order), timer))
                .collect();
        }
    }

    /// Adapts to the size of the mesh.
    pub(crate) fn adapt(&mut self) {
        let config = self.tempo.foca(self.active() + 1);
        if config.max_transmissions.get() != self.transmissions {
            self.transmissions = config.max_transmissions.get();
            // Only the fields that may change differ, so this cannot be refused.
            let _ = self.foca.set_config(config);
        }
    }

    /// `foca` schedules the next probe last: an error on the way there must not end all probing.
    fn keep_probing(&mut self, now: Time, timer: Timer<Life>, error: &Error) {
        let scheduled = self
            .timers
            .values()
            .any(|t| matches!(t, Timer::ProbeRandomMember(_)));
        if !scheduled && *error != Error::NotConnected {
            self.submit(now + self.tempo.probe_period, timer);
        }
    }

    /// Runs what may fail without harm: a bad packet, or one that found no room.
    fn attempt(
        &mut self,
        now: Time,
        call: impl FnOnce(&mut Inner, &mut Effects) -> Result<(), Error>,
    ) {
        let _ = self.run(now, call);
    }

    fn run(
        &mut self,
        now: Time,
        call: impl FnOnce(&mut Inner, &mut Effects) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let result = call(&mut self.foca, &mut self.effects);
        let mut timers = std::mem::take(&mut self.effects.timers);
        for (after, timer) in timers.drain(..) {
            let at = now + after;
            match timer {
                Timer::ProbeRandomMember(token) => self.accept_token(token),
                Timer::PeriodicGossip(_) => {
                    self.resting = Some((at, timer));
                    continue;
                }
                Timer::ChangeSuspectToDown { .. } => {
                    self.on_probe_failed(now, timer);
                    continue;
                }
                _ => {}
            }
            let at = match timer {
                Timer::ProbeRandomMember(_) | Timer::SendIndirectProbe { .. } => {
                    now + self.health.stretch(after)
                }
                _ => at,
            };
            self.submit(at, timer);
        }
        // Its room is used again.
        self.effects.timers = timers;
        self.resume_gossip(now);
        result
    }

    /// Goes on with the rounds of gossip where they would be without the rest, if there is something to tell.
    ///
    /// `foca` would wake up for every one of them.
    fn resume_gossip(&mut self, now: Time) {
        if self.foca.updates_backlog() == 0 {
            return;
        }
        if let Some((due, timer)) = self.resting.take() {
            let at = due.in_step(self.tempo.gossip_period, now);
            self.submit(at, timer);
        }
    }

    fn submit(&mut self, at: Time, timer: Timer<Life>) {
        self.submitted += 1;
        self.timers.insert((at, self.submitted), timer);
    }

    /// Drops the timers of former tokens, which would otherwise pile up if someone flaps.
    fn accept_token(&mut self, token: foca::TimerToken) {
        if token != self.token {
            self.token = token;
            self.timers
                .retain(|_, timer| token_of(timer) == Some(token));
            // Their timers are dead.
            self.suspicions.clear_own();
            self.resting = None;
        }
    }
}

fn token_of(timer: &Timer<Life>) -> Option<foca::TimerToken> {
    match timer {
        Timer::ProbeRandomMember(token)
        | Timer::SendIndirectProbe { token, .. }
        | Timer::ChangeSuspectToDown { token, .. }
        | Timer::PeriodicAnnounce(token)
        | Timer::PeriodicAnnounceDown(token)
        | Timer::PeriodicGossip(token) => Some(*token),
        Timer::RemoveDown(_) => None,
    }
}

/// Whether SWIM counts a member in this state as alive.
pub(crate) fn is_active(member: &Member<Life>) -> bool {
    member.state() != State::Down
}

#[cfg(test)]
mod tests {
    use foca::Message;
    use rand::SeedableRng;

    use super::*;
    use crate::codec::parse;
    use crate::{Epoch, Profile};

    fn life(number: u8) -> Life {
        Life(Identity {
            id: NodeId::from_bytes([number; 32]),
            epoch: Epoch(1),
            addr: ([127, 0, 0, 1], 7400 + u16::from(number)).into(),
        })
    }

    #[test]
    fn who_refutes_every_suspicion_is_never_told_that_it_is_down() {
        let tempo = Tempo::of(Profile::Local);
        let mut swim = Swim::new(life(1).0, tempo, ChaCha8Rng::seed_from_u64(1));
        let (mut now, end) = (Time::ZERO, Time::from_millis(60_000));
        swim.apply(now, [Member::alive(life(2))]);
        let mut suspicions = 0;
        while now < end {
            now = swim.deadline().expect("it probes");
            swim.on_timeout(now, &Peers::default());
            let effects = swim.take_effects().unwrap_or_default();
            for (to, bytes) in effects.sends {
                let message = parse(&bytes).expect("well-formed").header.message;
                assert_ne!(message, Message::TurnUndead, "to {to:?} at {now}");
            }
            let other = swim.state(life(2).id()).expect("it is a member").clone();
            if other.state() == State::Suspect {
                suspicions += 1;
                let refuted = Member::new(life(2), other.incarnation() + 1, State::Alive);
                swim.apply(now, [refuted]);
            }
        }
        assert!(suspicions > 5, "{suspicions}");
    }
}

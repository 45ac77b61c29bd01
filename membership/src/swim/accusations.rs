//! Who suspects whom, and what comes of it.

use std::collections::BTreeMap;

use foca::{Incarnation, Member, State, Timer};

use super::{Swim, is_active};
use crate::canary::planted;
use crate::life::Life;
use crate::suspicion::Doubt;
use crate::{NodeId, Time};

impl Swim {
    /// Suspects a member on the word of someone who holds it for down, as if everyone had confirmed it.
    pub(crate) fn accuse(&mut self, now: Time, life: Life, incarnation: Incarnation) {
        if self.suspicions.is_accused(life, incarnation) {
            return;
        }
        self.apply(now, [Member::new(life, incarnation, State::Suspect)]);
        let timer = Timer::ChangeSuspectToDown {
            member_id: life,
            incarnation,
            token: self.token,
        };
        let patience = self.tempo.patience(self.active() + 1);
        self.suspicions.believe(now, timer, patience);
        self.doubt = true;
    }

    /// Someone suspects a member by its own probes; gives what is known of that by now, if it is news.
    pub(crate) fn on_doubt(&mut self, now: Time, doubt: Doubt) -> Option<Doubt> {
        if doubt.id == self.life().id() {
            let own = Member::new(self.life(), doubt.incarnation, State::Suspect);
            if doubt.epoch == self.life().epoch() {
                self.on_accused(doubt.incarnation);
                self.apply(now, [own]);
            }
            return None;
        }
        let state = self.state(doubt.id)?;
        let (life, incarnation) = (*state.id(), state.incarnation());
        if life.epoch() != doubt.epoch || incarnation > doubt.incarnation || !is_active(state) {
            return None;
        }
        if incarnation < doubt.incarnation || state.state() == State::Alive {
            self.apply(now, [Member::new(life, doubt.incarnation, State::Suspect)]);
        }
        self.doubt = true;
        let patience = self.tempo.patience(self.active() + 1);
        self.suspicions.hear(self.life().id(), doubt, patience)
    }

    /// Something came from another node.
    ///
    /// Whoever heard nothing for a while has heard no answer of those whom it suspects either, and takes the time to.
    pub(crate) fn on_heard(&mut self, now: Time) {
        if self.is_deaf(now) {
            self.suspicions.wait_until(now + self.tempo.probe_rtt);
        }
        self.heard_at = now;
    }

    /// Whether nothing came for so long from anybody that this node is likely to be at fault itself.
    ///
    /// Where it suspects everybody, there is nobody left to hear.
    pub(super) fn is_deaf(&self, now: Time) -> bool {
        let silent = now.since(self.heard_at) > self.tempo.silence();
        silent && self.suspicions.count() < self.active() && !planted!(DeafAccuses)
    }

    /// Somebody suspects this life of this node, which refutes it.
    pub(crate) fn on_accused(&mut self, incarnation: Incarnation) {
        if incarnation >= self.unrefuted {
            self.unrefuted = incarnation.saturating_add(1);
            self.health.worsen();
        }
    }

    /// Forgets the suspicions that were refuted or came true, and gives those members that this node suspects.
    pub(crate) fn take_stock(&mut self) -> Vec<Member<Life>> {
        let suspect = |state: &&Member<Life>| state.state() == State::Suspect;
        let suspects: BTreeMap<NodeId, &Member<Life>> = self
            .foca
            .iter_membership_state()
            .filter(suspect)
            .map(|state| (state.id().id(), state))
            .collect();
        self.suspicions.retain(|id| {
            let state = suspects.get(&id)?;
            Some((*state.id(), state.incarnation()))
        });
        let accused = self.suspicions.accused();
        accused
            .filter_map(|id| suspects.get(&id).copied().cloned())
            .collect()
    }

    /// Whether this node suspects another one.
    pub(crate) fn suspects(&self, id: NodeId) -> bool {
        self.suspicions.accused().any(|accused| accused == id)
    }

    /// A probe has failed: `timer` is to run unless the member answers.
    pub(super) fn on_probe_failed(&mut self, now: Time, timer: Timer<Life>) {
        // It may have refuted meanwhile what somebody else suspected.
        if self.is_refuted(&timer) {
            return;
        }
        self.doubt = true;
        let patience = self.tempo.patience(self.active() + 1);
        let me = self.life().id();
        let doubt = self.suspicions.accuse(now, me, timer, patience);
        self.effects.doubts.extend(doubt);
    }

    /// Whether this timer would end a suspicion that was refuted in time.
    ///
    /// `foca` leaves such a member alive, but tells it that it is down all the same, and it would go on in another life for nothing.
    pub(super) fn is_refuted(&self, timer: &Timer<Life>) -> bool {
        let Timer::ChangeSuspectToDown {
            member_id,
            incarnation,
            ..
        } = timer
        else {
            return false;
        };
        let suspect = Member::new(*member_id, *incarnation, State::Suspect);
        self.states().all(|state| *state != suspect)
    }
}

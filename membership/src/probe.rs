//! The probe that is under way, and what it says about this node itself.

use foca::ProbeNumber;

use crate::NodeId;
use crate::life::Life;

/// One member is probed at a time: directly first, and then through helpers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    pub(crate) life: Life,
    pub(crate) number: ProbeNumber,
    answered: bool,
    /// How many helpers to which there is a link were asked, and how many of them said that the question came.
    asked: usize,
    heard: usize,
}

impl Probe {
    pub(crate) fn new(life: Life, number: ProbeNumber) -> Self {
        Probe {
            life,
            number,
            answered: false,
            asked: 0,
            heard: 0,
        }
    }

    /// The member answered, to this node or to a helper.
    pub(crate) fn answer(&mut self) {
        self.answered = true;
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.answered
    }

    /// So many helpers are asked from which an answer may be expected.
    pub(crate) fn ask(&mut self, helpers: usize) {
        self.asked += helpers;
    }

    /// A helper has been asked, it says.
    pub(crate) fn on_asked(&mut self, number: ProbeNumber) {
        self.heard += usize::from(number == self.number);
    }

    /// Whether a probe without an answer may be this node's own fault: no helper, or not every one, was in reach either.
    ///
    /// (Lifeguard, section IV-A, has helpers say so when the member did not answer them; here they say so at once, which needs no timer.
    /// Nothing is expected of helpers whose links are lost: in the smaller part of a mesh that is split, that would slow down everyone.)
    pub(crate) fn is_own_fault(&self) -> bool {
        self.asked == 0 || self.heard < self.asked
    }

    pub(crate) fn is_of(&self, id: NodeId, number: ProbeNumber) -> bool {
        self.life.id() == id && self.number == number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Epoch, Identity};

    #[test]
    fn a_probe_without_an_answer_is_nobodys_fault_if_all_helpers_were_in_reach() {
        let id = NodeId::from_bytes([1; 32]);
        let addr = ([10, 0, 0, 1], 7400).into();
        let life = Life(Identity {
            id,
            epoch: Epoch(1),
            addr,
        });
        let mut probe = Probe::new(life, 7);
        assert!(probe.is_of(id, 7) && !probe.is_of(id, 6));
        assert!(probe.is_own_fault(), "there was no helper");
        probe.ask(2);
        probe.on_asked(7);
        probe.on_asked(6);
        assert!(probe.is_own_fault(), "one of them did not hear");
        probe.on_asked(7);
        assert!(!probe.is_own_fault() && !probe.is_answered());
    }
}

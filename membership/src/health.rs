//! How well this node itself does, which decides how much it trusts its own probes.
//!
//! Lifeguard's local health multiplier (Dadgar, Phillips, Currey: "Lifeguard: Local Health Awareness for More Accurate Failure Detection", 2017, section IV-A): a counter that rises whenever it looks as if this node were the slow one, and falls with every probe that is answered.
//! A node that is slow gives its peers more time, and asks them more rarely.
//!
//! Departing from the paper, a timer that is handled late counts too: a node that was not scheduled knows better than by its probes that it is slow.

use std::time::Duration;

use crate::canary::planted;

/// The saturation that the paper uses.
const WORST: u8 = 8;

/// A score between 0, which is good, and 8.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Health {
    score: u8,
}

impl Health {
    /// Something went wrong that may be this node's own fault.
    pub(crate) fn worsen(&mut self) {
        if !planted!(LocalHealthIgnored) {
            self.score = WORST.min(self.score + 1);
        }
    }

    /// A probe was answered.
    pub(crate) fn improve(&mut self) {
        self.score = self.score.saturating_sub(1);
    }

    /// How long something takes that takes `time` at a node that does well.
    pub(crate) fn stretch(&self, time: Duration) -> Duration {
        time * (u32::from(self.score) + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worse_a_node_does_the_more_time_it_gives_up_to_a_bound() {
        let mut health = Health::default();
        let second = Duration::from_secs(1);
        let mut stretched = vec![health.stretch(second)];
        for _ in 0..10 {
            health.worsen();
            stretched.push(health.stretch(second));
        }
        let seconds: Vec<u64> = stretched.iter().map(Duration::as_secs).collect();
        assert_eq!(seconds, [1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9]);
        for _ in 0..10 {
            health.improve();
        }
        assert_eq!(health.stretch(second), second);
    }
}

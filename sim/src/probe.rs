//! Reach probes: points that a sweep should come to now and then.
//!
//! A check that is never put to the test holds for no reason.
//! So the simulation notes at the edges of the engines which of these situations came up; a sweep names those that never did.

use rolecast_protocol::{
    Answer, Event, FlowId, Gap, LagReason, Lagged, LargeEnd, Refusal, Started,
};

use crate::scenario::Level;

/// Declares the probes and the sentence for each.
macro_rules! probes {
    ($($name:ident: $sentence:literal,)*) => {
        /// A situation that should come up now and then.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Probe {
            $(#[doc = $sentence] $name,)*
        }

        impl Probe {
            /// All of them.
            pub const ALL: &[Probe] = &[$(Probe::$name,)*];

            /// What happened, in words.
            #[must_use]
            pub fn sentence(self) -> &'static str {
                match self {
                    $(Probe::$name => $sentence,)*
                }
            }
        }
    };
}

probes! {
    RelayFirst: "a message came from another member before it came from its origin",
    RelayAfterDeath: "a message came from another member after its origin had died",
    RelayAroundCut: "a message came from another member while its origin could not reach the receiver",
    DeliveredAfterHeal: "a message was delivered over a link that came up after it had been sent",
    DeliveredToRenewed: "a message was delivered to a node in a later life than its first",
    GapOfDeadOrigin: "an inbox was told that messages of a dead origin are lost",
    GapOfRenewal: "an inbox was told that its node had been declared down while it lived",
    StartedLate: "an inbox was told that a flow had begun before it did",
    Replayed: "an inbox got what was sent before it began, because it asked for that",
    Evicted: "a sender went on without a member that was too slow",
    Readmitted: "a sender took a member back that had been too slow",
    Lagged: "an inbox was told what it was too slow for",
    LeftBehind: "a sender that keeps the last of each key went on without a member that was slow",
    CaughtUp: "a member that lagged got what was kept for it and keeps up again",
    Superseded: "an inbox was told that what it does not get was superseded",
    Lost: "a sender was told that a member lost messages",
    Full: "a batch was refused because the window was full",
    TooFewHolders: "a batch was refused because fewer held the role than should hold it",
    Stable: "a sender was told that enough members hold a message that several are to hold",
    GivenUp: "a sender was told that too few members are left to hold a message",
    Writable: "a sender that had waited for room was told to go on",
    Settled: "a sender was told that everyone has taken its messages",
    LargeFull: "a large payload was refused because too many were on their way",
    ChunkFull: "a chunk was refused because the window was full",
    LargeComplete: "whoever read a large payload got all of it",
    LargeCutShort: "whoever read a large payload was told that the rest will not come",
    LargeRefused: "a large payload was refused as too large",
    LargeLagged: "whoever read a large payload too slowly was told that its sender went on",
    LinkRested: "a link that nobody used was closed, and its peer counted as linked",
    LinkWoken: "a link that rested came back because it was needed",
    Renewed: "a node was declared down while it lived, and went on in a later life",
    DownInTwo: "two nodes declared each other down",
    AnsweredReply: "a request was answered",
    AnsweredBusy: "a request was refused because its holder was busy",
    AnsweredDropped: "a request was refused because its holder dropped it",
    AnsweredNotSent: "a call ended as certainly not sent",
    AnsweredUnknown: "a call ended with nobody knowing whether it arrived",
    AnsweredTimedOut: "a call ran out of time",
    CallRetried: "a call was handed to a second holder",
    GatherComplete: "a scatter-gather got the answers of at least two holders",
    CancelHeard: "a holder was told that nobody awaits its answer",
    NoHolder: "a call found no holder",
    TooManyCalls: "a call was refused because too many were outstanding",
    Drained: "a node that left was told before that everything is acknowledged",
    LeftUndrained: "a node left before everything was acknowledged",
    DroppedUntaken: "a role was dropped while messages waited in its inbox",
    SetAside: "what was said in the name of a life was set aside, because its hearer did not know that yet",
    DialsCrossed: "two nodes dialled each other at once, and one link was left",
    LinkReplaced: "a link took the place of another one to the same node",
    LinkCut: "a link ended with frames on their way",
    DatagramLost: "a datagram was lost",
    DatagramDoubled: "a datagram arrived twice",
    Backlog: "a process that had stood still found more than fifty things to do",
    JoinedLate: "a node joined while others were sending",
    EpochPastClock: "a node started in a later life than its clock would give",
}

impl Probe {
    /// Whether it can be seen at this level: of whole nodes it is not known which frame led to what, nor what dials did.
    #[must_use]
    pub fn is_seen_at(self, level: Level) -> bool {
        use Probe::{Backlog, DeliveredAfterHeal, DialsCrossed, LinkCut};
        use Probe::{RelayAfterDeath, RelayAroundCut, RelayFirst};
        let of_frames = matches!(
            self,
            RelayFirst | RelayAfterDeath | RelayAroundCut | DeliveredAfterHeal | LinkCut
        );
        // Their programs wait until a large payload may begin.
        let of_engines = matches!(
            self,
            DialsCrossed | Backlog | Probe::LargeFull | Probe::SetAside
        );
        level == Level::Engine || !(of_frames || of_engines)
    }
}

/// Notes that a run came to a point, if it did: `sometimes!(reached, Settled)`, or `sometimes!(reached, Settled, if condition)`.
macro_rules! sometimes {
    ($reached:expr, $probe:ident) => {
        $reached.note($crate::probe::Probe::$probe)
    };
    ($reached:expr, $probe:ident, if $condition:expr) => {
        if $condition {
            $reached.note($crate::probe::Probe::$probe);
        }
    };
}

pub(crate) use sometimes;

/// Which probes a run came to, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached(Vec<u32>);

impl Default for Reached {
    fn default() -> Self {
        Reached(vec![0; Probe::ALL.len()])
    }
}

impl Reached {
    /// The run came to this point.
    pub fn note(&mut self, probe: Probe) {
        let count = &mut self.0[probe as usize];
        *count = count.saturating_add(1);
    }

    /// An engine told its application something.
    pub(crate) fn note_event(&mut self, event: &Event) {
        match event {
            Event::Writable(_) => self.note(Probe::Writable),
            Event::Settled { .. } => self.note(Probe::Settled),
            Event::Unstable { .. } => self.note(Probe::GivenUp),
            Event::Lost { .. } => self.note(Probe::Lost),
            Event::Evicted { .. } => self.note(Probe::Evicted),
            Event::Lags { .. } => self.note(Probe::LeftBehind),
            Event::Cancelled(_) => self.note(Probe::CancelHeard),
            Event::Answered { answer, .. } => match answer {
                Answer::Reply(_) => self.note(Probe::AnsweredReply),
                Answer::Refused(Refusal::Busy) => self.note(Probe::AnsweredBusy),
                Answer::Refused(Refusal::Dropped) => self.note(Probe::AnsweredDropped),
                Answer::NotSent => self.note(Probe::AnsweredNotSent),
                Answer::Unknown => self.note(Probe::AnsweredUnknown),
                Answer::TimedOut => self.note(Probe::AnsweredTimedOut),
                Answer::Taken | Answer::Refused(_) => {}
            },
            _ => {}
        }
    }

    /// A gap was put into an inbox.
    pub(crate) fn note_gap(&mut self, gap: &Gap) {
        self.note(match gap {
            Gap::Range { .. } => Probe::GapOfDeadOrigin,
            Gap::DeclaredDown { .. } => Probe::GapOfRenewal,
        });
    }

    /// An inbox was told what it does not get because its program was too slow.
    pub(crate) fn note_lag(&mut self, lagged: &Lagged) {
        self.note(match lagged.reason {
            LagReason::Evicted => Probe::Lagged,
            LagReason::Superseded => Probe::Superseded,
        });
    }

    /// An inbox was told where it begins.
    pub(crate) fn note_start(&mut self, started: &Started) {
        self.note(Probe::StartedLate);
        sometimes!(self, Replayed, if started.replayed > 0);
    }

    /// A large payload ended for its reader.
    pub(crate) fn note_end(&mut self, end: LargeEnd) {
        self.note(match end {
            LargeEnd::Complete => Probe::LargeComplete,
            LargeEnd::CutShort => Probe::LargeCutShort,
            LargeEnd::TooLarge => Probe::LargeRefused,
            LargeEnd::Lagged => Probe::LargeLagged,
        });
    }

    /// A flow had no room.
    pub(crate) fn note_refused(&mut self, flow: FlowId) {
        self.note(match flow.is_large() {
            true => Probe::ChunkFull,
            false => Probe::Full,
        });
    }

    /// A member keeps up again, in a flow that keeps the last of each key for slow members, or goes on without them.
    pub(crate) fn note_back(&mut self, keeps_last: bool) {
        self.note(match keeps_last {
            true => Probe::CaughtUp,
            false => Probe::Readmitted,
        });
    }

    /// How often it came to this point.
    #[must_use]
    pub fn count(&self, probe: Probe) -> u32 {
        self.0[probe as usize]
    }

    /// The probes that it came to.
    pub fn iter(&self) -> impl Iterator<Item = Probe> + '_ {
        Probe::ALL
            .iter()
            .copied()
            .filter(|probe| self.count(*probe) > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_reached_is_counted() {
        let mut reached = Reached::default();
        assert_eq!(reached.iter().count(), 0);
        sometimes!(reached, Settled);
        sometimes!(reached, Settled);
        sometimes!(reached, Full, if 1 > 2);
        assert_eq!(reached.count(Probe::Settled), 2);
        assert_eq!(reached.iter().collect::<Vec<_>>(), [Probe::Settled]);
    }

    #[test]
    fn every_probe_has_its_own_sentence() {
        let sentences: std::collections::BTreeSet<_> =
            Probe::ALL.iter().map(|probe| probe.sentence()).collect();
        assert_eq!(sentences.len(), Probe::ALL.len());
    }
}

//! How much of the bulk lane is on the way over one link.
//!
//! What is on the way waits somewhere: in the sockets of both ends, in the network's queues, for the peer's processor; and what is small, though it goes first at each end, waits behind it there.
//! So the bulk lane has a window of its own that yields before others notice, in the manner of LEDBAT (RFC 6817): as long as acknowledgements come about as soon as the soonest did, it grows, and as soon as they come later, it shrinks.
//! While nothing small has gone or come for a while there is nobody to yield to, and it may be a few chunks: each end of the link works on one while the next is on the way.

use std::time::Duration;

use rolecast_membership::Time;

/// The window of one link's bulk lane.
#[derive(Debug)]
pub(crate) struct BulkWindow {
    bytes: usize,
    /// A frame that is on the way, by its number, and since when.
    probe: Option<(u64, Time)>,
    /// No acknowledgement has been late so far, so that nobody knows yet what the way carries.
    unknown: bool,
    /// The shortest time that an acknowledgement took, and since when that counts.
    shortest: Option<(Duration, Time)>,
}

/// A chunk of the usual size: what is small waits behind one at most at each end, for every link.
const WINDOW_BYTES_MIN: usize = 64 << 10;
/// So much may wait in the sockets of a short way while nothing small goes over any link: the first small message after a while waits behind it.
/// Twice as much carries no more.
const WINDOW_BYTES_ALONE: usize = 512 << 10;
/// So much may be on a short way in any case while nothing small goes over any link: each end takes up several chunks when it has its turn on a busy machine, and the wait is short.
const WINDOW_BYTES_MIN_ALONE: usize = 256 << 10;
/// What the other end's QUIC takes in advance.
const WINDOW_BYTES_MAX: usize = 8 << 20;
/// By which part of itself the window grows for each acknowledgement that is soon enough.
const STEP: usize = 16;
/// By how much later than the soonest an acknowledgement may come at most: what a small message may have to wait.
/// Over a short way it is as much as the soonest took, so that nothing takes more than twice as long as it would alone.
const DELAY_MAX: Duration = Duration::from_millis(3);
/// As [`DELAY_MAX`], while nothing small waits: what the processes of a busy machine make each other wait says nothing about the way.
const DELAY_MAX_ALONE: Duration = Duration::from_millis(10);
/// What is large is alone when nothing small went or came for so long: whoever sends something small every so often finds the way free.
const ALONE_AFTER: Duration = Duration::from_secs(1);
/// After so long the soonest is looked for anew, since ways change.
const SHORTEST_FOR: Duration = Duration::from_secs(10);

impl Default for BulkWindow {
    fn default() -> Self {
        BulkWindow {
            bytes: WINDOW_BYTES_MIN,
            probe: None,
            unknown: true,
            shortest: None,
        }
    }
}

/// When something small, which bulk is not to hold up, last went over any link.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Small(Option<Time>);

impl Small {
    /// Something small goes or has come.
    pub(crate) fn on_small(&mut self, now: Time) {
        self.0 = Some(now);
    }

    /// Whether nothing small is to be expected.
    fn is_over(self, now: Time) -> bool {
        self.0.is_none_or(|at| now.since(at) >= ALONE_AFTER)
    }
}

impl BulkWindow {
    /// How much may be on the way.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A frame goes out.
    pub(crate) fn on_sent(&mut self, now: Time, number: u64) {
        self.probe.get_or_insert((number, now));
    }

    /// The peer has so many frames.
    pub(crate) fn on_acknowledged(&mut self, now: Time, received: u64, small: Small) {
        let Some((_, sent_at)) = self.probe.take_if(|(number, _)| *number <= received) else {
            return;
        };
        let took = now.since(sent_at);
        let shortest = match self.shortest {
            Some((shortest, since)) if shortest <= took && now.since(since) < SHORTEST_FOR => {
                shortest
            }
            _ => {
                self.shortest = Some((took, now));
                took
            }
        };
        // Over a long way there are few acknowledgements a second, and what it carries is found in few steps, as TCP finds it (RFC 5681, 3.1).
        let step = match self.unknown && shortest > DELAY_MAX {
            true => self.bytes,
            false => self.bytes / STEP,
        };
        let grown = self.bytes + step;
        self.bytes = if took <= shortest + shortest.min(DELAY_MAX) {
            grown.min(WINDOW_BYTES_MAX)
        } else if took <= shortest + DELAY_MAX_ALONE && small.is_over(now) {
            grown.min(WINDOW_BYTES_ALONE.max(self.bytes))
        } else {
            self.unknown = false;
            let short = shortest <= DELAY_MAX;
            (self.bytes / 2).max(match short && small.is_over(now) {
                true => WINDOW_BYTES_MIN_ALONE,
                false => WINDOW_BYTES_MIN,
            })
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A window, and a round in which a frame goes out and is acknowledged after so many microseconds, beside something small.
    fn rounds() -> (BulkWindow, impl FnMut(&mut BulkWindow, u64)) {
        rounds_beside(|now| Small(Some(now)))
    }

    /// The same, with what is known of the small at a time.
    fn rounds_beside(
        small: impl Fn(Time) -> Small,
    ) -> (BulkWindow, impl FnMut(&mut BulkWindow, u64)) {
        let mut now = Time::ZERO;
        let mut number = 0;
        let round = move |window: &mut BulkWindow, took_us| {
            number += 1;
            window.on_sent(now, number);
            now = now + Duration::from_micros(took_us);
            window.on_acknowledged(now, number - 1, small(now));
            window.on_acknowledged(now, number, small(now));
        };
        (BulkWindow::default(), round)
    }

    #[test]
    fn the_window_grows_while_nothing_waits_and_yields_when_something_does() {
        let (mut window, mut round) = rounds();
        for _ in 0..3 {
            round(&mut window, 50_000);
        }
        let grown = window.bytes();
        assert!(grown > 2 * WINDOW_BYTES_MIN, "however long the way is");
        round(&mut window, 53_000);
        assert!(window.bytes() > grown, "a little later is soon enough");
        let grown = window.bytes();
        round(&mut window, 60_000);
        assert_eq!(window.bytes(), grown / 2);
        for _ in 0..10 {
            round(&mut window, 60_000);
        }
        assert_eq!(window.bytes(), WINDOW_BYTES_MIN);
        for _ in 0..1_000 {
            round(&mut window, 60_000);
        }
        assert!(
            window.bytes() > WINDOW_BYTES_MIN,
            "the way has become longer"
        );
    }

    #[test]
    fn over_a_long_way_few_rounds_are_enough_until_something_was_late() {
        let (mut window, mut round) = rounds();
        for _ in 0..7 {
            round(&mut window, 200_000);
        }
        assert_eq!(window.bytes(), WINDOW_BYTES_MAX);
        round(&mut window, 210_000);
        assert_eq!(window.bytes(), WINDOW_BYTES_MAX / 2);
        round(&mut window, 200_000);
        let step = WINDOW_BYTES_MAX / 2 / STEP;
        assert_eq!(window.bytes(), WINDOW_BYTES_MAX / 2 + step);
    }

    #[test]
    fn over_a_short_way_little_is_late() {
        let (mut window, mut round) = rounds();
        for _ in 0..20 {
            round(&mut window, 200);
        }
        let grown = window.bytes();
        round(&mut window, 400);
        assert!(window.bytes() > grown);
        let grown = window.bytes();
        round(&mut window, 500);
        assert_eq!(window.bytes(), grown / 2);
    }

    #[test]
    fn alone_a_few_chunks_may_be_on_a_short_way_until_something_small_comes() {
        let small = std::cell::Cell::new(None);
        let (mut window, mut round) = rounds_beside(|_| Small(small.get()));
        round(&mut window, 200);
        for _ in 0..100 {
            round(&mut window, 2_000);
        }
        assert_eq!(window.bytes(), WINDOW_BYTES_ALONE);
        for _ in 0..2 {
            round(&mut window, 11_000);
            let least = WINDOW_BYTES_MIN_ALONE;
            assert_eq!(window.bytes(), least, "the way is full");
        }
        small.set(Some(Time::from_millis(222)));
        for _ in 0..2 {
            round(&mut window, 2_000);
        }
        assert_eq!(window.bytes(), WINDOW_BYTES_MIN);
        for _ in 0..100 {
            round(&mut window, 2_000);
        }
        assert_eq!(
            window.bytes(),
            WINDOW_BYTES_MIN,
            "for a while nothing else did"
        );
        for _ in 0..1_000 {
            round(&mut window, 2_000);
        }
        assert_eq!(window.bytes(), WINDOW_BYTES_ALONE);
    }

    #[test]
    fn alone_on_a_long_way_what_is_late_halves_the_window_too() {
        let (mut window, mut round) = rounds_beside(|_| Small::default());
        for took_us in [20_000, 40_000, 40_000, 40_000] {
            round(&mut window, took_us);
        }
        assert_eq!(window.bytes(), WINDOW_BYTES_MIN);
    }
}

//! How much of the bulk lane is on the way over one link.
//!
//! What is on the way waits somewhere: in the sockets of both ends, in the network's queues, for the peer's processor; and what is small, though it goes first at each end, waits behind it there.
//! So the bulk lane has a window of its own that yields before others notice, in the manner of LEDBAT (RFC 6817): as long as acknowledgements come about as soon as the soonest did, it grows, and as soon as they come later, it shrinks.

use std::time::Duration;

use rolecast_membership::Time;

/// The window of one link's bulk lane.
#[derive(Debug)]
pub(crate) struct BulkWindow {
    bytes: usize,
    /// A frame that is on the way, by its number, and since when.
    probe: Option<(u64, Time)>,
    /// The shortest time that an acknowledgement took, and since when that counts.
    shortest: Option<(Duration, Time)>,
}

/// A chunk of the usual size: what is small waits behind one at most at each end, for every link.
const WINDOW_BYTES_MIN: usize = 64 << 10;
/// What the other end's QUIC takes in advance.
const WINDOW_BYTES_MAX: usize = 8 << 20;
/// By which part of itself the window grows for each acknowledgement that is soon enough.
const STEP: usize = 16;
/// By how much later than the soonest an acknowledgement may come at most: what a small message may have to wait.
/// Over a short way it is as much as the soonest took, so that nothing takes more than twice as long as it would alone.
const DELAY_MAX: Duration = Duration::from_millis(3);
/// After so long the soonest is looked for anew, since ways change.
const SHORTEST_FOR: Duration = Duration::from_secs(10);

impl Default for BulkWindow {
    fn default() -> Self {
        BulkWindow {
            bytes: WINDOW_BYTES_MIN,
            probe: None,
            shortest: None,
        }
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
    pub(crate) fn on_acknowledged(&mut self, now: Time, received: u64) {
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
        self.bytes = if took <= shortest + shortest.min(DELAY_MAX) {
            (self.bytes + self.bytes / STEP).min(WINDOW_BYTES_MAX)
        } else {
            (self.bytes / 2).max(WINDOW_BYTES_MIN)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A window, and a round in which a frame goes out and is acknowledged after so many microseconds.
    fn rounds() -> (BulkWindow, impl FnMut(&mut BulkWindow, u64)) {
        let mut now = Time::ZERO;
        let mut number = 0;
        let round = move |window: &mut BulkWindow, took_us| {
            number += 1;
            window.on_sent(now, number);
            now = now + Duration::from_micros(took_us);
            window.on_acknowledged(now, number - 1);
            window.on_acknowledged(now, number);
        };
        (BulkWindow::default(), round)
    }

    #[test]
    fn the_window_grows_while_nothing_waits_and_yields_when_something_does() {
        let (mut window, mut round) = rounds();
        for _ in 0..12 {
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
}

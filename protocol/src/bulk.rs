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

/// Two chunks of the usual size, so that the link is not idle while one is acknowledged.
const WINDOW_BYTES_MIN: usize = 256 << 10;
/// What the other end's QUIC takes in advance.
const WINDOW_BYTES_MAX: usize = 8 << 20;
/// By how much the window grows for each acknowledgement that is soon enough.
const STEP_BYTES: usize = 64 << 10;
/// By how much later than the soonest an acknowledgement may come: what a small message may have to wait.
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
        self.bytes = if took <= shortest + DELAY_MAX {
            (self.bytes + STEP_BYTES).min(WINDOW_BYTES_MAX)
        } else {
            (self.bytes / 2).max(WINDOW_BYTES_MIN)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_grows_while_nothing_waits_and_yields_when_something_does() {
        let mut window = BulkWindow::default();
        let mut now = Time::ZERO;
        let mut number = 0;
        let mut round = |window: &mut BulkWindow, took_ms| {
            number += 1;
            window.on_sent(now, number);
            now = now + Duration::from_millis(took_ms);
            window.on_acknowledged(now, number - 1);
            window.on_acknowledged(now, number);
        };
        for _ in 0..10 {
            round(&mut window, 50);
        }
        let grown = WINDOW_BYTES_MIN + 10 * STEP_BYTES;
        assert_eq!(window.bytes(), grown, "however long the way is");
        round(&mut window, 60);
        assert_eq!(window.bytes(), grown / 2);
        for _ in 0..10 {
            round(&mut window, 60);
        }
        assert_eq!(window.bytes(), WINDOW_BYTES_MIN);
        for _ in 0..1_000 {
            round(&mut window, 60);
        }
        assert!(
            window.bytes() > WINDOW_BYTES_MIN,
            "the way has become longer"
        );
    }
}

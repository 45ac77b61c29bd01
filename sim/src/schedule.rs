//! What happens next: events in virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rolecast_membership::Time;

/// Events that are due, in the order of their time; those of the same time in the order in which they were put in.
///
/// The events stay where they are put; what is sorted are their times, which are a fraction of the size.
#[derive(Debug)]
pub struct Schedule<E> {
    heap: BinaryHeap<Reverse<Entry>>,
    events: Vec<Option<E>>,
    /// Places in `events` that are free.
    free: Vec<u32>,
    inserted: u64,
    now: Time,
}

/// In the order in which they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    at: Time,
    number: u64,
    place: u32,
}

impl<E> Default for Schedule<E> {
    fn default() -> Self {
        Schedule {
            heap: BinaryHeap::new(),
            events: Vec::new(),
            free: Vec::new(),
            inserted: 0,
            now: Time::ZERO,
        }
    }
}

impl<E> Schedule<E> {
    /// The time of the event taken out last.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// How many events wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Puts an event in; one that is due in the past is due at once.
    pub fn put(&mut self, at: Time, event: E) {
        let place = self.keep(event);
        let number = self.inserted;
        self.inserted += 1;
        self.heap.push(Reverse(Entry {
            at: at.max(self.now),
            number,
            place,
        }));
    }

    fn keep(&mut self, event: E) -> u32 {
        if let Some(place) = self.free.pop() {
            self.events[place as usize] = Some(event);
            return place;
        }
        self.events.push(Some(event));
        u32::try_from(self.events.len() - 1).expect("fewer events wait than 2^32")
    }

    /// Takes out the next event, and moves time on to it.
    pub fn take_next(&mut self) -> Option<(Time, E)> {
        let Reverse(Entry { at, place, .. }) = self.heap.pop()?;
        self.now = at;
        self.free.push(place);
        let event = self.events[place as usize].take();
        Some((at, event.expect("it was kept until its time")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_as_put_in() {
        let mut schedule = Schedule::default();
        for (at, name) in [(5, 'd'), (1, 'a'), (3, 'b'), (3, 'c'), (9, 'f')] {
            schedule.put(Time::from_micros(at), name);
        }
        let mut order = String::new();
        while let Some((at, name)) = schedule.take_next() {
            order.push(name);
            if name == 'd' {
                assert_eq!(at, Time::from_micros(5));
                // Due in the past: due at once.
                schedule.put(Time::from_micros(2), 'e');
            }
        }
        assert_eq!(order, "abcdef");
        assert_eq!(schedule.now(), Time::from_micros(9));
    }
}

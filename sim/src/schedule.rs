//! What happens next: events in virtual time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use rolecast_membership::Time;

/// Events that are due, in the order of their time; those of the same time in the order in which they were put in.
#[derive(Debug)]
pub struct Schedule<E> {
    heap: BinaryHeap<Entry<E>>,
    inserted: u64,
    now: Time,
}

#[derive(Debug)]
struct Entry<E> {
    at: Time,
    number: u64,
    event: E,
}

impl<E> Default for Schedule<E> {
    fn default() -> Self {
        Schedule {
            heap: BinaryHeap::new(),
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
        let number = self.inserted;
        self.inserted += 1;
        self.heap.push(Entry {
            at: at.max(self.now),
            number,
            event,
        });
    }

    /// Takes out the next event, and moves time on to it.
    pub fn take_next(&mut self) -> Option<(Time, E)> {
        let entry = self.heap.pop()?;
        self.now = entry.at;
        Some((entry.at, entry.event))
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    /// The heap's greatest is the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
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

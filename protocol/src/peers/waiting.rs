//! What one lane of a link has been given and the transport has not taken on.

use std::collections::VecDeque;

/// The bytes that wait, this node's own and those that it passes on for others, which have bounds of their own.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    own: usize,
    for_others: usize,
    /// In the order in which they go: for others or not, and how many.
    runs: VecDeque<(bool, usize)>,
}

impl Waiting {
    /// This node's own bytes, over the link itself or over ways that begin with it.
    pub(crate) fn own(&self) -> usize {
        self.own
    }

    /// Whether the transport has taken on everything.
    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Bytes that are passed on for others.
    pub(crate) fn for_others(&self) -> usize {
        self.for_others
    }

    /// Bytes of this node's own were handed over.
    pub(crate) fn add_own(&mut self, bytes: usize) {
        self.add(false, bytes);
    }

    /// Bytes of others were handed over.
    pub(crate) fn add_for_others(&mut self, bytes: usize) {
        self.add(true, bytes);
    }

    fn add(&mut self, for_others: bool, bytes: usize) {
        *self.count_mut(for_others) += bytes;
        match self.runs.back_mut() {
            Some((kind, run)) if *kind == for_others => *run += bytes,
            _ => self.runs.push_back((for_others, bytes)),
        }
    }

    /// The transport has taken on so many bytes.
    pub(crate) fn take(&mut self, mut bytes: usize) {
        while bytes > 0
            && let Some((for_others, run)) = self.runs.front_mut()
        {
            let for_others = *for_others;
            let taken = bytes.min(*run);
            *run -= taken;
            if *run == 0 {
                self.runs.pop_front();
            }
            bytes -= taken;
            *self.count_mut(for_others) -= taken;
        }
    }

    fn count_mut(&mut self, for_others: bool) -> &mut usize {
        match for_others {
            true => &mut self.for_others,
            false => &mut self.own,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_handed_over_first_is_taken_first() {
        let mut waiting = Waiting::default();
        waiting.add_own(100);
        waiting.add_for_others(50);
        waiting.add_for_others(10);
        waiting.add_own(7);
        assert_eq!((waiting.own(), waiting.for_others()), (107, 60));
        waiting.take(99);
        assert_eq!((waiting.own(), waiting.for_others()), (8, 60));
        waiting.take(31);
        assert_eq!((waiting.own(), waiting.for_others()), (7, 30));
        waiting.take(1_000);
        assert_eq!((waiting.own(), waiting.for_others()), (0, 0));
        assert!(waiting.runs.is_empty());
    }
}

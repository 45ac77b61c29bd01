//! Who plays what in the demo.

use crate::demo::cast::name;

/// Who plays what; processes by their index.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    /// How many processes there are.
    pub(crate) nodes: usize,
    /// Sends from beginning to end.
    pub(crate) sender: usize,
    /// Is killed while it sends.
    pub(crate) victim: usize,
    /// Hold `feed` from beginning to end, and survive.
    pub(crate) survivors: Vec<usize>,
    /// Hold `oracle`.
    pub(crate) oracles: Vec<usize>,
}

impl Parts {
    /// Hands the parts out: the last node dies, the one before sends, and the rest listens.
    pub(crate) fn of(nodes: usize) -> Self {
        Parts {
            nodes,
            sender: nodes - 2,
            victim: nodes - 1,
            survivors: (0..nodes - 1).collect(),
            oracles: (0..nodes - 2).collect(),
        }
    }

    /// All processes.
    pub(crate) fn all(&self) -> Vec<usize> {
        (0..self.nodes).collect()
    }
}

/// Names in a row.
pub(crate) fn names(indices: &[usize]) -> String {
    let names: Vec<String> = indices.iter().map(|&index| name(index)).collect();
    names.join(" ")
}

/// The role that two nodes send to at once.
pub(crate) const FEED: &str = "feed";
/// The role that answers questions.
pub(crate) const ORACLE: &str = "oracle";
/// The role that moves.
pub(crate) const LEDGER: &str = "ledger";
/// Who holds the ledger at first.
pub(crate) const FIRST_LEDGER: usize = 0;
/// Who holds the ledger in the end.
pub(crate) const SECOND_LEDGER: usize = 1;
/// Who tells the planted lie.
pub(crate) const LIAR: usize = 1;

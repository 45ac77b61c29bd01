//! What a sender may ask for: how its multicasts spread, in which order they come, and how safe they are before they do.

use std::fmt;

use crate::spread::{self, Audience};

/// How a multicast spreads.
///
/// ```
/// # use rolecast_protocol::Dissemination;
/// // Agreement is the default; to give it up takes a word.
/// assert_eq!(Dissemination::default(), Dissemination::Digest);
/// assert_ne!(Dissemination::default(), Dissemination::BestEffort);
/// ```
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
pub enum Dissemination {
    /// Receivers keep what they got, tell each other how far they are, and fetch what they miss: agreement, at O(n) payloads.
    /// When the sender dies in the middle, the survivors have a message two round trips and ten milliseconds after the first of them, if their links are up and there are at most nine of them; twice that in a role of 81, and so on, since each tells eight others at a time.
    #[default]
    Digest,
    /// Every receiver relays on first receipt: agreement, at O(n²) payloads, one hop after the first survivor has the message.
    Eager,
    /// Nobody relays: no agreement if the sender dies.
    BestEffort,
    /// An epidemic, for large roles: the sender sends to `fanout` holders, and every holder passes on what it got first to `fanout` others, drawn by lot.
    /// Whom that leaves out fetches it from others: agreement as with `Digest`, at `fanout` payloads for each holder, of which no more than that leave the sender, within O(log n) hops for nearly all.
    /// How soon a holder has a message is a matter of chance.
    ///
    /// A fanout of zero is refused, and [`Order::Causal`] is.
    Gossip {
        /// To how many others each node sends; [`Dissemination::gossip`] chooses a usual number.
        fanout: u8,
    },
}

impl Dissemination {
    /// All of them.
    ///
    /// ```
    /// # use rolecast_protocol::Dissemination;
    /// let words: Vec<String> = Dissemination::ALL.iter().map(|way| format!("{way:?}")).collect();
    /// assert_eq!(words, ["Digest", "Eager", "BestEffort", "Gossip { fanout: 4 }"]);
    /// ```
    pub const ALL: [Dissemination; 4] = [
        Dissemination::Digest,
        Dissemination::Eager,
        Dissemination::BestEffort,
        Dissemination::gossip(),
    ];

    /// Gossip with the usual fanout, four.
    ///
    /// Of a hundred holders, two get a message only when they fetch it; a higher fanout makes that rarer and costs as many more payloads.
    ///
    /// ```
    /// # use rolecast_protocol::Dissemination;
    /// assert_eq!(Dissemination::gossip(), Dissemination::Gossip { fanout: 4 });
    /// assert_eq!(Dissemination::gossip().to_string(), "gossip to 4");
    /// ```
    #[must_use]
    pub const fn gossip() -> Self {
        Dissemination::Gossip { fanout: 4 }
    }
}

impl fmt::Display for Dissemination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dissemination::Digest => f.write_str("digest"),
            Dissemination::Eager => f.write_str("eager"),
            Dissemination::BestEffort => f.write_str("best effort"),
            Dissemination::Gossip { fanout } => write!(f, "gossip to {fanout}"),
        }
    }
}

/// In which order a receiver gets the multicasts of one sender.
///
/// ```
/// # use rolecast_protocol::Order;
/// assert_eq!(Order::default(), Order::Fifo);
/// ```
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
pub enum Order {
    /// As they come: none waits for an earlier one that is missing.
    Unordered,
    /// As they were sent.
    #[default]
    Fifo,
    /// As they were sent, and after everything that the sender, as a holder of the role, had been given in this order before it sent them.
    Causal,
}

impl Order {
    /// All of them.
    ///
    /// ```
    /// # use rolecast_protocol::Order;
    /// assert!(Order::ALL.contains(&Order::default()));
    /// ```
    pub const ALL: [Order; 3] = [Order::Unordered, Order::Fifo, Order::Causal];
}

/// What is promised to the multicasts of a flow, all of which have the same.
///
/// ```
/// # use rolecast_protocol::{Dissemination, Mode};
/// let mode = Mode { k_safe: 2, ..Mode::default() };
/// assert_eq!(mode.dissemination, Dissemination::Digest);
/// assert_ne!(mode, Mode::from(Dissemination::Digest), "whoever asks for nothing waits for nobody");
/// ```
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Mode {
    /// How they spread.
    pub dissemination: Dissemination,
    /// In which order a receiver gets them.
    pub order: Order,
    /// How many members of its destination set hold a message before one of them delivers it: with one, nobody waits for another.
    pub k_safe: u8,
}

impl Mode {
    /// The one that comes before all others.
    pub(crate) const FIRST: Mode = Mode {
        dissemination: Dissemination::Digest,
        order: Order::Unordered,
        k_safe: 0,
    };

    /// Whether messages may have to wait after they were received and come in turn.
    pub(crate) fn holds_back(self) -> bool {
        self.k_safe > 1 || self.order == Order::Causal
    }

    /// Whether the origin sends everything to everybody itself, in its own order, and nothing waits for anything but what was sent before it.
    pub(crate) fn is_plain(self) -> bool {
        let to_all = spread::of(self).on_origination() == Audience::All;
        to_all && self.order == Order::Fifo && self.k_safe <= 1
    }

    /// Whether there can be a flow with this mode: somebody has to keep what others wait for.
    pub(crate) fn is_possible(self) -> bool {
        let strategy = spread::of(self);
        let kept = strategy.agrees() || !self.holds_back();
        let ordered = strategy.allows_causal() || self.order != Order::Causal;
        self.k_safe > 0 && strategy.is_possible() && kept && ordered
    }
}

impl Default for Mode {
    fn default() -> Self {
        Dissemination::default().into()
    }
}

impl From<Dissemination> for Mode {
    fn from(dissemination: Dissemination) -> Self {
        Mode {
            dissemination,
            order: Order::default(),
            k_safe: 1,
        }
    }
}

//! Who a node is: the key it holds, the life it is in, and where it is dialled.

use std::cmp::Ordering;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The identity of a node: the SHA-256 hash of its certificate's public key.
///
/// `Display` shows the first ten hexadecimal digits, which is what people read and type;
/// [`NodeId::to_hex`] shows all 64.
///
/// ```
/// # use rolecast_membership::NodeId;
/// let id: NodeId = "00ff".repeat(16).parse()?;
/// assert_eq!(id.to_string(), "00ff00ff00");
/// assert_eq!(id.to_hex().parse(), Ok(id));
/// # Ok::<(), rolecast_membership::ParseNodeIdError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodeId([u8; 32]);

impl NodeId {
    /// Wraps a hash.
    ///
    /// ```
    /// # use rolecast_membership::NodeId;
    /// assert_eq!(NodeId::from_bytes([0xab; 32]).to_string(), "ababababab");
    /// ```
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        NodeId(bytes)
    }

    /// The hash.
    ///
    /// ```
    /// # use rolecast_membership::NodeId;
    /// let id = NodeId::from_bytes([7; 32]);
    /// let shard = id.as_bytes()[0] % 4;
    /// assert_eq!(shard, 3);
    /// ```
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first bytes as a number, which orders ids as far as it tells them apart.
    #[inline]
    pub(crate) fn head(&self) -> u64 {
        let head = self.0.first_chunk().expect("an id has 32 bytes");
        u64::from_be_bytes(*head)
    }

    /// All 64 hexadecimal digits.
    ///
    /// ```
    /// # use rolecast_membership::NodeId;
    /// assert_eq!(NodeId::from_bytes([0xab; 32]).to_hex(), "ab".repeat(32));
    /// ```
    #[must_use]
    pub fn to_hex(&self) -> String {
        use fmt::Write as _;
        self.0
            .iter()
            .fold(String::with_capacity(64), |mut hex, byte| {
                // Writing to a string cannot fail.
                let _ = write!(hex, "{byte:02x}");
                hex
            })
    }
}

/// The order of the bytes, from the first to the last.
///
/// The head alone tells almost all pairs apart, and is compared without a call: maps by node are looked into for every frame.
impl Ord for NodeId {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        match self.head().cmp(&other.head()) {
            // What is looked for is mostly there, and equal arrays are compared without a call.
            Ordering::Equal if self == other => Ordering::Equal,
            Ordering::Equal => self.0[HEAD_BYTES..].cmp(&other.0[HEAD_BYTES..]),
            different => different,
        }
    }
}

impl PartialOrd for NodeId {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..5]
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is no node id.
///
/// ```
/// # use rolecast_membership::{NodeId, ParseNodeIdError};
/// // The ten digits that `Display` shows name a node among few, and are no id.
/// assert_eq!("ababababab".parse::<NodeId>(), Err(ParseNodeIdError));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a node id is 64 hexadecimal digits")]
pub struct ParseNodeIdError;

impl FromStr for NodeId {
    type Err = ParseNodeIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 64 || !text.is_ascii() {
            return Err(ParseNodeIdError);
        }
        let mut bytes = [0u8; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[index * 2..index * 2 + 2], 16)
                .map_err(|_| ParseNodeIdError)?;
        }
        Ok(NodeId(bytes))
    }
}

/// A node's life: it rises with every restart and every rejoin, and never falls.
///
/// ```
/// # use rolecast_membership::Epoch;
/// let (before, after) = (Epoch(1_753_000_000_000), Epoch(1_753_000_000_001));
/// assert!(after > before, "the node has started again");
/// ```
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One life of one node, and the address at which it is dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// Which node.
    pub id: NodeId,
    /// Which of its lives.
    pub epoch: Epoch,
    /// Where it is dialled.
    pub addr: SocketAddr,
}

/// How many bytes make up the head of an id.
const HEAD_BYTES: usize = size_of::<u64>();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_ids_are_ordered_as_their_bytes_are() {
        let differs_at = |place: usize, by: u8| {
            let bytes = std::array::from_fn(|index| if index == place { by } else { 100 });
            NodeId::from_bytes(bytes)
        };
        let ids: Vec<NodeId> = (0..32)
            .flat_map(|place| [99, 100, 200].map(|by| differs_at(place, by)))
            .collect();
        for a in &ids {
            for b in &ids {
                assert_eq!(a.cmp(b), a.as_bytes().cmp(b.as_bytes()), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn node_ids_survive_the_way_through_text() {
        let id = NodeId::from_bytes(std::array::from_fn(|index| index as u8));
        assert_eq!(id.to_hex().parse(), Ok(id));
        assert_eq!(id.to_string(), "0001020304");
        for bad in ["", "00", &"g".repeat(64), &"é".repeat(32)] {
            assert_eq!(bad.parse::<NodeId>(), Err(ParseNodeIdError));
        }
    }
}

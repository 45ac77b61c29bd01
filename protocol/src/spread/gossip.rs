//! An epidemic: the origin sends a batch to a few members, and every member that receives it first passes it on to a few others, drawn by lot.
//!
//! This is rumour mongering backed up by anti-entropy, as in Demers et al., "Epidemic Algorithms for Replicated Database Maintenance" (1987, sections 1.4 and 1.5):
//!
//! - Payloads are *pushed*, *blind*, with a *counter*: whoever gets a batch first sends it `fanout` times and never again. After m transmissions for each member, e^−m of the members have nothing: with a fanout of four about two of a hundred. The same is algorithm 3.9 of Cachin, Guerraoui and Rodrigues (2011), eager probabilistic broadcast, in which the first receipt takes the place of the count of rounds.
//! - What is left is fetched: members tell others how far they are, in rounds, and whoever misses something pulls it (their algorithm 3.10, lazy probabilistic broadcast, with digests in place of gaps in the numbers). These words are a rumour too, with *feedback* and *coin*: a member that hears that another one has all that it has itself loses interest with probability 1/[`COIN`].
//! - Who has lost interest goes on with anti-entropy at a slow pace, which ends when everybody is known to have everything. The origin takes part, since it sent most members nothing.
//!
//! So how fast a member has a message is a matter of chance, and that it gets it is not.

use super::{Audience, Interest, Keepers, Strategy};
use crate::mode::Dissemination;

/// See the module.
pub(crate) struct Gossip {
    pub(crate) fanout: u8,
}

/// The k of Demers et al.: of so many words that tell a member nothing, one makes it lose interest.
/// Each round brings as many words as go out, so that hardly anybody is interested for longer than it takes to tell what is not merely on its way.
const COIN: u32 = 4;

impl Strategy for Gossip {
    fn on_origination(&self) -> Audience {
        Audience::Some(self.fanout.into())
    }

    fn on_first_receipt(&self) -> Audience {
        Audience::Some(self.fanout.into())
    }

    fn on_equal_digest(&self) -> Interest {
        Interest::LostOnceIn(COIN)
    }

    fn on_pull(&self) -> Keepers {
        Keepers::MembersAndOrigin
    }

    fn is_possible(&self) -> bool {
        self.fanout > 0
    }

    /// A message may come to members that will never hear of another one that its sender had sent before and died.
    fn allows_causal(&self) -> bool {
        false
    }

    /// Their chunks are large, and would travel `fanout` times to each member.
    fn for_large(&self) -> Option<Dissemination> {
        Some(Dissemination::Digest)
    }
}

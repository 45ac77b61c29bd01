//! The words that the engine and its drivers exchange.

use std::net::SocketAddr;

use bytes::Bytes;
use rolecast_membership::{Epoch, Event as MembershipEvent, NodeId, RoleName};

use crate::batch::Batch;
use crate::notice::{Lagged, Started};
use crate::wire::FlowKey;

/// The name that the driver gave to one connection; never used again within one engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// Which of a link's reliable streams: control never waits behind data, nor data behind bulk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Small and urgent.
    Control,
    /// Everything that carries payload, and what must stay in order with it.
    Data,
    /// The parts of large payloads.
    Bulk,
}

impl Class {
    /// All of them, the more urgent ones first.
    pub const ALL: [Class; 3] = [Class::Control, Class::Data, Class::Bulk];
}

/// What happened outside.
#[derive(Clone, Debug)]
pub enum Input {
    /// A link to a peer is open: frames of all classes and datagrams may be sent.
    /// A second `LinkUp` for the same peer replaces the first link.
    LinkUp {
        /// The link's name.
        link: LinkId,
        /// Whose key the other end proved to hold.
        peer: NodeId,
        /// Where the other end was seen.
        addr: SocketAddr,
    },
    /// A link is gone, and with it everything on the way in it.
    LinkDown {
        /// Which link.
        link: LinkId,
    },
    /// A dial that the engine asked for failed.
    DialFailed {
        /// The address that was dialled.
        addr: SocketAddr,
    },
    /// A datagram arrived.
    Datagram {
        /// Over which link.
        link: LinkId,
        /// What it holds.
        bytes: Bytes,
    },
    /// A whole frame arrived.
    Frame {
        /// Over which link.
        link: LinkId,
        /// On which of its streams.
        class: Class,
        /// What it holds.
        bytes: Bytes,
    },
    /// The transport has taken on bytes of data or bulk that were handed to it.
    Written {
        /// For which link.
        link: LinkId,
        /// Of which class.
        class: Class,
        /// How many, since the last such word.
        bytes: usize,
    },
    /// The application has taken what a delivery carried.
    Consumed {
        /// The delivery's ticket.
        ticket: Ticket,
    },
    /// A deadline passed, or may have.
    Timeout,
}

/// What is to be done outside.
#[derive(Clone, Debug)]
pub enum Output {
    /// Open a link.
    Dial {
        /// To this address.
        addr: SocketAddr,
        /// The node expected there, if it is known.
        peer: Option<NodeId>,
    },
    /// Close a link.
    Close {
        /// Which one.
        link: LinkId,
        /// Why.
        reason: CloseReason,
    },
    /// Send a datagram, unreliably.
    Datagram {
        /// Over this link.
        link: LinkId,
        /// What it holds: at most 1,100 bytes.
        bytes: Bytes,
    },
    /// Send one frame, whose bytes are `head` followed by `body`.
    Frame {
        /// Over this link.
        link: LinkId,
        /// On this of its streams.
        class: Class,
        /// The frame's first part.
        head: Bytes,
        /// Its second part.
        body: Bytes,
    },
    /// Put something into an inbox.
    Deliver {
        /// Which inbox.
        inbox: InboxId,
        /// What.
        delivery: Delivery,
    },
    /// Tell the application or the log.
    Event(Event),
}

/// Why a link is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The node is leaving.
    Leaving,
    /// Neither end needs it at this moment.
    Idle,
    /// The peer sent something that the protocol does not allow.
    Violation(&'static str),
}

/// How a node reaches another one.
///
/// ```
/// # use rolecast_membership::NodeId;
/// # use rolecast_protocol::{LinkId, Reach};
/// assert_ne!(Reach::Direct(LinkId(1)), Reach::Over(NodeId::from_bytes([3; 32])));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Over this link.
    Direct(LinkId),
    /// Over other members, this one first.
    Over(NodeId),
    /// Over a link that is closed until there is something to send.
    Resting,
    /// Not at this moment.
    Unreachable,
}

/// One holding of a role, as its holder's driver knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InboxId(pub u64);

/// A sender's numbered sequence of multicasts to one role.
///
/// ```
/// # use rolecast_membership::{Epoch, NodeId};
/// # use rolecast_protocol::{FlowId, Gap, Origin, Seq};
/// # let origin = Origin { node: NodeId::from_bytes([7; 32]), epoch: Epoch(1) };
/// let gap = Gap::Range { origin, flow: FlowId(2), first: Seq(4), last: Seq(6) };
/// // An origin that sends to a role both ways, eagerly and with best effort, has two flows to it.
/// assert!(matches!(gap, Gap::Range { flow: FlowId(2), .. }));
/// ```
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct FlowId(pub u32);

impl FlowId {
    /// The flows of large payloads have the numbers from this one on.
    pub(crate) const LARGE_FIRST: FlowId = FlowId(1 << 31);

    /// The flow of the large payload with this number, if there may be so many.
    pub(crate) fn large(number: u32) -> Option<Self> {
        let last = u32::MAX - FlowId::LARGE_FIRST.0;
        (number <= last).then(|| FlowId(FlowId::LARGE_FIRST.0 + number))
    }

    /// Whether its messages are the chunks of one large payload.
    ///
    /// ```
    /// # use rolecast_protocol::FlowId;
    /// assert!(!FlowId(2).is_large());
    /// ```
    #[must_use]
    pub fn is_large(self) -> bool {
        self >= FlowId::LARGE_FIRST
    }
}

/// The position of a multicast within its flow, from 1; without holes.
///
/// ```
/// # use rolecast_protocol::Seq;
/// let (last_seen, came) = (Seq(4), Seq(7));
/// assert!(came > last_seen);
/// assert_eq!(came.0 - last_seen.0 - 1, 2, "so many in between were for another mode, or are reported as a gap");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

/// An anycast, unicast or request that awaits its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// Names what was delivered, to be handed back in [`Input::Consumed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub(crate) kind: TicketKind,
}

/// What a ticket stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TicketKind {
    /// Multicasts up to this one of another node's flow.
    Flow {
        key: FlowKey,
        upto: u64,
        bytes: usize,
    },
    /// Multicasts up to this one of this node's own flow.
    Own { flow: FlowId, upto: u64 },
    /// So many bytes of calls in an inbox.
    Call { inbox: InboxId, bytes: usize },
}

/// Who sent something.
///
/// ```
/// # use rolecast_membership::{Epoch, NodeId};
/// # use rolecast_protocol::Origin;
/// let node = NodeId::from_bytes([7; 32]);
/// let (former, present) = (Origin { node, epoch: Epoch(1) }, Origin { node, epoch: Epoch(2) });
/// assert_eq!(former.node, present.node);
/// assert_ne!(former, present, "another life owes nothing to the former one");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// Which node.
    pub node: NodeId,
    /// In which of its lives.
    pub epoch: Epoch,
}

/// Where a reply goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyTo {
    /// Who asked.
    pub origin: Origin,
    /// Which of its calls.
    pub call: CallId,
}

/// What goes into an inbox.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// Multicasts of one origin, in order: messages `first`, `first + 1`, ... of its flow.
    Messages {
        /// Who sent them.
        origin: Origin,
        /// Which of the origin's flows.
        flow: FlowId,
        /// The position of the first message.
        first: Seq,
        /// The messages.
        batch: Batch,
        /// To be handed back when the application has taken all of them.
        ticket: Ticket,
    },
    /// One anycast, unicast or request.
    Call {
        /// Who sent it, and where a reply goes.
        from: ReplyTo,
        /// Whether the sender awaits a reply.
        wants_reply: bool,
        /// The payload.
        payload: Bytes,
        /// To be handed back when the application has taken it.
        ticket: Ticket,
    },
    /// The announcement of a large payload, in its place among the origin's multicasts.
    /// Its chunks come on their own and may come first.
    Large {
        /// Who sends it.
        origin: Origin,
        /// Which of the origin's flows announced it.
        flow: FlowId,
        /// The position in that flow.
        seq: Seq,
        /// The flow of its own.
        large: FlowId,
        /// Its length in bytes, if the origin knows it.
        length: Option<u64>,
        /// To be handed back when the application has taken the announcement.
        ticket: Ticket,
    },
    /// The next chunk of a large payload.
    Chunk {
        /// Who sends it.
        origin: Origin,
        /// The payload's own flow.
        flow: FlowId,
        /// The chunk.
        chunk: Bytes,
        /// To be handed back when the application has taken it.
        ticket: Ticket,
    },
    /// The end of a large payload, after its last chunk.
    LargeEnd {
        /// Who sent it.
        origin: Origin,
        /// The payload's own flow.
        flow: FlowId,
        /// How it ended.
        end: LargeEnd,
    },
    /// Messages that were meant for this inbox and will never come.
    Gap(Gap),
    /// A flow of which the inbox gets nothing before a certain message, because it was sent before.
    Started(Started),
    /// Messages that this inbox does not get because its program was too slow, before [`Delivery::Started`] if the flow goes on.
    Lagged(Lagged),
}

/// How a large payload ended at one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LargeEnd {
    /// All of it was delivered.
    Complete,
    /// What was delivered is a first part of it, and nothing more will come: its sender broke off or died, or this node was declared down.
    CutShort,
    /// It is longer than [`crate::Limits::large_bytes_max`].
    TooLarge,
    /// What was delivered is a first part of it: the program took it too slowly, and its sender went on without this node.
    Lagged,
}

/// A promise that could not be kept.
///
/// ```
/// # use rolecast_membership::{Epoch, NodeId};
/// # use rolecast_protocol::{FlowId, Gap, Origin, Seq};
/// /// How many messages are missing, if that is known.
/// fn missing(gap: Gap) -> Option<u64> {
///     match gap {
///         Gap::Range { first, last, .. } => Some(last.0 - first.0 + 1),
///         Gap::DeclaredDown { .. } => None,
///     }
/// }
/// # let origin = Origin { node: NodeId::from_bytes([7; 32]), epoch: Epoch(1) };
/// let gap = Gap::Range { origin, flow: FlowId(0), first: Seq(4), last: Seq(6) };
/// assert_eq!(missing(gap), Some(3));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// Messages `first..=last` of this flow are lost to this inbox.
    Range {
        /// Who sent them.
        origin: Origin,
        /// Which of the origin's flows.
        flow: FlowId,
        /// The first lost one.
        first: Seq,
        /// The last lost one.
        last: Seq,
    },
    /// This node was declared down while it lived: whatever was on the way to its former life is lost.
    DeclaredDown {
        /// The life that ended.
        epoch: Epoch,
    },
}

/// To whom a call goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Any one holder of the role, chosen so.
    Any(RoleName, Pick),
    /// This node, if it holds the role.
    Node(NodeId, RoleName),
    /// Any one holder of a role, chosen so, among those that hold this narrower one as long as there is one.
    Near {
        /// The role.
        role: RoleName,
        /// The same, narrowed to where a holder is wanted.
        first: RoleName,
        /// How one is chosen.
        pick: Pick,
    },
}

/// How one holder is chosen among many.
///
/// ```
/// # use rolecast_protocol::Pick;
/// assert_eq!(Pick::default(), Pick::RoundRobin);
/// // What belongs together goes to the same holder.
/// let pick = Pick::Sticky("user 17".into());
/// assert_ne!(pick, Pick::Sticky("user 18".into()));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pick {
    /// Each in its turn.
    #[default]
    RoundRobin,
    /// The one that owes this node the fewest answers.
    LeastOutstanding,
    /// Always the same one for the same key, as long as it holds the role (rendezvous hashing).
    Sticky(Bytes),
}

/// What a holder is asked to do with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    /// Take it: the call ends when the holder has put it into its inbox.
    OneWay,
    /// Answer it: the call ends with the reply.
    Request,
}

/// How a call ended at one holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is in the holder's inbox (one-way calls).
    Taken,
    /// The holder replied.
    Reply(Bytes),
    /// The holder refused: it did nothing with the message.
    Refused(Refusal),
    /// The message was never handed to a link: trying again is safe.
    NotSent,
    /// The message may have arrived, and no answer will come: the holder is down or left.
    Unknown,
    /// The deadline passed; the message may have arrived.
    TimedOut,
}

/// Why a holder did nothing with a message.
///
/// ```
/// # use rolecast_protocol::Refusal;
/// /// Whether another holder might do what this one did not.
/// fn ask_another(refusal: Refusal) -> bool {
///     match refusal {
///         Refusal::NotHolder | Refusal::Busy => true,
///         // Its program has seen the request, and decided.
///         Refusal::Dropped => false,
///     }
/// }
/// assert!(ask_another(Refusal::Busy));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Refusal {
    /// It does not hold the role.
    NotHolder,
    /// Its inbox is full.
    Busy,
    /// Its application dropped the request without a reply.
    Dropped,
}

/// What the application or the log wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The mesh changed.
    Membership(Box<MembershipEvent>),
    /// The holders of a role changed, as seen by this node.
    Holders(RoleName),
    /// A call, or one holder's part of a question to all, ended.
    Answered {
        /// Which call.
        call: CallId,
        /// Which holder.
        node: Option<NodeId>,
        /// How it ended.
        answer: Answer,
        /// Whether no further answer to this call comes.
        last: bool,
    },
    /// A flow that refused a batch for want of room takes batches again.
    Writable(FlowId),
    /// Every member of the destination set has taken all messages up to `upto`, or was named in [`Event::Lost`], [`Event::Evicted`] or [`Event::Superseded`].
    Settled {
        /// Which flow.
        flow: FlowId,
        /// The last message.
        upto: Seq,
    },
    /// As many members of their destination sets as the flow's mode asks for hold all messages up to `upto`, apart from those that were given up, and do not need this node to know so.
    /// With a `k_safe` of one that is any member but the sender itself.
    Stable {
        /// Which flow.
        flow: FlowId,
        /// The last message.
        upto: Seq,
    },
    /// Fewer than `k_safe` members hold these messages or are alive to get them: they are given up, and nobody delivers them who has not.
    Unstable {
        /// Which flow.
        flow: FlowId,
        /// The first message.
        first: Seq,
        /// The last message.
        upto: Seq,
    },
    /// A member is meant no longer, because it was declared down, left, or dropped the role, and has not acknowledged these messages.
    /// Those of them that were sent before it went may have reached it.
    Lost {
        /// Which flow.
        flow: FlowId,
        /// Which member.
        node: NodeId,
        /// The last message that it acknowledged.
        after: Seq,
        /// The last message that was sent to it.
        upto: Seq,
    },
    /// A member kept the window shut for too long: the flow goes on without it, and it has not acknowledged these messages.
    /// It may take them yet, or is told that it lags.
    Evicted {
        /// Which flow.
        flow: FlowId,
        /// Which member.
        node: NodeId,
        /// The last message that it acknowledged.
        after: Seq,
        /// The last message that was sent to it.
        upto: Seq,
    },
    /// A member keeps the window shut: the flow goes on without it, and keeps the last message of each key for it.
    Lags {
        /// Which flow.
        flow: FlowId,
        /// Which member.
        node: NodeId,
        /// The last message that it acknowledged.
        after: Seq,
        /// The last message that was sent to it.
        upto: Seq,
    },
    /// A member that lags does not get these messages: later ones have the same keys.
    Superseded {
        /// Which flow.
        flow: FlowId,
        /// Which member.
        node: NodeId,
        /// The first message.
        first: Seq,
        /// The last message.
        last: Seq,
    },
    /// A member that was evicted or lagged has taken what it had, and is sent again what follows.
    Readmitted {
        /// Which flow.
        flow: FlowId,
        /// Which member.
        node: NodeId,
        /// The first message that is meant for it.
        start: Seq,
    },
    /// A member takes nothing of a large payload, or nothing more, because it is longer than it takes.
    LargeRefused {
        /// The payload's own flow.
        flow: FlowId,
        /// Which member.
        node: NodeId,
    },
    /// Every member has taken all of a large payload, or was named in [`Event::Lost`] or [`Event::LargeRefused`]: its flow is over, and takes no more chunks.
    LargeOver {
        /// The payload's own flow.
        flow: FlowId,
    },
    /// Nobody awaits the answer to this request any more: whoever asked gave up, left, was declared down or came back in another life, or this node goes on in another life itself.
    Cancelled(ReplyTo),
    /// There may be room again for answers to this node, one of which was refused with [`crate::ReplyError::Full`].
    Answerable(NodeId),
    /// Everything sent so far has been acknowledged or given up.
    Drained,
    /// A peer broke the protocol; its link is being closed.
    Violation {
        /// Which peer.
        peer: NodeId,
        /// What it did.
        what: &'static str,
    },
}

//! The broken promise, in one sentence.

mod name;
mod told;

use std::time::Duration;

use rolecast_membership::{Epoch, RoleName, Time};
use rolecast_protocol::{Answer, Gap, Lagged, Started};

pub use name::{CallName, Instead, MessageName, Name};

/// A promise that was broken, where and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When it was seen.
    pub at: Time,
    /// At which node.
    pub node: Name,
    /// What was broken.
    pub broken: Broken,
}

/// What can be broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A delivery from nobody.
    #[error("no creation: a message of {what} was delivered, which nobody sent")]
    FromNowhere {
        /// What the delivery said of itself.
        what: String,
    },
    /// A message that was never sent.
    #[error("no creation: {message} was delivered, but only {sent} were sent")]
    NeverSent {
        /// Which.
        message: MessageName,
        /// How many there are.
        sent: u64,
    },
    /// A message with other bytes than were sent.
    #[error("no creation: {message} was delivered with other bytes than were sent")]
    Altered {
        /// Which.
        message: MessageName,
    },
    /// A message delivered again.
    #[error("no duplication: {message} was delivered to the same inbox again")]
    Duplicated {
        /// Which.
        message: MessageName,
    },
    /// A message delivered although a `Gap` had said that it would never come.
    #[error("once or Gap: {message} was delivered after a Gap had said that it is lost")]
    DeliveredAfterGap {
        /// Which.
        message: MessageName,
    },
    /// A message delivered before an earlier one.
    #[error(
        "order: {message} was delivered before message {missing}, which was due to the same inbox"
    )]
    OutOfOrder {
        /// Which.
        message: MessageName,
        /// The position of the earlier one.
        missing: u64,
    },
    /// A message delivered before one on which it depends.
    #[error("causal order: {message} was delivered before {missing}, which its sender had before")]
    Causality {
        /// Which.
        message: MessageName,
        /// Which one its sender had been given before.
        missing: MessageName,
    },
    /// A message in an inbox that it was not meant for.
    #[error(
        "routing: {message} was delivered to an inbox of {role:?} that is not in its destination set"
    )]
    Misrouted {
        /// Which.
        message: MessageName,
        /// The inbox's role.
        role: RoleName,
    },
    /// A destination that never held the role.
    #[error(
        "routing: a message to {role:?} names {holder} as a holder, which never held that role"
    )]
    NeverHeld {
        /// The role.
        role: RoleName,
        /// Who is named.
        holder: String,
    },
    /// The number of members that the engine stamped is not that of the holders in its view.
    #[error(
        "destination set: {members} members were stamped while the sender saw {holders} holders of {role:?}"
    )]
    WrongMembers {
        /// The role.
        role: RoleName,
        /// How many were stamped.
        members: usize,
        /// How many were seen.
        holders: usize,
    },
    /// Positions with a hole, or used twice.
    #[error(
        "numbering: a batch of {count} messages got the positions {first} to {last} after {before}"
    )]
    Misnumbered {
        /// How many messages the batch has.
        count: u64,
        /// The first position.
        first: u64,
        /// The last position.
        last: u64,
        /// The last position given before.
        before: u64,
    },
    /// Something put into an inbox that is closed.
    #[error("inboxes: {what} was put into an inbox of {role:?} after that was dropped")]
    AfterDrop {
        /// What.
        what: String,
        /// The inbox's role.
        role: RoleName,
    },
    /// Something put into an inbox that never was.
    #[error("inboxes: {what} was put into an inbox that does not exist")]
    NoInbox {
        /// What.
        what: String,
    },
    /// A message delivered by one that stays up, and not by another.
    #[error(
        "agreement: {message} was delivered by {deliverer}, but {how} here, although both stayed up"
    )]
    Agreement {
        /// Which.
        message: MessageName,
        /// Who delivered it.
        deliverer: Name,
        /// What happened instead.
        how: Instead,
    },
    /// A message delivered by anybody, and not by one that stays up, although fewer are gone than should hold it.
    #[error(
        "uniform agreement: {message}, which was to be held by {k} members, was delivered by {deliverer}, but {how} here, although fewer than {k} are gone"
    )]
    Uniformity {
        /// Which.
        message: MessageName,
        /// Who delivered it.
        deliverer: Name,
        /// What happened instead.
        how: Instead,
        /// How many were to hold it.
        k: u8,
    },
    /// A message of which the sender was told that enough members hold it.
    #[error(
        "stability: {message} was {how} here, although its sender was told that enough members hold it, and fewer are gone"
    )]
    Stability {
        /// Which.
        message: MessageName,
        /// What happened instead.
        how: Instead,
    },
    /// A message that was delivered, or of which the sender was told that enough members hold it, before it had come to enough.
    #[error("stability: {message} was to be held by {k} members before, and had come to {held}")]
    HeldByTooFew {
        /// Which.
        message: MessageName,
        /// To how many it had come.
        held: usize,
        /// How many were to hold it.
        k: u8,
    },
    /// A message that one member was told is lost, and another one was not.
    #[error(
        "once or Gap: {message} was neither delivered here nor named in a Gap, although {told} was told that it is lost, and both stayed up"
    )]
    Untold {
        /// Which.
        message: MessageName,
        /// Who was told.
        told: Name,
    },
    /// A message of a sender that stays up, not delivered.
    #[error("validity: {message} was {how} here, although its sender stayed up")]
    Validity {
        /// Which.
        message: MessageName,
        /// What happened instead.
        how: Instead,
    },
    /// A message of a sender that left after it was told that all was delivered.
    #[error(
        "drain: {message} was {how} here, although its sender left only after it was told that everything was acknowledged"
    )]
    LostInLeaving {
        /// Which.
        message: MessageName,
        /// What happened instead.
        how: Instead,
    },
    /// A `Gap` without a reason.
    #[error(
        "gaps: {gap:?} was put into an inbox of {role:?} although nobody involved was ever declared down"
    )]
    GapUnjustified {
        /// Which.
        gap: Gap,
        /// The inbox's role.
        role: RoleName,
    },
    /// A `Gap` about what was delivered, or was never due.
    #[error("gaps: {gap:?} names messages that were delivered, were never due or were never sent")]
    GapWrong {
        /// Which.
        gap: Gap,
    },
    /// A sender that goes on without slow members waited for one all the same.
    #[error(
        "slow receivers: flow {flow} goes on without whoever keeps it shut after {patience:?}, and had no room for {waited:?}"
    )]
    HeldUp {
        /// Its flow.
        flow: u32,
        /// How long it may be shut.
        patience: Duration,
        /// How long it was.
        waited: Duration,
    },
    /// A member that should not have been evicted, or taken back.
    #[error("slow receivers: {node} was evicted from flow {flow}, but {what}")]
    EvictedWrongly {
        /// Who.
        node: String,
        /// From which flow.
        flow: u32,
        /// Why not.
        what: &'static str,
    },
    /// An inbox that was told that it lags where it does not.
    #[error("slow receivers: {lagged:?} names messages that came, or that it was not too slow for")]
    LaggedWrong {
        /// What it was told.
        lagged: Lagged,
    },
    /// A message of which the sender was told that an inbox does not get it, and that came.
    #[error("slow receivers: {message} was delivered, though the sender heard that it is left out")]
    SupersededCame {
        /// Which.
        message: MessageName,
    },
    /// A message that was left out for an inbox, and of which the sender does not know that.
    #[error("slow receivers: {lagged:?} names messages of which the sender does not know that")]
    SupersededUntold {
        /// What the inbox was told.
        lagged: Lagged,
    },
    /// An inbox that lags and was not told so.
    #[error(
        "slow receivers: {message} was delivered to one that was left out of {missing}, and was not told so"
    )]
    LagUntold {
        /// Which.
        message: MessageName,
        /// The first message of which it does not know.
        missing: u64,
    },
    /// A member that is left out for good.
    #[error(
        "slow receivers: the member was left out after {message}, has taken everything, and was never taken back"
    )]
    NeverReadmitted {
        /// The last message that was sent to it.
        message: MessageName,
    },
    /// An inbox that was told a beginning that is none.
    #[error(
        "beginnings: {started:?} was put into an inbox of {role:?}, to which an earlier message is due"
    )]
    StartWrong {
        /// What it was told.
        started: Started,
        /// The inbox's role.
        role: RoleName,
    },
    /// An inbox that takes the middle of a flow for its beginning.
    #[error("beginnings: {message} is the first that is due to this inbox, which was not told so")]
    StartUntold {
        /// Which.
        message: MessageName,
    },
    /// A renewed node whose inbox was not told.
    #[error(
        "once or Gap: the life {epoch} of this node ended while it lived, and its inbox of {role:?} was not told"
    )]
    GapMissing {
        /// The life that ended.
        epoch: Epoch,
        /// The inbox's role.
        role: RoleName,
    },
    /// A sender told that all have taken what someone has not.
    #[error("receipts: {message} was said to be settled, but {holder} has not taken it")]
    SettledEarly {
        /// Which.
        message: MessageName,
        /// Who has not.
        holder: Name,
    },
    /// A receipt about messages that were never sent.
    #[error("receipts: flow {flow} was reported up to {upto}, but only {sent} were sent")]
    ReceiptWrong {
        /// Which flow.
        flow: u32,
        /// What was reported.
        upto: u64,
        /// How many there are.
        sent: u64,
    },
    /// A sender whose messages never settle.
    #[error(
        "liveness: flow {flow} is settled up to {settled} only, of {sent} messages that everyone has taken or is excused from"
    )]
    NeverSettled {
        /// Which flow.
        flow: u32,
        /// What was reported last.
        settled: u64,
        /// How many there are.
        sent: u64,
    },
    /// A sender that was told to wait, and never told to go on.
    #[error("liveness: flow {flow} was refused for want of room and never became writable again")]
    NeverWritable {
        /// Which flow.
        flow: u32,
    },
    /// A chunk delivered after the end.
    #[error("large payloads: {message} was delivered after its reader was told how it ended")]
    AfterEnd {
        /// Which message: a chunk.
        message: MessageName,
    },
    /// The end of a large payload was told more than once.
    #[error("large payloads: the reader of flow {flow} of {origin} was told twice how it ended")]
    EndedTwice {
        /// Its flow.
        flow: u32,
        /// Who sent it.
        origin: Name,
    },
    /// The end of a large payload is not what it was.
    #[error(
        "large payloads: the reader of flow {flow} of {origin} was told {told}, having {got} of {sent} chunks, although {truth}"
    )]
    EndWrong {
        /// Its flow.
        flow: u32,
        /// Who sent it.
        origin: Name,
        /// What it was told.
        told: String,
        /// How many chunks it got, the end counted.
        got: u64,
        /// How many were sent, the end counted.
        sent: u64,
        /// What was the case.
        truth: &'static str,
    },
    /// Nobody said how a large payload ended.
    #[error("large payloads: the reader of flow {flow} of {origin} was never told how it ended")]
    NeverEnded {
        /// Its flow.
        flow: u32,
        /// Who sent it.
        origin: Name,
    },
    /// A sender was told of a refusal that was none.
    #[error("large payloads: {by} was said to have refused flow {flow}, but did not")]
    NeverRefused {
        /// Its flow.
        flow: u32,
        /// Who.
        by: String,
    },
    /// A large payload was over for its sender too early.
    #[error(
        "receipts: the large payload of flow {flow} was said to be over, with {settled} of {sent} chunks settled"
    )]
    OverEarly {
        /// Its flow.
        flow: u32,
        /// How many chunks were settled.
        settled: u64,
        /// How many were sent.
        sent: u64,
    },
    /// A call was delivered that nobody made.
    #[error("no creation: a call was delivered that nobody made: {what}")]
    CallFromNowhere {
        /// What the delivery said of itself.
        what: String,
    },
    /// A call delivered with other bytes.
    #[error("no creation: {call} was delivered with other bytes than were sent")]
    CallAltered {
        /// Which.
        call: CallName,
    },
    /// A call at somebody to whom it was not addressed.
    #[error("routing: {call} was delivered to an inbox to which it was not addressed")]
    CallMisrouted {
        /// Which.
        call: CallName,
    },
    /// A call at one holder twice.
    #[error("calls: {call} was put into an inbox of the same node again")]
    CallTwice {
        /// Which.
        call: CallName,
    },
    /// A call at a second holder that was not free to be retried.
    #[error(
        "calls: {call} was handed to a second holder although {first} had it and did not refuse it"
    )]
    CallAtTwo {
        /// Which.
        call: CallName,
        /// Who has it.
        first: Name,
    },
    /// A call delivered although its caller was told that nobody did anything with it.
    #[error("calls: {call} ended as {answer:?}, but an application has it")]
    CallSeen {
        /// Which.
        call: CallName,
        /// What the caller was told.
        answer: Answer,
    },
    /// A call that was said to be taken, and is not.
    #[error("calls: {call} ended as {answer:?}, but no application of that node has it")]
    CallUnseen {
        /// Which.
        call: CallName,
        /// What the caller was told.
        answer: Answer,
    },
    /// An answer that the holder did not give.
    #[error("calls: {call} was answered {answer:?}, which is not what the holder said")]
    AnswerForged {
        /// Which.
        call: CallName,
        /// What the caller was told.
        answer: Answer,
    },
    /// An answer of a kind that the call cannot have, or from a node that was not asked.
    #[error("calls: {call} got an answer that it cannot have: {answer:?}")]
    AnswerUnfit {
        /// Which.
        call: CallName,
        /// What the caller was told.
        answer: Answer,
    },
    /// An answer to a call that has ended.
    #[error("calls: {call} was answered {answer:?} after it had ended")]
    AnsweredAfterEnd {
        /// Which.
        call: CallName,
        /// What the caller was told.
        answer: Answer,
    },
    /// A scatter-gather that ended with answers missing, or went on after the last.
    #[error("calls: {call} ended with {answered} of {members} answers")]
    GatherIncomplete {
        /// Which.
        call: CallName,
        /// How many came.
        answered: usize,
        /// How many are due.
        members: usize,
    },
    /// A call number used twice.
    #[error("calls: {call} has the number of an earlier call")]
    CallReused {
        /// Which.
        call: CallName,
    },
    /// A call that ended too late, or not at all.
    #[error("deadlines: {call} was due at {deadline} and had not ended by then")]
    CallLate {
        /// Which.
        call: CallName,
        /// When it was due.
        deadline: Time,
    },
    /// A call that timed out before its time.
    #[error("deadlines: {call} timed out before its deadline at {deadline}")]
    CallEarly {
        /// Which.
        call: CallName,
        /// When it was due.
        deadline: Time,
    },
    /// A holder told that nobody waits, while somebody does.
    #[error("calls: the holder was told that nobody awaits {call}, but it has not ended")]
    CancelledWrongly {
        /// Which.
        call: CallName,
    },
    /// A queue above its bound.
    #[error("bounds: {what} reached {used}, above the limit of {limit}")]
    Bound {
        /// Which queue.
        what: &'static str,
        /// How much is in it.
        used: usize,
        /// How much may be.
        limit: usize,
    },
    /// An engine, or the simulation around it, that panicked; when and where is in the message.
    #[error("no panic: {what}")]
    Panic {
        /// What it said.
        what: String,
    },
    /// An engine that never comes to rest.
    #[error("liveness: the engine never comes to rest: {what}")]
    Livelock {
        /// How.
        what: &'static str,
    },
    /// An engine that accuses a correct peer.
    #[error(
        "protocol: {peer} was accused of breaking the protocol ({what}), but every node here keeps it"
    )]
    Accusation {
        /// Who.
        peer: String,
        /// Of what.
        what: String,
    },
    /// A life that does not rise.
    #[error("epochs: a renewed node went from life {before} to {after}")]
    EpochFell {
        /// The life that ended.
        before: Epoch,
        /// The one that follows.
        after: Epoch,
    },
    /// A node said to have left that did not.
    #[error("membership: {who} was said to have left, but did not")]
    NeverLeft {
        /// Who.
        who: String,
    },
    /// A node that stopped although nobody took its place.
    #[error("membership: the node was told that another process has its key, but none has")]
    NeverSuperseded,
    /// A view that is not the truth although everything works.
    #[error(
        "convergence: {late_s} s after everything healed the node sees {seen}, but the truth is {truth}"
    )]
    View {
        /// How long everything has worked, in seconds.
        late_s: u64,
        /// What the node sees.
        seen: String,
        /// What is.
        truth: String,
    },
    /// A live node declared down although the mesh is in one piece.
    #[error("dead links: {who} was declared down, although it lives and others reach it")]
    FalseAlarm {
        /// Who.
        who: Name,
    },
    /// A call without an answer although the mesh is in one piece.
    #[error("dead links: a call ended as {answer:?}, although there was a way to everybody")]
    Unanswered {
        /// How it ended.
        answer: Answer,
    },
    /// A node that is reached over others although there may be a link to it.
    #[error(
        "dead links: {late_s} s after everything healed {who} is still not reached over a link"
    )]
    Detour {
        /// How long everything has worked, in seconds.
        late_s: u64,
        /// Who.
        who: String,
    },
    /// A node with more links than it is to keep while nobody uses them.
    #[error(
        "resting links: {late_s} s after everything healed a node has {links} links, and not at most {most}"
    )]
    Links {
        /// How long everything has worked, in seconds.
        late_s: u64,
        /// How many it has.
        links: usize,
        /// How many it may have.
        most: usize,
    },
    /// A command refused without cause.
    #[error("commands: {what}")]
    Command {
        /// What was refused, and why it should not have been.
        what: String,
    },
}

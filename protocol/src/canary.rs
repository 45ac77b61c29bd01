//! Bugs that can be planted in the engine on purpose, to show that the checks of the simulator find them.
//!
//! Each has its place in the code, one line with `planted!`, which is the constant `false` in builds without the feature `canaries`.

/// Whether this bug is planted in the engines of this thread.
#[cfg(feature = "canaries")]
macro_rules! planted {
    ($bug:ident) => {
        crate::canary::is_planted(crate::canary::Canary::$bug)
    };
}

/// No bugs are planted in what people use.
#[cfg(not(feature = "canaries"))]
macro_rules! planted {
    ($bug:ident) => {
        false
    };
}

pub(crate) use planted;

#[cfg(feature = "canaries")]
mod list {
    use std::cell::Cell;

    macro_rules! canaries {
        ($($(#[doc = $about:literal])+ $name:ident,)+) => {
            /// A bug that can be planted to show that a check finds it.
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub enum Canary {
                $($(#[doc = $about])+ $name,)+
            }

            impl Canary {
                /// All of them, in the order of the way of a message.
                pub const ALL: &[Canary] = &[$(Canary::$name,)+];

                /// What is wrong in an engine with this bug, in one sentence.
                #[must_use]
                pub fn about(self) -> &'static str {
                    match self {
                        $(Canary::$name => concat!($($about),+).trim_ascii(),)+
                    }
                }
            }
        };
    }

    thread_local! {
        /// All engines that a thread runs at one time have the same bug, as all nodes of a mesh run the same program.
        static PLANTED: Cell<Option<Canary>> = const { Cell::new(None) };
    }

    /// Plants a bug, or none, in the engines of this thread.
    pub(crate) fn plant(canary: Option<Canary>) {
        PLANTED.set(canary);
    }

    pub(crate) fn is_planted(canary: Canary) -> bool {
        PLANTED.get() == Some(canary)
    }

    canaries! {
        // Sending.
        /// A sender does not deliver to itself what it sends to a role of its own.
        OwnDeliveryForgotten,
        /// A flow keeps the destination set with which it was opened.
        DestSetStale,
        /// Only the first destination set of a flow is announced in a session.
        DestSetAnnouncedOnce,
        /// A batch is taken although the flow's window is full.
        WindowIgnored,
        /// A flow that refused a batch does not say that it has room again.
        WritableForgotten,
        /// A position is left out between two batches.
        NumberLeftOut,
        /// A member that comes later is owed one message too many.
        StartOneEarly,
        /// A member that comes later misses its first message.
        StartOneLate,
        /// A flow is settled as far as its fastest member is.
        SettledByFastest,

        // Slow receivers.
        /// A member that was evicted goes on holding the window.
        EvictedStillHoldsWindow,
        /// A member that was evicted is not told so.
        EvictedUntold,
        /// A member has half the time before it is evicted.
        EvictedTooSoon,
        /// What an inbox did not get because it was evicted is not reported.
        LaggedUnreported,
        /// A flow that keeps the last of each key waits for its slow members.
        KeepLastWaits,
        /// A member lags as soon as half of its window is full.
        LagsTooSoon,
        /// Of each key the first message is kept for a member that lags, and not the last.
        FirstKept,
        /// Of what was kept for a member that lags, it gets only the end.
        KeptUnsent,
        /// A sender is not told what a member that lags does not get.
        SupersededUntold,
        /// An inbox is not told what it does not get because later messages have the same keys.
        SupersededUnreported,

        // Replays.
        /// What a member asks for of the past is not sent to it.
        ReplayUnsent,
        /// A member gets one former message more than it asks for.
        ReplayTooLong,
        /// An inbox is not told that what it gets first was sent before it began.
        ReplayUntold,
        /// An inbox is told that the first message of the present is one of the past.
        ReplayOverLive,

        // Receiving.
        /// A relayed message is delivered again.
        DuplicateDelivered,
        /// A message that came too early is delivered at once.
        OrderIgnored,
        /// The watermark stays one behind what was delivered.
        WatermarkBehind,
        /// The next message counts as one that was seen.
        DuplicateTooFar,
        /// What was sent to a role goes on being delivered after that was dropped.
        DroppedRoleDelivered,
        /// What was delivered before its turn, of a flow without order, is not remembered.
        EarlyForgotten,
        /// Of a flow without order everything before what the program took last counts as taken.
        AckOverHole,
        /// An inbox that gets a flow from the middle on is not told so.
        StartUnreported,

        // Whose word is heard.
        /// Members pass on what nobody said, and whoever hears it does not ask who that should have been.
        StrangersHeard,
        /// Members pass on what nobody said.
        StrangersInvented,

        // Relaying.
        /// A receiver does not relay what it received first.
        RelayForgotten,
        /// A receiver relays to all but one of the members.
        RelayOneShort,
        /// What a session drops for want of room is not only what somebody else may have.
        OwnBatchesDropped,
        /// Acknowledgements wait for relays to a peer whose link is lost.
        RelaysNotReleased,

        // Spreading by digests.
        /// A batch is not kept for those who may miss it.
        NotRetained,
        /// No digests are given.
        DigestsSilent,
        /// What a digest offers is not asked for.
        PullForgotten,
        /// What is missing is asked for but for its first message.
        PullOneLate,
        /// Whoever asks for what it misses gets no answer.
        PullUnanswered,
        /// The floor is one message too high.
        FloorOneHigh,
        /// Members that said nothing do not hold the floor.
        FloorOfSome,
        /// What is kept goes when its origin dies.
        RetainedGoesWithOrigin,

        // Spreading by gossip.
        /// The origin does not keep what it sent to a few members only.
        OriginKeepsNothing,
        /// The origin does not tell those to whom it did not send.
        OriginSilent,

        // Causal order.
        /// Batches do not say what they depend on.
        DependenciesForgotten,
        /// What a batch depends on is not waited for.
        DependenciesIgnored,

        // Waiting to be safe.
        /// A message is taken for safe when one member fewer holds it than was asked for.
        SafeOneShort,
        /// Few members deliver what is safe before enough of them know that it is.
        SafetyUnknown,
        /// What a node said in another life counts for the one that is meant.
        HolderOfAnotherLife,
        /// What cannot become safe at the moment is given up at once.
        HopelessAtOnce,

        // Missing messages.
        /// What is missing of a dead origin is given up at once, whoever may have it.
        GivenUpTooSoon,
        /// What is given up is not reported.
        GapUnreported,
        /// A gap reaches one message too far.
        GapTooLong,
        /// A gap is reported without the messages being given up.
        GapNotKept,

        // Large payloads.
        /// Whoever reads a large payload is told that it is complete when its sender has died in the middle.
        LargeCutIsComplete,
        /// Whoever reads a large payload is not told that its sender has died in the middle.
        LargeCutUnreported,
        /// A large payload is taken whatever its length.
        LargeUnlimited,
        /// A large payload is over for its sender as soon as the end of it is sent.
        LargeOverEarly,
        /// A large payload waits for its slow readers, whatever its channel is to do with them.
        LargeEvictsNobody,
        /// Whoever read a large payload too slowly is not told that its sender went on without it.
        LargeLagUntold,

        // Acknowledgements.
        /// What came is acknowledged before the program has taken it.
        AckBeforeTaken,
        /// A member's acknowledgement counts for one message more.
        AckOneFar,
        /// A link that comes back repeats no acknowledgements.
        AckNotRepeated,

        // Sessions and links.
        /// A link that comes back starts with what is new, not with what was missed.
        ResendForgotten,
        /// A session goes on behind what the peer had already, without saying so.
        JumpUntold,
        /// A session goes on over another link or way without saying where.
        SwitchNotResumed,
        /// Who passes on what is for others delivers it too.
        RelayDelivers,
        /// A link that has come back while its peer is reached over others is never relied on again.
        LinkNeverTakenBack,
        /// A way is found that comes to a node twice.
        RouteWithLoop,
        /// A link that rests is not woken, whatever is to be sent.
        RestNotWoken,
        /// A link that rests counts as one that is dead.
        RestTakenForDeath,
        /// A session resumes one frame too late.
        ResumeOneLate,
        /// A session takes one more frame as acknowledged than was.
        SessionAckOneFar,
        /// The session with a life that is over goes on.
        DeadSessionKept,
        /// A link does not go on when the transport has room again.
        PumpForgotten,
        /// A link that was lost is not dialled again.
        RedialForgotten,

        // Who is alive and holds what.
        /// A member that is down goes on holding its roles.
        DownHoldsRoles,
        /// A role that a member dropped is not taken off it.
        DroppedRoleKept,
        /// That a member moved changes nothing for the roles that are narrowed to a place.
        MoveUnnoticed,
        /// Whoever moves to a place is sent again what was sent there before, if it asked for that as it took up the role.
        MoveReplays,
        /// Inboxes do not hear that the node was declared down.
        RenewalUnreported,
        /// Flows go on in a life of the node that is over.
        RenewalKeepsFlows,

        // Calls.
        /// A call goes into an inbox of whatever role the node holds.
        CallMisrouted,
        /// The end of a call is reported twice.
        AnsweredTwice,
        /// A call that was given up is answered yet.
        CancelIgnored,
        /// A call whose deadline has passed does not end.
        DeadlineSilent,
        /// A call that may have been taken is given to another holder.
        UnknownRetried,
        /// A call that was handed to a link is said not to have been sent.
        WithdrawnTooLate,
        /// A question may be answered again.
        QuestionStaysOpen,
        /// An inbox takes calls whatever room they take.
        InboxUnbounded,
        /// More calls are taken than may be outstanding.
        CallsUnbounded,
        /// A node that drains says that all is done while something is on the way.
        DrainedEarly,
    }
}

#[cfg(feature = "canaries")]
pub use list::Canary;
#[cfg(feature = "canaries")]
pub(crate) use list::{is_planted, plant};

//! What a program sends and asks, as the workload says.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rolecast::{
    Channel, CutShort, DescribeError, Node, NodeId, NotSent, Pick, SendError, SlowReceivers,
};
use rolecast_membership::RoleName;
use rolecast_protocol::{Mode, SlowMembers};
use tokio::sync::Notify;

use super::Program;
use crate::application::{key, payload};
use crate::probe::Probe;
use crate::workload::{Ask, Choice, RoleIndex};

impl Program {
    /// Does what the workload asks for; `mark` tells what it sends from everything else.
    pub(crate) fn ask(&self, ask: &Ask, mark: u64, world: &impl World) {
        match *ask {
            Ask::Multicast {
                role,
                mode,
                count,
                bytes,
            } => {
                let role = world.role(role);
                self.spawn(|this| this.multicast(role, mode, count, bytes, mark));
            }
            Ask::Large {
                role,
                dissemination,
                chunks,
                bytes,
                pause_us,
                announced,
                complete,
            } => {
                let chunks = (0..chunks).map(|n| payload(mark << 8 | u64::from(n), bytes));
                let large = LargeCast {
                    role: world.role(role),
                    dissemination,
                    chunks: chunks.collect(),
                    pause: Duration::from_micros(pause_us),
                    announced,
                    complete,
                };
                self.spawn(|this| this.multicast_large(large));
            }
            Ask::Gather {
                role,
                mode,
                bytes,
                within_us,
            } => {
                let (role, within) = (world.role(role), Duration::from_micros(within_us));
                let sent = payload(mark << 8, bytes);
                self.call(|this| this.gather(role, mode, sent, within));
            }
            Ask::Anycast {
                role,
                choice,
                request,
                bytes,
                within_us,
            } => {
                let call = Call {
                    role: world.role(role),
                    to: None,
                    pick: choose(choice),
                    request,
                    payload: payload(mark << 8, bytes),
                    within: Duration::from_micros(within_us),
                };
                self.call(|this| this.call_one(call));
            }
            Ask::Unicast {
                to,
                role,
                request,
                bytes,
                within_us,
            } => {
                let Some(to) = world.node_at(to) else { return };
                let call = Call {
                    role: world.role(role),
                    to: Some(to),
                    pick: Pick::default(),
                    request,
                    payload: payload(mark << 8, bytes),
                    within: Duration::from_micros(within_us),
                };
                self.call(|this| this.call_one(call));
            }
            Ask::Cancel => {
                let oldest = self.state().calls.pop_front();
                if let Some(oldest) = oldest {
                    oldest.notify_one();
                }
            }
            Ask::Move { site } => {
                if let Some(site) = self.0.workload.site(site) {
                    self.spawn(|this| this.move_to(site));
                }
            }
            Ask::TakeUp { role } => {
                let role = world.role(role);
                if role != RoleName::everyone() {
                    self.take_up(role);
                }
            }
            Ask::Drop { role } => {
                let role = world.role(role);
                if role != RoleName::everyone() {
                    // Whoever serves the inbox drops it when nobody holds this end.
                    self.state().held.remove(&role);
                }
            }
        }
    }

    async fn multicast(self, role: RoleName, mode: Mode, count: u8, bytes: u32, mark: u64) {
        let (slow, keys) = self.0.workload.slow_holders(self.0.slot, mode);
        let channel = channel(&self.0.node, &role, mode).slow_receivers(receivers(slow));
        let mut last = None;
        for number in 0..count.max(1) {
            let payload = payload(mark << 8 | u64::from(number), bytes);
            let multicast = channel.multicast(payload).key(key(mark, number, keys));
            match multicast.await {
                Ok(receipt) => last = Some(receipt),
                Err(SendError::NotSent(why)) => self.note_unsent(&why),
                Err(why) => self.complain(format!("a multicast to {role:?}: {why}")),
            }
        }
        if let Some(receipt) = last {
            if mode.k_safe > 1 && receipt.stable().await.is_ok() {
                self.0.watch.reach(Probe::Stable);
            }
            // That the node is closed before is all that may come between.
            let _ = receipt.acked().await;
        }
    }

    async fn multicast_large(self, large: LargeCast) {
        let LargeCast {
            role,
            dissemination,
            chunks,
            pause,
            announced,
            complete,
        } = large;
        let mode = Mode::from(dissemination);
        let slow = match self.0.workload.slow_holders(self.0.slot, mode).0 {
            SlowMembers::KeepLast => SlowMembers::Wait,
            slow => slow,
        };
        let channel = channel(&self.0.node, &role, mode).slow_receivers(receivers(slow));
        let length = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        self.spawn(|_| async move {
            for chunk in chunks {
                if sender.send(Ok(chunk)).await.is_err() {
                    return;
                }
                tokio::time::sleep(pause).await;
            }
            if !complete {
                let broken = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
                // Nobody may wait for it any more.
                let _ = sender.send(Err(broken)).await;
            }
        });
        let multicast = channel.multicast_stream(Chunks(receiver));
        let sent = match announced {
            true => multicast.length(length).await,
            false => multicast.await,
        };
        match sent {
            Ok(receipt) => {
                // That the node is closed before is all that may come between.
                let _ = receipt.acked().await;
            }
            Err(SendError::NotSent(_) | SendError::CutShort(CutShort::Closed(_))) => {}
            Err(SendError::CutShort(CutShort::Source { .. })) if !complete => {}
            Err(why) => self.complain(format!("a large multicast to {role:?}: {why}")),
        }
    }

    async fn move_to(self, site: String) {
        let moved = self.0.node.describe().site(site).await;
        if let Err(why) = moved
            && !matches!(why, DescribeError::Closed(_))
        {
            self.complain(format!("a move: {why}"));
        }
    }

    async fn gather(self, role: RoleName, mode: Mode, payload: Bytes, within: Duration) {
        let channel = channel(&self.0.node, &role, mode);
        // Whatever goes wrong is for the ghost to judge, which knows more.
        if let Ok(answers) = channel.request_all(payload).timeout(within).await {
            let holders = answers.holders();
            let collected = answers.collect().await;
            let closed = self.0.node.members().await.is_empty();
            if collected.len() != holders && !closed {
                let named = collected.len();
                self.complain(format!(
                    "a request to all {holders} holders of {role:?} ended with {named} of them named"
                ));
            }
        }
    }

    async fn call_one(self, call: Call) {
        let channel = self.0.node.channel(&call.role);
        if call.request {
            let request = channel.request(call.payload).pick(call.pick);
            let request = match call.to {
                Some(node) => request.to(node),
                None => request,
            };
            let ended = request.timeout(call.within).await;
            if let Err(SendError::NotSent(why)) = ended {
                self.note_unsent(&why);
            }
        } else {
            let anycast = channel.anycast(call.payload).pick(call.pick);
            let anycast = match call.to {
                Some(node) => anycast.to(node),
                None => anycast,
            };
            let ended = anycast.timeout(call.within).await;
            if let Err(SendError::NotSent(why)) = ended {
                self.note_unsent(&why);
            }
        }
    }

    /// Why something was not even sent.
    fn note_unsent(&self, why: &NotSent) {
        match why {
            NotSent::TooFewHolders { .. } => self.0.watch.reach(Probe::TooFewHolders),
            NotSent::NoHolder { .. } => self.0.watch.reach(Probe::NoHolder),
            NotSent::TooManyCalls { .. } => self.0.watch.reach(Probe::TooManyCalls),
            NotSent::Role(_)
            | NotSent::NoFanout
            | NotSent::NotCausal
            | NotSent::NotKeepLast
            | NotSent::KeyTooLong { .. } => self.complain(format!("it was not sent: {why}")),
            _ => {}
        }
    }

    /// Makes a call that can be given up.
    fn call<F>(&self, call: impl FnOnce(Program) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let given_up = Arc::new(Notify::new());
        self.state().calls.push_back(Arc::clone(&given_up));
        let call = call(self.clone());
        self.spawn(|this| async move {
            tokio::select! {
                biased;
                () = given_up.notified() => {}
                () = call => {}
            }
            let mut state = this.state();
            state.calls.retain(|other| !Arc::ptr_eq(other, &given_up));
        });
    }
}

/// A large payload to be sent chunk by chunk.
struct LargeCast {
    role: RoleName,
    dissemination: rolecast_protocol::Dissemination,
    chunks: Vec<Bytes>,
    pause: Duration,
    announced: bool,
    complete: bool,
}

/// What another task puts in, chunk by chunk.
struct Chunks(tokio::sync::mpsc::Receiver<std::io::Result<Bytes>>);

impl futures_core::Stream for Chunks {
    type Item = std::io::Result<Bytes>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}

/// A call to one holder.
struct Call {
    role: RoleName,
    to: Option<NodeId>,
    pick: Pick,
    request: bool,
    payload: Bytes,
    within: Duration,
}

/// A channel of which this is promised.
fn channel(node: &Node, role: &RoleName, mode: Mode) -> Channel {
    let whole = node.channel(role.base());
    let channel = match role.place().site {
        Some(site) => whole.in_site(site),
        None => whole,
    };
    let channel = channel.dissemination(mode.dissemination);
    channel.order(mode.order).k_safe(mode.k_safe)
}

/// What a channel does with slow holders.
fn receivers(slow: SlowMembers) -> SlowReceivers {
    match slow {
        SlowMembers::Wait => SlowReceivers::default(),
        SlowMembers::Evict { after } => SlowReceivers::Evict { after },
        SlowMembers::KeepLast => SlowReceivers::KeepLast,
    }
}

fn choose(choice: Choice) -> Pick {
    match choice {
        Choice::RoundRobin => Pick::RoundRobin,
        Choice::LeastOutstanding => Pick::LeastOutstanding,
        Choice::Sticky(key) => Pick::Sticky(Bytes::copy_from_slice(&[key])),
    }
}

/// What a program has to know of the world to do what it is asked for.
pub(crate) trait World {
    /// The role with this index.
    fn role(&self, index: RoleIndex) -> RoleName;
    /// The node at this place.
    fn node_at(&self, slot: crate::plan::Slot) -> Option<NodeId>;
}

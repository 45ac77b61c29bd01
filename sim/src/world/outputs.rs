//! What an engine says, carried out.

use bytes::{Bytes, BytesMut};
use rolecast_membership::{Event as MembershipEvent, Time};
use rolecast_protocol::{
    Class, CloseReason, Delivery, Event, Gap, InboxId, Input, Lagged, Output, ReplyTo, SlowMembers,
    Started, carries_messages, explain, payload_bytes,
};

use super::{Happening, World};
use crate::application::{Item, announcement};
use crate::check::{Called, Observation, ProcessId, Receiving, Violation, check_link};
use crate::probe::sometimes;

impl World<'_> {
    pub(super) fn output(
        &mut self,
        now: Time,
        process: ProcessId,
        output: Output,
    ) -> Result<(), Violation> {
        self.note_output(now, process, &output);
        match output {
            Output::Dial { addr, peer } => self.dial(now, process, addr, peer),
            Output::Close { link, reason } => {
                sometimes!(self.reached, LinkRested, if reason == CloseReason::Idle);
                if let Some(end) = self.processes[process.0 as usize].links.get(link) {
                    self.close(now, end, true);
                }
            }
            Output::Datagram { link, bytes } => {
                self.statistics.datagrams += 1;
                self.statistics.datagram_bytes += bytes.len() as u64;
                if let Some(end) = self.processes[process.0 as usize].links.get(link) {
                    let to = self.network.end(end.other()).party.process;
                    let stamp = self.film.leaves(now, (process, to), None, &bytes);
                    let times = self
                        .network
                        .send_datagram(&mut self.schedule, end, (bytes, stamp));
                    sometimes!(self.reached, DatagramLost, if times == 0);
                    sometimes!(self.reached, DatagramDoubled, if times > 1);
                }
            }
            Output::Frame {
                link,
                class,
                head,
                body,
            } => {
                self.count_frame(class, &head, &body);
                if carries_messages(class, &head, &body) {
                    self.busy_at = now;
                }
                if let Some(end) = self.processes[process.0 as usize].links.get(link) {
                    let to = self.network.end(end.other()).party.process;
                    let bytes = self.joiner.join(head, body);
                    let stamp = self.film.leaves(now, (process, to), Some(class), &bytes);
                    self.network
                        .send(&mut self.schedule, end, class, (bytes, stamp));
                    for unwritten in self.network.end(end).unwritten {
                        check_link(unwritten, &self.bounds)
                            .map_err(|broken| self.violation(now, process, broken))?;
                    }
                }
            }
            Output::Deliver { inbox, delivery } => self.deliver(now, process, inbox, delivery)?,
            Output::Event(event) => self.event(now, process, event)?,
        }
        Ok(())
    }

    fn count_frame(&mut self, class: Class, head: &Bytes, body: &Bytes) {
        self.statistics.frames += 1;
        self.statistics.frame_bytes += (head.len() + body.len()) as u64;
        if class != Class::Control {
            let payload = payload_bytes(class, head, body);
            self.statistics.data_head_bytes += (head.len() + body.len() - payload) as u64;
            self.statistics.payload_bytes_sent += payload as u64;
        }
    }

    fn deliver(
        &mut self,
        now: Time,
        process: ProcessId,
        inbox: InboxId,
        delivery: Delivery,
    ) -> Result<(), Violation> {
        let (item, observation) = match delivery {
            Delivery::Messages {
                origin,
                flow,
                first,
                batch,
                ticket,
            } => {
                self.note_way(process, origin);
                self.note_hop(process, origin, flow);
                let upto = (origin, flow, first.0 + u64::from(batch.count()) - 1);
                let seen = self.seen_in(process, inbox, (origin, flow));
                let calls = batch
                    .clone()
                    .into_messages()
                    .filter_map(|message| message.call);
                let requests = calls.map(|call| ReplyTo { origin, call }).collect();
                let item = Item {
                    ticket: Some(ticket),
                    upto: Some(upto),
                    seen_in: seen,
                    requests,
                };
                let receiving = Receiving {
                    inbox: seen,
                    origin,
                    flow,
                    first,
                    batch,
                };
                (item, Observation::Delivered(receiving))
            }
            Delivery::Call {
                from,
                wants_reply,
                payload,
                ticket,
            } => {
                self.note_call(from);
                let requests = if wants_reply { vec![from] } else { Vec::new() };
                let item = Item {
                    ticket: Some(ticket),
                    upto: None,
                    seen_in: inbox,
                    requests,
                };
                (
                    item,
                    Observation::Called(Called {
                        inbox,
                        from,
                        wants_reply,
                        payload,
                    }),
                )
            }
            Delivery::Large {
                origin,
                flow,
                seq,
                large,
                ticket,
                ..
            } => {
                self.note_way(process, origin);
                let item = Item {
                    ticket: Some(ticket),
                    upto: Some((origin, flow, seq.0)),
                    seen_in: inbox,
                    requests: Vec::new(),
                };
                let receiving = Receiving {
                    inbox,
                    origin,
                    flow,
                    first: seq,
                    batch: announcement(large),
                };
                (item, Observation::Delivered(receiving))
            }
            Delivery::Chunk {
                origin,
                flow,
                chunk,
                ticket,
            } => self.chunk(process, (inbox, origin, flow), chunk, ticket),
            Delivery::LargeEnd { origin, flow, end } => {
                return self.large_end(now, process, (inbox, origin, flow), end);
            }
            Delivery::Gap(gap) => {
                self.statistics.gaps += 1;
                self.reached.note_gap(&gap);
                let item = Item {
                    ticket: None,
                    upto: None,
                    seen_in: inbox,
                    requests: Vec::new(),
                };
                let inbox = match gap {
                    Gap::Range { origin, flow, .. } => self.seen_in(process, inbox, (origin, flow)),
                    Gap::DeclaredDown { .. } => {
                        self.gap_of_narrowed(now, process, inbox, gap)?;
                        inbox
                    }
                };
                (item, Observation::Gapped { inbox, gap })
            }
            Delivery::Lagged(lagged) => {
                self.reached.note_lag(&lagged);
                let item = Item {
                    ticket: None,
                    upto: None,
                    seen_in: inbox,
                    requests: Vec::new(),
                };
                let inbox = self.seen_in(process, inbox, (lagged.origin, lagged.flow));
                (item, Observation::Lagged { inbox, lagged })
            }
            Delivery::Started(started) => {
                self.reached.note_start(&started);
                let item = Item {
                    ticket: None,
                    upto: None,
                    seen_in: inbox,
                    requests: Vec::new(),
                };
                let inbox = self.seen_in(process, inbox, (started.origin, started.flow));
                (item, Observation::Begun { inbox, started })
            }
        };
        self.observe(now, process, observation)?;
        let app = &mut self.processes[process.0 as usize].app;
        if let Some(at) = app.put(now, inbox, item) {
            self.schedule.put(at, Happening::Take { process, inbox });
        }
        Ok(())
    }

    fn event(&mut self, now: Time, process: ProcessId, event: Event) -> Result<(), Violation> {
        self.note_event(process, &event);
        let entry = &mut self.processes[process.0 as usize];
        match &event {
            Event::Membership(event) => {
                entry.forget_destinations();
                if let MembershipEvent::Renewed(identity) = **event {
                    self.statistics.renewals += 1;
                    let tenures = entry.tenures();
                    for sender in entry.app.senders.values_mut() {
                        sender.evicted.clear();
                    }
                    return self.observe(now, process, Observation::Renewed { identity, tenures });
                }
                if let MembershipEvent::Down(_) = **event {
                    self.statistics.note_down(now);
                }
                if let MembershipEvent::Superseded(_) = **event {
                    self.schedule.put(now, Happening::Stop(process));
                }
            }
            Event::Holders(_) => entry.forget_destinations(),
            Event::Writable(flow) if flow.is_large() => {
                let (process, flow) = (process, *flow);
                self.schedule.put(now, Happening::Feed { process, flow });
            }
            Event::LargeOver { flow } => {
                entry.app.larges.remove(flow);
            }
            Event::Writable(flow) => {
                let retry = Happening::Retry {
                    process,
                    flow: *flow,
                };
                self.schedule.put(now, retry);
            }
            Event::Evicted { flow, node, .. } => entry.evicted(*flow, *node),
            Event::Readmitted { flow, node, .. } => {
                let sender = entry.app.senders.get(flow);
                let keeps = sender.is_some_and(|sender| sender.slow == SlowMembers::KeepLast);
                self.reached.note_back(keeps);
                if let Some(sender) = entry.app.senders.get_mut(flow) {
                    sender.evicted.retain(|holder| holder.node != *node);
                }
            }
            Event::Drained => {
                entry.drained = true;
                self.schedule.put(now, Happening::Depart(process));
            }
            Event::Cancelled(to) => entry.app.forget_answer(*to),
            Event::Answered {
                call, last: true, ..
            } => {
                entry.app.calls.retain(|open| open != call);
            }
            _ => {}
        }
        self.observe(now, process, Observation::Told(event))
    }

    pub(super) fn note_input(&mut self, now: Time, process: ProcessId, input: &Input) {
        let name = self.name(process);
        let (kind, number, bytes) = match input {
            Input::LinkUp { link, peer, .. } => (10, link.0, &peer.as_bytes()[..]),
            Input::LinkDown { link } => (11, link.0, &[][..]),
            Input::DialFailed { addr } => (12, u64::from(addr.port()), &[][..]),
            Input::Datagram { link, bytes } => (13, link.0, &bytes[..]),
            Input::Frame { link, class, bytes } => {
                (number_of_class(14, *class), link.0, &bytes[..])
            }
            Input::Written { link, class, bytes } => {
                let class = u64::from(*class == Class::Bulk);
                (16, class << 60 ^ link.0 << 32 | *bytes as u64, &[][..])
            }
            Input::Consumed { .. } => (17, 0, &[][..]),
            Input::Timeout => (18, 0, &[][..]),
        };
        self.trace.note(now, name, kind, number, bytes);
        if self.trace.is_read() {
            self.trace
                .line(now, name, format_args!("<- {}", Brief(input)));
        }
    }

    fn note_output(&mut self, now: Time, process: ProcessId, output: &Output) {
        let name = self.name(process);
        let (kind, number, bytes) = match output {
            Output::Dial { addr, .. } => (30, u64::from(addr.port()), &[][..]),
            Output::Close { link, .. } => (31, link.0, &[][..]),
            Output::Datagram { link, bytes } => (32, link.0, &bytes[..]),
            Output::Frame {
                link, class, head, ..
            } => (number_of_class(33, *class), link.0, &head[..]),
            Output::Deliver { inbox, delivery } => {
                (35, inbox.0 << 40 ^ number_of(delivery), &[][..])
            }
            Output::Event(event) => (36, number_of_event(event), &[][..]),
        };
        self.trace.note(now, name, kind, number, bytes);
        if self.trace.is_read() {
            self.trace
                .line(now, name, format_args!("-> {}", BriefOut(output)));
        }
    }
}

/// Makes one piece of each frame, as frames arrive; what goes to many is joined once.
#[derive(Debug, Default)]
pub(super) struct Joiner {
    /// The last frame of two parts, and what became of it.
    last: Option<[Bytes; 3]>,
}

impl Joiner {
    fn join(&mut self, head: Bytes, body: Bytes) -> Bytes {
        if body.is_empty() {
            return head;
        }
        if head.is_empty() {
            return body;
        }
        if let Some([last_head, last_body, joined]) = &self.last
            && is_same(last_head, &head)
            && is_same(last_body, &body)
        {
            return joined.clone();
        }
        let mut joined = BytesMut::with_capacity(head.len() + body.len());
        joined.extend_from_slice(&head);
        joined.extend_from_slice(&body);
        let joined = joined.freeze();
        self.last = Some([head, body, joined.clone()]);
        joined
    }
}

/// Whether these are the same place in memory, which cannot change as long as one of them is there.
fn is_same(one: &Bytes, other: &Bytes) -> bool {
    one.as_ptr() == other.as_ptr() && one.len() == other.len()
}

/// Control, data and bulk have a number each, of which the first two follow each other.
fn number_of_class(first: u8, class: Class) -> u8 {
    match class {
        Class::Control => first,
        Class::Data => first + 1,
        Class::Bulk => first + 40,
    }
}

fn number_of(delivery: &Delivery) -> u64 {
    match delivery {
        Delivery::Messages {
            flow, first, batch, ..
        } => u64::from(flow.0) << 32 ^ first.0 << 8 ^ u64::from(batch.count()),
        Delivery::Call { from, .. } => from.call.0,
        Delivery::Large { seq, large, .. } => 1 << 39 ^ u64::from(large.0) << 8 ^ seq.0,
        Delivery::Chunk { flow, chunk, .. } => {
            1 << 38 ^ u64::from(flow.0) ^ (chunk.len() as u64) << 8
        }
        Delivery::LargeEnd { flow, end, .. } => 1 << 37 ^ u64::from(flow.0) ^ (*end as u64) << 34,
        Delivery::Gap(Gap::Range { first, last, .. }) => first.0 << 20 ^ last.0,
        Delivery::Gap(Gap::DeclaredDown { epoch }) => epoch.0,
        Delivery::Lagged(Lagged { first, last, .. }) => 1 << 35 ^ first.0 << 20 ^ last.0,
        Delivery::Started(Started { flow, first, .. }) => {
            1 << 36 ^ u64::from(flow.0) << 20 ^ first.0
        }
    }
}

fn number_of_event(event: &Event) -> u64 {
    match event {
        Event::Membership(_) => 1,
        Event::Holders(_) => 2,
        Event::Answered { call, last, .. } => 3 ^ call.0 << 8 ^ u64::from(*last) << 7,
        Event::Writable(flow) => 4 ^ u64::from(flow.0) << 8,
        Event::Settled { flow, upto } => 5 ^ u64::from(flow.0) << 8 ^ upto.0 << 32,
        Event::Stable { flow, upto } => 10 ^ u64::from(flow.0) << 8 ^ upto.0 << 32,
        Event::Unstable { flow, upto, .. } => 11 ^ u64::from(flow.0) << 8 ^ upto.0 << 32,
        Event::Lost { flow, upto, .. } => 6 ^ u64::from(flow.0) << 8 ^ upto.0 << 32,
        Event::Cancelled(to) => 7 ^ to.call.0 << 8,
        Event::Drained => 8,
        Event::LargeRefused { flow, .. } => 10 ^ u64::from(flow.0) << 8,
        Event::LargeOver { flow } => 11 ^ u64::from(flow.0) << 8,
        _ => 9,
    }
}

/// An input in one line.
struct Brief<'a>(&'a Input);
/// An output in one line.
struct BriefOut<'a>(&'a Output);

impl std::fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Input::Datagram { link, bytes } => {
                write!(f, "datagram on {link:?}: {} bytes", bytes.len())
            }
            Input::Frame { link, class, bytes } => {
                let says = explain(*class, bytes);
                write!(f, "{class:?} frame on {link:?}: {says}")
            }
            other => write!(f, "{other:?}"),
        }
    }
}

impl std::fmt::Display for BriefOut<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Output::Datagram { link, bytes } => {
                write!(f, "datagram on {link:?}: {} bytes", bytes.len())
            }
            Output::Frame {
                link,
                class,
                head,
                body,
            } => {
                let says = explain(*class, &[&head[..], &body[..]].concat().into());
                write!(f, "{class:?} frame on {link:?}: {says}")
            }
            Output::Deliver {
                inbox,
                delivery:
                    Delivery::Messages {
                        origin,
                        flow,
                        first,
                        batch,
                        ..
                    },
            } => {
                let last = first.0 + u64::from(batch.count()) - 1;
                let (node, epoch, first) = (origin.node, origin.epoch, first.0);
                write!(
                    f,
                    "deliver {first}..={last} of {node}/{epoch} {flow:?} to {inbox:?}"
                )
            }
            Output::Deliver {
                inbox,
                delivery:
                    Delivery::Call {
                        from, wants_reply, ..
                    },
            } => {
                write!(
                    f,
                    "deliver {from:?} (wants_reply: {wants_reply}) to {inbox:?}"
                )
            }
            other => write!(f, "{other:?}"),
        }
    }
}

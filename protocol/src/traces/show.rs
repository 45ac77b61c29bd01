//! What engines say, as the lines of a golden.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use rolecast_membership::{Event as MembershipEvent, NodeId};

use super::net::{Due, Net};
use crate::api::{Class, Delivery, Event, Gap, InboxId, Input, ReplyTo};
use crate::notice::{LagReason, Lagged, Started};
use crate::wire::relay::{RelayHead, Relayed};
use crate::wire::{
    Claim, Control, DataHead, DestMember, DestSet, FlowDigest, Pull, Span, Why, decode_control,
    decode_data,
};

impl Net {
    pub(super) fn show_delivery(&mut self, node: u8, inbox: InboxId, delivery: Delivery) {
        let (line, ticket) = match delivery {
            Delivery::Messages {
                origin,
                first,
                batch,
                ticket,
                ..
            } => {
                let mut texts = Vec::new();
                for message in batch.into_messages() {
                    let text = String::from_utf8_lossy(&message.payload).into_owned();
                    if let Some(call) = message.call {
                        self.asked
                            .insert(format!("{node}:{text}"), ReplyTo { origin, call });
                    }
                    texts.push(text);
                }
                let from = name(origin.node);
                let texts = texts.join(" ");
                (
                    format!("{node} gets {from}@{} #{}: {texts}", origin.epoch, first.0),
                    Some(ticket),
                )
            }
            Delivery::Call {
                from,
                payload,
                ticket,
                wants_reply,
            } => {
                let text = String::from_utf8_lossy(&payload).into_owned();
                let kind = if wants_reply { "request" } else { "one-way" };
                let sender = name(from.origin.node);
                self.asked.insert(format!("{node}:{text}"), from);
                (
                    format!("{node} gets a {kind} from {sender}: {text}"),
                    Some(ticket),
                )
            }
            Delivery::Large {
                origin,
                seq,
                length,
                ticket,
                ..
            } => {
                let from = name(origin.node);
                let length =
                    length.map_or_else(|| "unknown length".into(), |l| format!("{l} bytes"));
                let place = format!("{from}@{} #{}", origin.epoch, seq.0);
                (
                    format!("{node} gets {place}: a large payload of {length}"),
                    Some(ticket),
                )
            }
            Delivery::Chunk { chunk, ticket, .. } => {
                let text = String::from_utf8_lossy(&chunk).into_owned();
                (format!("{node} gets a chunk: {text}"), Some(ticket))
            }
            Delivery::LargeEnd { end, .. } => {
                (format!("{node} sees a large payload end: {end:?}"), None)
            }
            Delivery::Gap(Gap::Range {
                origin,
                first,
                last,
                ..
            }) => {
                let from = name(origin.node);
                let line = format!(
                    "{node} misses {from}@{} #{}..{}",
                    origin.epoch, first.0, last.0
                );
                (line, None)
            }
            Delivery::Started(Started {
                origin,
                first,
                replayed,
                ..
            }) => {
                let from = name(origin.node);
                let past = match replayed {
                    0 => String::new(),
                    replayed => format!(", {replayed} of them of the past"),
                };
                let line = format!(
                    "{node} gets {from}@{} from #{} on{past}",
                    origin.epoch, first.0
                );
                (line, None)
            }
            Delivery::Lagged(Lagged {
                origin,
                first,
                last,
                reason,
                ..
            }) => {
                let from = name(origin.node);
                let by = match reason {
                    LagReason::Evicted => "",
                    LagReason::Superseded => ", superseded",
                };
                let line = format!(
                    "{node} lags behind {from}@{} by #{}..{}{by}",
                    origin.epoch, first.0, last.0
                );
                (line, None)
            }
            Delivery::Gap(Gap::DeclaredDown { .. }) => (format!("{node} was declared down"), None),
        };
        self.lines += &line;
        self.lines.push('\n');
        let Some(ticket) = ticket else { return };
        match self.stopped.get_mut(&(node, inbox)) {
            Some(waiting) => waiting.push(ticket),
            None => self.at(Duration::ZERO, Due::Input(node, Input::Consumed { ticket })),
        }
    }

    pub(super) fn show_event(&mut self, node: u8, event: &Event) {
        let line = match event {
            Event::Membership(event) => match **event {
                MembershipEvent::Superseded(by) => {
                    format!("{node} gives way to {}@{}", name(by.id), by.epoch)
                }
                MembershipEvent::Renewed(me) => format!("{node} goes on as @{}", me.epoch),
                _ => return,
            },
            Event::Holders(_) => return,
            Event::Answered {
                node: from, answer, ..
            } => {
                let from = from.map(|from| name(from).to_string());
                let answer = format!("{answer:?}");
                format!(
                    "{node} has an answer of {}: {answer}",
                    from.unwrap_or_default()
                )
            }
            Event::Settled { upto, .. } => format!("{node} is settled up to #{}", upto.0),
            Event::Stable { upto, .. } => format!("{node} has stable up to #{}", upto.0),
            Event::Unstable { first, upto, .. } => {
                format!("{node} gives up #{}..{}", first.0, upto.0)
            }
            Event::Lost {
                node: lost,
                after,
                upto,
                ..
            } => {
                let lost = name(*lost);
                format!("{node} lost {lost} after #{} of #{}", after.0, upto.0)
            }
            Event::Evicted {
                node: evicted,
                after,
                upto,
                ..
            } => {
                let evicted = name(*evicted);
                format!("{node} evicts {evicted} after #{} of #{}", after.0, upto.0)
            }
            Event::Lags {
                node: slow,
                after,
                upto,
                ..
            } => {
                let slow = name(*slow);
                format!(
                    "{node} leaves {slow} behind after #{} of #{}",
                    after.0, upto.0
                )
            }
            Event::Superseded {
                node: slow,
                first,
                last,
                ..
            } => {
                let slow = name(*slow);
                format!("{node} leaves #{}..{} out for {slow}", first.0, last.0)
            }
            Event::Readmitted {
                node: back, start, ..
            } => format!("{node} takes {} back from #{} on", name(*back), start.0),
            Event::LargeRefused { node: by, .. } => {
                format!("{node} hears that {} refuses a large payload", name(*by))
            }
            Event::LargeOver { .. } => format!("{node} is done with a large payload"),
            Event::Writable(_) => format!("{node} may send again"),
            Event::Cancelled(_) => format!("{node} hears that the answer is not wanted"),
            Event::Answerable(to) => format!("{node} may answer {} again", name(*to)),
            Event::Drained => format!("{node} has drained"),
            Event::Violation { what, .. } => format!("{node} sees {what}"),
        };
        self.lines += &line;
        self.lines.push('\n');
    }

    pub(super) fn show_frame(&mut self, from: u8, to: u8, class: Class, bytes: &Bytes) {
        if let Some(what) = Self::frame_text(class, bytes) {
            writeln!(self.lines, "  {from} -> {to} {what}").expect("a string");
        }
    }

    fn frame_text(class: Class, bytes: &Bytes) -> Option<String> {
        let what = match class {
            Class::Control => match decode_control(bytes) {
                Some(Control::Membership(_)) | None => return None,
                Some(Control::Hello(hello)) => {
                    let known = hello
                        .known
                        .map(|(epoch, received)| format!(" has {} of @{epoch}", lanes(received)));
                    format!("hello @{}{}", hello.epoch, known.unwrap_or_default())
                }
                Some(Control::Acks(acks)) => {
                    let mut text = format!("acks {}", lanes(acks.received));
                    for ack in &acks.flows {
                        write!(text, " #{}", ack.upto).expect("a string");
                    }
                    for via in &acks.via {
                        let (member, origin) = (name(via.member), name(via.origin));
                        write!(text, " {member} for {origin} #{}", via.ack.upto).expect("a string");
                    }
                    text
                }
                Some(Control::Digest(digests)) => {
                    let flows: Vec<String> = digests.iter().map(digest_text).collect();
                    format!("digest {}", flows.join(" "))
                }
                Some(Control::Pull(pull)) => format!("pull of {}", pull_text(&pull)),
                Some(Control::Rest { from, to }) => format!("may rest @{from} @{to}"),
                Some(Control::Gone(gone)) => format!(
                    "gone are {}, {}",
                    pull_text(&gone.pull),
                    match gone.why {
                        Why::NotKept => "not kept",
                        Why::NotMeant => "not meant",
                        Why::LeftOut => "left out",
                    }
                ),
            },
            Class::Data | Class::Bulk => match decode_data(bytes) {
                Some((DataHead::Relay(head), body)) => return Self::relay_text(&head, &body),
                Some((head, _)) => Self::data_text(&head),
                None => "rubbish".to_owned(),
            },
        };
        Some(what)
    }

    fn relay_text(head: &RelayHead, body: &Bytes) -> Option<String> {
        let route: Vec<String> = head
            .route
            .iter()
            .map(|&node| name(node).to_string())
            .collect();
        let inner = match &head.what {
            Relayed::Datagram => return None,
            Relayed::Failed(failed) => match failed.beyond {
                Some(beyond) => format!("no way on to {}", name(beyond)),
                None => "something is missing".to_owned(),
            },
            Relayed::Frame(_) if body.is_empty() => "a sign of life".to_owned(),
            Relayed::Frame(frame) => Self::frame_text(frame.class.class(), body)?,
        };
        Some(format!("relays {}: {inner}", route.join(".")))
    }

    fn data_text(head: &DataHead) -> String {
        match head {
            DataHead::Relay(_) => unreachable!("what is relayed is told with its body"),
            DataHead::Resume {
                from, to, first, ..
            } => format!("resume @{from} @{to} at {first}"),
            DataHead::DestSet(DestSet {
                version,
                members,
                evicted,
                sources,
                ..
            }) => {
                let members = members.iter().map(member_text);
                let evicted = evicted.iter().map(|e| {
                    let lags = e
                        .lags
                        .map(|upto| format!(" of #{upto}"))
                        .unwrap_or_default();
                    format!("{}@{} not after #{}{lags}", name(e.node), e.epoch, e.upto)
                });
                let members: Vec<String> = members.chain(evicted).collect();
                let sources = (0..).zip(sources);
                let sources: String = sources
                    .map(|(n, key): (u32, _)| format!(" {n}={}", name(key.origin)))
                    .collect();
                format!("dest-set v{version} {}{sources}", members.join(" "))
            }
            DataHead::Batch {
                key,
                version,
                first,
                count,
                deps,
                ..
            } => {
                let last = first + u64::from(*count) - 1;
                let deps = deps.iter();
                let deps: String = deps
                    .map(|dep| format!(" after {}:#{}", dep.source, dep.upto))
                    .collect();
                format!(
                    "batch of {} v{version} #{first}..{last}{deps}",
                    name(key.origin)
                )
            }
            DataHead::Skipped { count, flows } => {
                let flows: Vec<String> = flows
                    .iter()
                    .map(|(key, upto)| format!("{} #{upto}", name(key.origin)))
                    .collect();
                format!("skipped {count}: {}", flows.join(" "))
            }
            DataHead::Call { role, .. } => format!("call {role}"),
            DataHead::Answer { answer, .. } => format!("answer {answer:?}"),
            DataHead::Cancel { .. } => "cancel".to_owned(),
            DataHead::Rejoin { .. } => "rejoin".to_owned(),
            DataHead::LeftOut { upto, .. } => format!("left out up to #{upto}"),
            DataHead::GivenUp { key, upto } => format!("given up {} #{upto}", name(key.origin)),
            DataHead::Finished { refused: true, .. } => "refuses a large payload".to_owned(),
            DataHead::Finished { .. } => "has all of a large payload".to_owned(),
        }
    }
}

/// How many frames of data were received, and of bulk, if there were any.
fn lanes([data, bulk]: [u64; 2]) -> String {
    match bulk {
        0 => data.to_string(),
        bulk => format!("{data}+{bulk}"),
    }
}

/// The node's key, by which it is known whatever place it runs at.
fn name(id: NodeId) -> u8 {
    id.as_bytes()[0]
}

/// A member with its life and the first message that is meant for it, and what it is owed of the origin's former lives.
fn member_text(member: &DestMember) -> String {
    let DestMember {
        node, epoch, start, ..
    } = member;
    let replayed = match member.replayed {
        0 => String::new(),
        replayed => format!("+{replayed}"),
    };
    let owed = member.owed.iter();
    let owed: String = owed
        .map(|owed| format!("(owed {}..{} of @{})", owed.first, owed.last, owed.epoch))
        .collect();
    format!("{}@{epoch}:{start}{replayed}{owed}", name(*node))
}

fn digest_text(digest: &FlowDigest) -> String {
    let FlowDigest {
        key,
        version,
        upto,
        aged,
        beyond,
        floor,
        claim,
        heard,
    } = digest;
    let beyond = beyond.iter().map(|span| {
        let Span { first, last } = span;
        format!(" and #{first}..{last}")
    });
    let beyond: String = beyond.collect();
    let claim = claim.map(|claim| format!(" safe #{}..{}", claim.from, claim.safe));
    let heard = heard.iter().map(|heard| {
        let Claim { from, safe } = heard.claim;
        let (node, held) = (name(heard.node), heard.held);
        format!(" ({node}: #{held} safe #{from}..{safe})")
    });
    let claim: String = claim.into_iter().chain(heard).collect();
    format!(
        "{} v{version} #{upto} aged #{aged}{beyond} floor #{floor}{claim}",
        name(key.origin)
    )
}

fn pull_text(pull: &Pull) -> String {
    let Pull { key, first, last } = pull;
    format!("{} #{first}..{last}", name(key.origin))
}

//! What a frame says, for people.

use bytes::Bytes;

use rolecast_membership::NodeId;

use crate::api::{Class, FlowId, Origin, Seq};
use crate::wire::relay::{Relayed, WayClass};
use crate::wire::{Control, DataHead, decode_control, decode_data};

/// What a frame says, in the words of the code; for traces and diagrams, never to be parsed.
#[must_use]
pub fn explain(class: Class, frame: &Bytes) -> String {
    let said = match class {
        Class::Control => decode_control(frame).map(|control| match control {
            Control::Membership(bytes) => format!("Membership({} bytes)", bytes.len()),
            other => format!("{other:?}"),
        }),
        Class::Data | Class::Bulk => decode_data(frame).map(|(head, body)| match body.len() {
            0 => format!("{head:?}"),
            bytes => format!("{head:?} and {bytes} bytes"),
        }),
    };
    said.unwrap_or_else(|| format!("{} bytes that nobody understands", frame.len()))
}

/// Whether a frame, whose bytes are `head` followed by `body`, carries something of a session, and not only what a mesh says that is at rest.
///
/// Whoever looks at a whole run can tell by that whether it has come to its end.
#[must_use]
pub fn carries_messages(class: Class, head: &Bytes, body: &Bytes) -> bool {
    if class == Class::Control {
        return false;
    }
    match decode_data(head) {
        Some((DataHead::Relay(relay), inner)) => match relay.what {
            Relayed::Frame(frame) => {
                frame.class != WayClass::Control && !(inner.is_empty() && body.is_empty())
            }
            Relayed::Datagram | Relayed::Failed(_) => false,
        },
        _ => true,
    }
}

/// How many bytes of payload are in a frame, whose bytes are `head` followed by `body`: what a session carries for applications, whether over a link or as a part of what goes over other members.
#[must_use]
pub fn payload_bytes(class: Class, head: &Bytes, body: &Bytes) -> usize {
    if class == Class::Control {
        return 0;
    }
    let Some((DataHead::Relay(relay), inner)) = decode_data(head) else {
        return body.len();
    };
    match relay.what {
        // Whoever passes it on has all of it in the body; its source has not.
        Relayed::Frame(frame) => {
            let whole = [inner, body.clone()].concat().into();
            match frame.class.class() {
                Class::Control => 0,
                Class::Data | Class::Bulk => {
                    decode_data(&whole).map_or(0, |(_, payload)| payload.len())
                }
            }
        }
        Relayed::Datagram | Relayed::Failed(_) => 0,
    }
}

/// Which messages of a flow a frame brings to this node, from its peer or over other members: whose they are, of which flow, the first and the last.
///
/// Whoever looks at a whole run can tell by that who may hold what.
#[must_use]
pub fn messages_for(
    me: NodeId,
    class: Class,
    frame: &Bytes,
) -> Option<(Origin, FlowId, (Seq, Seq))> {
    if class == Class::Control {
        return None;
    }
    match decode_data(frame)? {
        (
            DataHead::Batch {
                key, first, count, ..
            },
            _,
        ) => {
            let last = first.saturating_add(count.into()).saturating_sub(1);
            Some((key.origin(), key.flow, (Seq(first), Seq(last))))
        }
        (DataHead::Relay(relay), inner) if relay.route.last() == Some(&me) => match relay.what {
            Relayed::Frame(frame) => match decode_data(&inner)? {
                // One that is passed on in another one is refused.
                (DataHead::Relay(_), _) => None,
                _ => messages_for(me, frame.class.class(), &inner),
            },
            Relayed::Datagram | Relayed::Failed(_) => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::relay::{RelayHead, WayFrame};
    use crate::wire::{FlowKey, encode_head};
    use rolecast_membership::{Epoch, NodeId};

    #[test]
    fn frames_are_told_in_words() {
        let head = DataHead::Resume {
            from: Epoch(3),
            to: Epoch(4),
            first: 17,
            stretch: 2,
        };
        let said = explain(Class::Data, &encode_head(&head));
        assert_eq!(
            said,
            "Resume { from: Epoch(3), to: Epoch(4), first: 17, stretch: 2 }"
        );
        let garbage = Bytes::from_static(&[0xff; 9]);
        assert_eq!(
            explain(Class::Control, &garbage),
            "9 bytes that nobody understands"
        );
    }

    #[test]
    fn messages_are_for_whoever_they_end_at() {
        let batch = encode_head(&DataHead::Batch {
            key: FlowKey {
                origin: NodeId::from_bytes([7; 32]),
                epoch: Epoch(4),
                flow: FlowId(5),
            },
            version: 1,
            first: 11,
            count: 3,
            floor: 0,
            deps: Vec::new(),
        });
        let over = encode_head(&DataHead::Relay(RelayHead {
            route: [1, 2, 3].map(|one| NodeId::from_bytes([one; 32])).to_vec(),
            at: 1,
            life: Epoch(3),
            what: Relayed::Frame(WayFrame {
                class: WayClass::Data,
                way: 1,
                answers: 0,
                number: 7,
            }),
        }));
        let origin = Origin {
            node: NodeId::from_bytes([7; 32]),
            epoch: Epoch(4),
        };
        let brings = Some((origin, FlowId(5), (Seq(11), Seq(13))));
        let said =
            |me, class, frame: &Bytes| messages_for(NodeId::from_bytes([me; 32]), class, frame);
        assert_eq!(said(2, Class::Data, &batch), brings);
        assert_eq!(said(2, Class::Control, &batch), None);
        let relayed: Bytes = [over.clone(), batch].concat().into();
        assert_eq!(said(3, Class::Data, &relayed), brings);
        assert_eq!(said(2, Class::Data, &relayed), None, "it passes it on");
        let nested: Bytes = [over, relayed].concat().into();
        assert_eq!(said(3, Class::Data, &nested), None);
    }

    #[test]
    fn payload_is_counted_in_what_goes_over_others_and_nothing_else_is() {
        let relayed = |class| {
            encode_head(&DataHead::Relay(RelayHead {
                route: [1, 2, 3].map(|one| NodeId::from_bytes([one; 32])).to_vec(),
                at: 1,
                life: Epoch(3),
                what: Relayed::Frame(WayFrame {
                    class,
                    way: 1,
                    answers: 0,
                    number: 7,
                }),
            }))
        };
        let inner = encode_head(&DataHead::Resume {
            from: Epoch(3),
            to: Epoch(4),
            first: 17,
            stretch: 2,
        });
        let payload = Bytes::from_static(b"payload");
        let count = |head: &[&Bytes], body: &[&Bytes]| {
            let join =
                |parts: &[&Bytes]| parts.iter().flat_map(|part| part.iter().copied()).collect();
            payload_bytes(Class::Data, &join(head), &join(body))
        };
        let over = relayed(WayClass::Data);
        assert_eq!(count(&[&inner], &[&payload]), 7);
        assert_eq!(count(&[&over, &inner], &[&payload]), 7, "at its source");
        assert_eq!(count(&[&over], &[&inner, &payload]), 7, "passed on");
        assert_eq!(count(&[&over], &[&inner]), 0);
        let control = relayed(WayClass::Control);
        assert_eq!(count(&[&control], &[&inner, &payload]), 0);
        assert_eq!(payload_bytes(Class::Control, &payload, &payload), 0);
    }
}

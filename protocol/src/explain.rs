//! What a frame says, for people.

use bytes::Bytes;

use crate::api::Class;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::encode_head;
    use rolecast_membership::Epoch;

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
}

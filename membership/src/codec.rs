//! How SWIM's headers and updates look on the wire.
//!
//! Fixed-width and big-endian: an identity is the node id, the epoch, and the address (a tag, the IP, the port).
//! A header is source, incarnation, destination, a message tag and the message's fields; an update is identity, incarnation and state.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::{Buf, BufMut};
use foca::{Codec, Header, Member, Message, State};

use crate::life::Life;
use crate::{Epoch, Identity, NodeId};

/// The codec that `foca` is given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PacketCodec;

/// Why something cannot be encoded or decoded; nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CodecError {
    #[error("no room left in the packet")]
    Full,
    #[error("the packet ends too early")]
    Short,
    #[error("unknown tag {0}")]
    Tag(u8),
}

/// A packet of `foca`, as far as it is looked at before `foca` gets it.
pub(crate) struct Parsed<'a> {
    pub(crate) header: Header<Life>,
    pub(crate) updates: Vec<Member<Life>>,
    bytes: &'a [u8],
    header_bytes: usize,
}

/// Reads header and updates of a packet; `None` if it is malformed.
pub(crate) fn parse(bytes: &[u8]) -> Option<Parsed<'_>> {
    let mut rest = bytes;
    let header = PacketCodec.decode_header(&mut rest).ok()?;
    let header_bytes = bytes.len() - rest.len();
    let mut updates = Vec::new();
    if rest.len() >= 2 {
        let count = rest.get_u16();
        for _ in 0..count {
            updates.push(PacketCodec.decode_member(&mut rest).ok()?);
        }
    }
    rest.is_empty().then_some(Parsed {
        header,
        updates,
        bytes,
        header_bytes,
    })
}

impl<'a> Parsed<'a> {
    /// Drops the updates that are not wanted; gives the packet without them.
    pub(crate) fn keep(&mut self, wanted: impl Fn(&Member<Life>) -> bool) -> Cow<'a, [u8]> {
        let before = self.updates.len();
        self.updates.retain(wanted);
        if self.updates.len() == before {
            return Cow::Borrowed(self.bytes);
        }
        let mut bytes = Vec::with_capacity(self.bytes.len());
        bytes.put_slice(&self.bytes[..self.header_bytes]);
        put_updates(&mut bytes, &self.updates);
        Cow::Owned(bytes)
    }
}

/// A packet as it travels: without what the receiver knows, which is who sent it and that it is meant for itself.
///
/// That is most of a probe, and what an idle mesh sends is probes.
pub(crate) fn shorten(packet: &[u8]) -> Vec<u8> {
    let split = |bytes: &[u8]| {
        let mut rest = bytes;
        let life = take_life(&mut rest).expect("this node wrote the packet");
        (life, bytes.len() - rest.len())
    };
    let (_, src_bytes) = split(packet);
    let (src, rest) = packet.split_at(src_bytes + 2);
    let (dst, dst_bytes) = split(rest);
    let mut short = Vec::with_capacity(packet.len());
    short.put_slice(&src[ID_BYTES..]);
    short.put_u64(dst.epoch().0);
    short.put_slice(&rest[dst_bytes..]);
    short
}

/// The whole of a packet that came from a peer; `None` if it is malformed.
pub(crate) fn restore(from: NodeId, own: Life, mut short: &[u8]) -> Option<Vec<u8>> {
    let mut packet = Vec::with_capacity(short.len() + RESTORED_BYTES);
    packet.put_slice(from.as_bytes());
    packet.put_slice(short);
    let mut rest = &packet[..];
    take_life(&mut rest).ok()?;
    rest.try_get_u16().ok()?;
    let src_bytes = packet.len() - rest.len();
    short.advance(src_bytes - ID_BYTES);
    let epoch = Epoch(short.try_get_u64().ok()?);
    packet.truncate(src_bytes);
    put_life(&mut packet, &Life(Identity { epoch, ..own.0 }));
    packet.put_slice(short);
    Some(packet)
}

/// The same packet for somebody else, if it is one of gossip, which says nothing to its receiver alone.
pub(crate) fn gossip_for(packet: &[u8], other: Life) -> Option<Vec<u8>> {
    let header = PacketCodec.decode_header(&mut &packet[..]).ok()?;
    if header.message != Message::Gossip {
        return None;
    }
    let mut rest = packet;
    take_life(&mut rest).ok()?;
    let dst = packet.len() - rest.len() + 2;
    rest.advance(2);
    take_life(&mut rest).ok()?;
    let mut bytes = Vec::with_capacity(packet.len());
    bytes.put_slice(&packet[..dst]);
    put_life(&mut bytes, &other);
    bytes.put_slice(rest);
    Some(bytes)
}

/// The number of the probe that a packet is, if it is one.
pub(crate) fn ping_number(mut bytes: &[u8]) -> Option<u8> {
    match PacketCodec.decode_header(&mut bytes).ok()?.message {
        Message::Ping(number) => Some(number),
        _ => None,
    }
}

/// Writes a packet with one update, which `foca` has no call for.
pub(crate) fn packet(
    src: Life,
    dst: Life,
    message: Message<Life>,
    update: Option<Member<Life>>,
) -> Vec<u8> {
    let header = Header {
        src,
        src_incarnation: 0,
        dst,
        message,
    };
    let mut bytes = Vec::with_capacity(200);
    PacketCodec
        .encode_header(&header, &mut bytes)
        .expect("a vector has room");
    if let Some(update) = update {
        put_updates(&mut bytes, &[update]);
    }
    bytes
}

fn put_updates(bytes: &mut Vec<u8>, updates: &[Member<Life>]) {
    bytes.put_u16(u16::try_from(updates.len()).expect("so many fit into a packet"));
    for update in updates {
        PacketCodec
            .encode_member(update, &mut *bytes)
            .expect("a vector has room");
    }
}

impl Codec<Life> for PacketCodec {
    type Error = CodecError;

    fn encode_header(
        &mut self,
        header: &Header<Life>,
        mut buf: impl BufMut,
    ) -> Result<(), CodecError> {
        let third = third_party(&header.message).map_or(0, |(life, _)| life_len(life));
        let len = life_len(&header.src) + 2 + life_len(&header.dst) + 2 + third;
        if buf.remaining_mut() < len {
            return Err(CodecError::Full);
        }
        put_life(&mut buf, &header.src);
        buf.put_u16(header.src_incarnation);
        put_life(&mut buf, &header.dst);
        put_message(&mut buf, &header.message);
        Ok(())
    }

    fn decode_header(&mut self, mut buf: impl Buf) -> Result<Header<Life>, CodecError> {
        let src = take_life(&mut buf)?;
        let src_incarnation = buf.try_get_u16().map_err(|_| CodecError::Short)?;
        let dst = take_life(&mut buf)?;
        let message = take_message(&mut buf)?;
        Ok(Header {
            src,
            src_incarnation,
            dst,
            message,
        })
    }

    fn encode_member(
        &mut self,
        member: &Member<Life>,
        mut buf: impl BufMut,
    ) -> Result<(), CodecError> {
        if buf.remaining_mut() < life_len(member.id()) + 3 {
            return Err(CodecError::Full);
        }
        put_life(&mut buf, member.id());
        buf.put_u16(member.incarnation());
        buf.put_u8(match member.state() {
            State::Alive => 0,
            State::Suspect => 1,
            State::Down => 2,
        });
        Ok(())
    }

    fn decode_member(&mut self, mut buf: impl Buf) -> Result<Member<Life>, CodecError> {
        let life = take_life(&mut buf)?;
        let incarnation = buf.try_get_u16().map_err(|_| CodecError::Short)?;
        let state = match take_u8(&mut buf)? {
            0 => State::Alive,
            1 => State::Suspect,
            2 => State::Down,
            tag => return Err(CodecError::Tag(tag)),
        };
        Ok(Member::new(life, incarnation, state))
    }
}

const ID_BYTES: usize = 32;
/// Two ids and an address, at most.
const RESTORED_BYTES: usize = 2 * ID_BYTES + 19;

fn life_len(life: &Life) -> usize {
    let ip = if life.0.addr.is_ipv4() { 4 } else { 16 };
    ID_BYTES + 8 + 1 + ip + 2
}

fn put_life(buf: &mut impl BufMut, life: &Life) {
    buf.put_slice(life.0.id.as_bytes());
    buf.put_u64(life.0.epoch.0);
    match life.0.addr.ip() {
        IpAddr::V4(ip) => {
            buf.put_u8(4);
            buf.put_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            buf.put_u8(6);
            buf.put_slice(&ip.octets());
        }
    }
    buf.put_u16(life.0.addr.port());
}

fn take_u8(buf: &mut impl Buf) -> Result<u8, CodecError> {
    buf.try_get_u8().map_err(|_| CodecError::Short)
}

fn take_life(buf: &mut impl Buf) -> Result<Life, CodecError> {
    let mut id = [0; 32];
    buf.try_copy_to_slice(&mut id)
        .map_err(|_| CodecError::Short)?;
    let epoch = Epoch(buf.try_get_u64().map_err(|_| CodecError::Short)?);
    let ip = match take_u8(buf)? {
        4 => {
            let mut octets = [0; 4];
            buf.try_copy_to_slice(&mut octets)
                .map_err(|_| CodecError::Short)?;
            IpAddr::V4(Ipv4Addr::from(octets))
        }
        6 => {
            let mut octets = [0; 16];
            buf.try_copy_to_slice(&mut octets)
                .map_err(|_| CodecError::Short)?;
            IpAddr::V6(Ipv6Addr::from(octets))
        }
        tag => return Err(CodecError::Tag(tag)),
    };
    let port = buf.try_get_u16().map_err(|_| CodecError::Short)?;
    let addr = SocketAddr::new(ip, port);
    Ok(Life(Identity {
        id: NodeId::from_bytes(id),
        epoch,
        addr,
    }))
}

/// The node that a message of the indirect probe is about, and the probe's number.
fn third_party(message: &Message<Life>) -> Option<(&Life, u8)> {
    match message {
        Message::PingReq {
            target: life,
            probe_number,
        }
        | Message::IndirectPing {
            origin: life,
            probe_number,
        }
        | Message::IndirectAck {
            target: life,
            probe_number,
        }
        | Message::ForwardedAck {
            origin: life,
            probe_number,
        } => Some((life, *probe_number)),
        _ => None,
    }
}

fn put_message(buf: &mut impl BufMut, message: &Message<Life>) {
    let tag = match message {
        Message::Ping(_) => 0,
        Message::Ack(_) => 1,
        Message::PingReq { .. } => 2,
        Message::IndirectPing { .. } => 3,
        Message::IndirectAck { .. } => 4,
        Message::ForwardedAck { .. } => 5,
        Message::Announce => 6,
        Message::Feed => 7,
        Message::Gossip => 8,
        Message::Broadcast => 9,
        Message::TurnUndead => 10,
    };
    buf.put_u8(tag);
    if let Message::Ping(number) | Message::Ack(number) = message {
        buf.put_u8(*number);
    }
    if let Some((life, number)) = third_party(message) {
        put_life(buf, life);
        buf.put_u8(number);
    }
}

fn take_message(buf: &mut impl Buf) -> Result<Message<Life>, CodecError> {
    Ok(match take_u8(buf)? {
        0 => Message::Ping(take_u8(buf)?),
        1 => Message::Ack(take_u8(buf)?),
        2 => Message::PingReq {
            target: take_life(buf)?,
            probe_number: take_u8(buf)?,
        },
        3 => Message::IndirectPing {
            origin: take_life(buf)?,
            probe_number: take_u8(buf)?,
        },
        4 => Message::IndirectAck {
            target: take_life(buf)?,
            probe_number: take_u8(buf)?,
        },
        5 => Message::ForwardedAck {
            origin: take_life(buf)?,
            probe_number: take_u8(buf)?,
        },
        6 => Message::Announce,
        7 => Message::Feed,
        8 => Message::Gossip,
        9 => Message::Broadcast,
        10 => Message::TurnUndead,
        tag => return Err(CodecError::Tag(tag)),
    })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn any_life() -> impl Strategy<Value = Life> {
        // The flow and the scope of an IPv6 address do not travel.
        (any::<[u8; 32]>(), any::<u64>(), any::<(IpAddr, u16)>()).prop_map(|(id, epoch, addr)| {
            Life(Identity {
                id: NodeId::from_bytes(id),
                epoch: Epoch(epoch),
                addr: addr.into(),
            })
        })
    }

    fn message() -> impl Strategy<Value = Message<Life>> {
        (0u8..11, any_life(), any::<u8>()).prop_map(|(tag, life, probe_number)| match tag {
            0 => Message::Ping(probe_number),
            1 => Message::Ack(probe_number),
            2 => Message::PingReq {
                target: life,
                probe_number,
            },
            3 => Message::IndirectPing {
                origin: life,
                probe_number,
            },
            4 => Message::IndirectAck {
                target: life,
                probe_number,
            },
            5 => Message::ForwardedAck {
                origin: life,
                probe_number,
            },
            6 => Message::Announce,
            7 => Message::Feed,
            8 => Message::Gossip,
            9 => Message::Broadcast,
            _ => Message::TurnUndead,
        })
    }

    fn update() -> impl Strategy<Value = Member<Life>> {
        let states = vec![State::Alive, State::Suspect, State::Down];
        (any_life(), any::<u16>(), proptest::sample::select(states))
            .prop_map(|(life, incarnation, state)| Member::new(life, incarnation, state))
    }

    proptest! {
        #[test]
        fn every_packet_comes_back(
            (src, dst) in (any_life(), any_life()),
            src_incarnation in any::<u16>(),
            message in message(),
            updates in vec(update(), 0..4),
        ) {
            let header = Header { src, src_incarnation, dst, message: message.clone() };
            let mut bytes = Vec::new();
            PacketCodec.encode_header(&header, &mut bytes).expect("a vector grows");
            put_updates(&mut bytes, &updates);
            let parsed = parse(&bytes).expect("what was encoded can be decoded");
            prop_assert_eq!((parsed.header.src.0, parsed.header.dst.0), (src.0, dst.0));
            prop_assert_eq!(parsed.header.src_incarnation, src_incarnation);
            prop_assert_eq!(parsed.header.message, message);
            prop_assert_eq!(&parsed.updates, &updates);
            let short = shorten(&bytes);
            let restored = restore(src.id(), dst, &short);
            prop_assert_eq!(restored.as_ref(), Some(&bytes));
            for end in 0..short.len() {
                let cut = restore(src.id(), dst, &short[..end]);
                prop_assert!(cut.is_none_or(|packet| packet.len() < bytes.len()));
            }
            bytes.push(0);
            prop_assert!(parse(&bytes).is_none(), "nothing may follow a packet");
        }
    }

    fn life(number: u8, addr: &str) -> Life {
        let id = NodeId::from_bytes([number; 32]);
        Life(Identity {
            id,
            epoch: Epoch(7),
            addr: addr.parse().expect("an address"),
        })
    }

    #[test]
    fn every_message_survives_the_way_through_bytes() {
        let (a, b) = (life(1, "10.0.0.1:7400"), life(2, "[::1]:7400"));
        let messages = [
            Message::Ping(3),
            Message::Ack(4),
            Message::PingReq {
                target: b,
                probe_number: 5,
            },
            Message::IndirectPing {
                origin: a,
                probe_number: 6,
            },
            Message::IndirectAck {
                target: b,
                probe_number: 7,
            },
            Message::ForwardedAck {
                origin: a,
                probe_number: 8,
            },
            Message::Announce,
            Message::Feed,
            Message::Gossip,
            Message::Broadcast,
            Message::TurnUndead,
        ];
        for message in messages {
            let update = Member::new(b, 9, State::Suspect);
            let bytes = packet(a, b, message.clone(), Some(update.clone()));
            let mut parsed = parse(&bytes).expect("what was encoded can be decoded");
            assert_eq!(parsed.header.message, message);
            assert_eq!((parsed.header.src.0, parsed.header.dst.0), (a.0, b.0));
            assert_eq!(parsed.updates, [update]);
            assert_eq!(*parsed.keep(|_| true), bytes);
            let without = parsed.keep(|_| false).into_owned();
            let parsed = parse(&without).expect("it is well-formed");
            assert_eq!(parsed.header.message, message);
            assert_eq!(parsed.updates, []);
            for end in 0..bytes.len() {
                // A shorter packet is an error or the bare header, never a panic.
                let _ = parse(&bytes[..end]);
            }
        }
    }

    #[test]
    fn a_full_buffer_is_left_clean() {
        let a = life(1, "10.0.0.1:7400");
        let mut small = Vec::new();
        let result = PacketCodec.encode_member(&Member::alive(a), (&mut small).limit(49));
        assert_eq!(result, Err(CodecError::Full));
        assert!(small.is_empty());
        assert_eq!(
            PacketCodec.encode_member(&Member::alive(a), (&mut small).limit(50)),
            Ok(())
        );
    }
}

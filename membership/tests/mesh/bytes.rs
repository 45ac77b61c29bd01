//! Whatever a peer sends, a node goes on.

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_oneof, proptest};
use proptest::sample::Index;
use rolecast_membership::{Input, Profile, RoleName};

use crate::net::{Net, Setup, id};

const SECOND: Duration = Duration::from_secs(1);

/// Packets and frames of every kind that a mesh of three in trouble sends; `true` marks a frame.
fn samples() -> &'static [(bool, Bytes)] {
    static SAMPLES: OnceLock<Vec<(bool, Bytes)>> = OnceLock::new();
    SAMPLES.get_or_init(|| {
        let mut net = Net::new(Setup::new(11, Profile::Local), 4);
        net.kept = Some(Vec::new());
        for index in 0..3 {
            net.start(index, 1, &[0]);
        }
        net.run(SECOND * 2);
        let role = RoleName::new("a").expect("a good name");
        net.call(1, |node, now| node.take_up(now, role))
            .expect("few roles");
        net.split(|index| u32::from(index == 2));
        net.run(SECOND * 6);
        net.heal();
        net.run(SECOND * 5);
        net.crash(1);
        net.start(1, 3, &[0]);
        net.run(SECOND * 2);
        net.leave(1);
        net.run(SECOND);
        let mut kept = net.kept.take().expect("it was kept");
        kept.sort();
        kept.dedup();
        kept
    })
}

/// One change to the bytes of a good message.
#[derive(Clone, Debug)]
enum Change {
    Set(Index, u8),
    Cut(Index),
    Insert(Index, u8),
    /// The tail of another message follows.
    Splice(Index, Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        1 => any::<Index>().prop_map(Change::Cut),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Insert(at, byte)),
        1 => (any::<Index>(), any::<Index>(), any::<Index>())
            .prop_map(|(at, other, from)| Change::Splice(at, other, from)),
    ]
}

fn changed(bytes: &Bytes, changes: &[Change]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for change in changes {
        let len = bytes.len();
        match change {
            Change::Set(at, byte) if len > 0 => bytes[at.index(len)] = *byte,
            Change::Cut(at) => bytes.truncate(at.index(len + 1)),
            Change::Insert(at, byte) => bytes.insert(at.index(len + 1), *byte),
            Change::Splice(at, other, from) => {
                let (_, other) = &samples()[other.index(samples().len())];
                bytes.truncate(at.index(len + 1));
                bytes.extend_from_slice(&other[from.index(other.len() + 1)..]);
            }
            Change::Set(..) => {}
        }
    }
    bytes
}

/// A message from a peer: rubbish, or a good one with a few changes.
fn message() -> impl Strategy<Value = (usize, bool, Vec<u8>)> {
    let rubbish = (any::<bool>(), vec(any::<u8>(), 0..300));
    let good = (any::<Index>(), vec(change(), 0..4)).prop_map(|(index, changes)| {
        let (frame, bytes) = &samples()[index.index(samples().len())];
        (*frame, changed(bytes, &changes))
    });
    let source = prop_oneof![Just(1), Just(2), Just(3), Just(9)];
    (source, prop_oneof![1 => rubbish, 4 => good])
        .prop_map(|(from, (frame, bytes))| (from, frame, bytes))
}

proptest! {
    #[test]
    fn no_bytes_harm_a_node(messages in vec(message(), 1..40)) {
        let mut net = Net::new(Setup::new(5, Profile::Local), 4);
        for index in 0..3 {
            net.start(index, 1, &[0]);
        }
        net.run(SECOND);
        let before = net.view(0).record().clone();
        for (from, frame, bytes) in messages {
            if net.running().len() < 3 {
                // Some message said that a later life of this node runs elsewhere, which nobody can refute.
                return Ok(());
            }
            let (from, bytes) = (id(from), Bytes::from(bytes));
            let input = if frame { Input::Frame { from, bytes } } else { Input::Datagram { from, bytes } };
            net.input(0, input);
            net.run(SECOND / 10);
        }
        if net.running().len() == 3 {
            net.run(SECOND * 10);
            let after = net.view(0).record();
            prop_assert!(after.roles == before.roles && after.identity.id == before.identity.id);
            prop_assert!(net.view(0).members().count() < 100);
        }
    }
}

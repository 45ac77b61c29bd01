//! Fuzz targets: every decoder of this crate, and a node beside a peer that damages what it sends.
//!
//! Under `cargo test` they run on random inputs, as often as `BOLERO_RANDOM_ITERATIONS` says; under `cargo bolero test` libFuzzer looks for inputs that reach more.

use std::time::Duration;

use bytes::Bytes;

use crate::codec;
use crate::frame::Frame;
use crate::life::Life;
use crate::packet::Packet;
use crate::{
    Config, Epoch, Identity, Input, Membership, NodeId, Output, Profile, Record, RoleName, Time,
};

/// Reads bytes, and checks that no more is allocated for them than they can stand for.
fn measured(bytes: &[u8], read: impl FnOnce()) {
    let used = allocation_counter::measure(read);
    let most = BYTES_FOR_EACH * bytes.len() + BYTES_IN_ANY_CASE;
    assert!(
        used.bytes_max <= most as u64,
        "{} bytes were allocated for {}",
        used.bytes_max,
        bytes.len()
    );
}

#[test]
fn decoders() {
    bolero::check!()
        .with_iterations(ITERATIONS)
        .for_each(|input| {
            measured(input, || drop(Frame::decode(input)));
            measured(input, || drop(Packet::decode(input)));
            measured(input, || drop(codec::parse(input)));
            let own = Life(identity(1));
            measured(input, || drop(codec::restore(id(2), own, input)));
            measured(input, || drop(Record::decode(input)));
            if let Some(frame) = Frame::decode(input) {
                let again = frame.encode();
                assert_eq!(Frame::decode(&again), Some(frame));
            }
            if let Some(record) = Record::decode(input) {
                let again = record.encode();
                assert_eq!(Record::decode(&again), Some(record));
            }
        });
}

/// Two nodes; what the second one says is damaged as the input has it.
#[test]
fn membership() {
    let scripts = bolero::produce::<Vec<u8>>().with().len(0..=1_024usize);
    bolero::check!()
        .with_generator(scripts)
        .with_iterations(ITERATIONS / 8)
        .for_each(|input: &Vec<u8>| {
            let mut pair = Pair::new();
            let mut script = &input[..];
            while !script.is_empty() {
                pair.step(&mut script);
            }
            // Whatever it heard, it is what it was.
            assert_eq!(pair.victim.record().identity.id, id(1));
            assert!(pair.victim.record().roles.contains_key(&role()));
            assert!(pair.victim.members().count() <= 1 + input.len());
        });
}

struct Pair {
    now: Time,
    victim: Membership,
    peer: Membership,
}

impl Pair {
    fn new() -> Self {
        let mut pair = Pair {
            now: Time::ZERO,
            victim: node(1),
            peer: node(2),
        };
        let taken = pair.victim.take_up(pair.now, role());
        taken.expect("it holds nothing");
        let up = Input::PeerConnected(identity(2));
        pair.victim.handle(pair.now, up);
        pair.peer
            .handle(pair.now, Input::PeerConnected(identity(1)));
        pair
    }

    /// Lets some time pass, and passes on what is said meanwhile.
    fn step(&mut self, script: &mut &[u8]) {
        self.now = self.now + Duration::from_millis(u64::from(byte(script)) * 8);
        self.victim.handle(self.now, Input::Timeout);
        self.peer.handle(self.now, Input::Timeout);
        for _ in 0..ROUNDS {
            while let Some(output) = self.victim.poll_output() {
                if let Some(input) = heard(1, output) {
                    self.peer.handle(self.now, input);
                }
            }
            let mut silent = true;
            while let Some(output) = self.peer.poll_output() {
                silent = false;
                match heard(2, output) {
                    Some(Input::Datagram { from, bytes }) => {
                        let bytes = damaged(&bytes, script);
                        self.victim
                            .handle(self.now, Input::Datagram { from, bytes });
                    }
                    Some(Input::Frame { from, bytes }) => {
                        let bytes = damaged(&bytes, script);
                        self.victim.handle(self.now, Input::Frame { from, bytes });
                    }
                    _ => {}
                }
            }
            if silent {
                return;
            }
        }
    }
}

/// What the other one hears.
fn heard(from: u8, output: Output) -> Option<Input> {
    let from = id(from);
    match output {
        Output::Datagram { bytes, .. } => Some(Input::Datagram { from, bytes }),
        Output::Frame { bytes, .. } => Some(Input::Frame { from, bytes }),
        Output::DialSeed { .. } | Output::Event(_) => None,
    }
}

/// Every other packet, changed, cut or lengthened.
fn damaged(bytes: &Bytes, script: &mut &[u8]) -> Bytes {
    let mut bytes = bytes.to_vec();
    for _ in 0..byte(script).saturating_sub(127) / 32 {
        let place = usize::from(byte(script)) * bytes.len() / 256;
        match byte(script) % 8 {
            0 => bytes.truncate(place),
            1 => bytes.insert(place, byte(script)),
            2 => bytes.push(byte(script)),
            _ => {
                if let Some(old) = bytes.get_mut(place) {
                    *old = byte(script);
                }
            }
        }
    }
    bytes.into()
}

/// The next byte of a script; 0 at its end.
fn byte(script: &mut &[u8]) -> u8 {
    match script.split_first() {
        Some((&byte, rest)) => {
            *script = rest;
            byte
        }
        None => 0,
    }
}

fn id(number: u8) -> NodeId {
    NodeId::from_bytes([number; 32])
}

fn role() -> RoleName {
    "r".parse().expect("a role")
}

fn identity(number: u8) -> Identity {
    Identity {
        id: id(number),
        epoch: Epoch(1),
        addr: ([10, 0, 0, number], 7400).into(),
    }
}

fn node(number: u8) -> Membership {
    let config = Config {
        record: Record::new(identity(number)),
        seeds: Vec::new(),
        profile: Profile::Local,
    };
    Membership::new(config, u64::from(number), Time::ZERO)
}

/// So many inputs are tried by a plain `cargo test`.
const ITERATIONS: usize = 2_000;
/// Questions and answers that follow at once.
const ROUNDS: usize = 20;
/// The most that is allocated for each byte: a member of a list in memory over the shortest one on the wire, and a list that has just doubled.
const BYTES_FOR_EACH: usize = 256;
/// What is allocated whatever there is to read.
const BYTES_IN_ANY_CASE: usize = 1_024;

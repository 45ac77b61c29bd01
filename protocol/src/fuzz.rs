//! Fuzz targets: every decoder of this crate, and a whole engine beside a hostile peer.
//!
//! Under `cargo test` they run on random inputs, as often as `BOLERO_RANDOM_ITERATIONS` says; under `cargo bolero test` libFuzzer looks for inputs that reach more.
//! Half of the inputs of a decoder are its own frames, damaged, since bytes drawn blindly seldom come past the first tag.

mod far;
mod mesh;
mod peer;
mod script;

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use crate::batch::Batch;
use crate::wire::{decode_control, decode_data, encode_control, encode_head};
use mesh::Mesh;
use script::Script;

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
fn control_frames() {
    bolero::check!()
        .with_iterations(ITERATIONS)
        .for_each(|input| {
            let damaged = Script::new(input).damaged_control();
            for bytes in [input, &damaged] {
                measured(bytes, || drop(decode_control(bytes)));
                if let Some(control) = decode_control(bytes) {
                    let again = encode_control(&control);
                    assert_eq!(decode_control(&again), Some(control));
                }
            }
        });
}

#[test]
fn data_frames() {
    bolero::check!()
        .with_iterations(ITERATIONS)
        .for_each(|input| {
            let damaged = Script::new(input).damaged_data();
            for bytes in [Bytes::copy_from_slice(input), damaged] {
                measured(&bytes, || drop(decode_data(&bytes)));
                if let Some((head, body)) = decode_data(&bytes) {
                    let again = [&encode_head(&head)[..], &body].concat();
                    assert_eq!(decode_data(&again.into()), Some((head, body)));
                }
            }
        });
}

#[test]
fn batches() {
    bolero::check!()
        .with_iterations(ITERATIONS)
        .for_each(|input| {
            let mut script = Script::new(input);
            let count = u32::try_from(script.number()).unwrap_or(u32::MAX);
            let body = script.rest();
            for count in [count, 1, 2, body.len() as u32] {
                let mut parsed = None;
                measured(&body, || parsed = Batch::parse(count, body.clone()));
                if let Some(batch) = parsed {
                    assert_eq!(batch.count(), count);
                    let bytes: usize = batch.into_messages().map(|m| m.payload.len()).sum();
                    assert!(bytes < body.len().max(1));
                }
            }
        });
}

/// An engine with flows, inboxes and calls of its own, honest peers, and one that says whatever the input says, in its own name and in that of another member.
#[test]
fn engine() {
    let scripts = bolero::produce::<Vec<u8>>()
        .with()
        .len(0..=SCRIPT_BYTES_MAX);
    let delivered_of_far = AtomicUsize::new(0);
    bolero::check!()
        .with_generator(scripts)
        .with_iterations(ITERATIONS / 4)
        .with_max_len(2 * SCRIPT_BYTES_MAX)
        .for_each(|input: &Vec<u8>| {
            let mut script = Script::new(input);
            let mut mesh = Mesh::new();
            while !script.is_over() {
                mesh.step(&mut script);
            }
            mesh.rest();
            delivered_of_far.fetch_add(mesh.delivered_of_far(), Ordering::Relaxed);
        });
    let delivered_of_far = delivered_of_far.into_inner();
    assert!(
        delivered_of_far > 0,
        "nothing that was relayed was delivered"
    );
}

/// A frame relayed within a frame relayed, and so on, would be read on a stack that ends somewhere.
#[test]
fn a_relayed_frame_within_another_is_refused_however_its_tag_is_written() {
    assert!(!Mesh::new().hears_on_after_nesting());
}

/// A way of a life that nobody knows would be later than every one of those that the member opens.
#[test]
fn a_way_in_a_life_that_is_not_known_shuts_nobody_out() {
    assert!(Mesh::new().hears_far_after_another_life());
}

/// So many inputs are tried by a plain `cargo test`.
const ITERATIONS: usize = 2_000;
/// Some hundred frames.
const SCRIPT_BYTES_MAX: usize = 4_096;
/// The most that is allocated for each byte: a destination's entry in memory over the shortest one on the wire, and a list that has just doubled.
const BYTES_FOR_EACH: usize = 256;
/// What is allocated whatever there is to read.
const BYTES_IN_ANY_CASE: usize = 1_024;

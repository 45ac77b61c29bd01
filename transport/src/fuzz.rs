//! A fuzz target: what cuts a stream into frames; the one of a connection's first bytes stands beside them.
//!
//! Under `cargo test` it runs on random inputs, as often as `BOLERO_RANDOM_ITERATIONS` says; under `cargo bolero test` libFuzzer looks for inputs that reach more.

use bytes::Bytes;

use crate::frames::{Deframer, PREFIX};

/// The first byte of an input says how the rest is cut, and the second how often a length is one that may be.
#[test]
fn frames() {
    bolero::check!()
        .with_iterations(ITERATIONS)
        .for_each(|input| {
            let [cut, tame, stream @ ..] = input else {
                return;
            };
            let mut stream = stream.to_vec();
            for place in (0..stream.len()).step_by(PREFIX + usize::from(tame % 32)) {
                // The upper bytes of a length.
                for byte in stream.iter_mut().skip(place + 1).take(PREFIX - 1) {
                    *byte = 0;
                }
            }
            let (mut given, mut taken) = (0, 0);
            let mut deframer = Deframer::new(FRAME_BYTES_MAX);
            for chunk in stream.chunks(1 + usize::from(*cut)) {
                given += chunk.len();
                let pushed = deframer.push(Bytes::copy_from_slice(chunk), |frame| {
                    assert!(frame.len() <= FRAME_BYTES_MAX);
                    taken += PREFIX + frame.len();
                });
                if pushed.is_err() {
                    return;
                }
            }
            assert!(taken <= given && given - taken < PREFIX + FRAME_BYTES_MAX);
            assert_eq!(deframer.is_between_frames(), given == taken);
        });
}

const FRAME_BYTES_MAX: usize = 200;
/// So many inputs are tried by a plain `cargo test`.
const ITERATIONS: usize = 2_000;

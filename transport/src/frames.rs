//! Frames on a stream: a length of four bytes, little-endian, and as many bytes.

use bytes::{Buf, Bytes, BytesMut};

/// How many bytes precede a frame.
pub(crate) const PREFIX: usize = 4;

/// Cuts a stream's chunks into frames.
///
/// A frame that lies within one chunk is a slice of it; one that does not is copied once, into a buffer of its own.
/// The length that a peer claims is checked before anything is allocated, and beyond [`ALLOCATED_AT_ONCE`] a buffer only grows as bytes arrive.
#[derive(Debug)]
pub(crate) struct Deframer {
    frame_bytes_max: usize,
    state: State,
}

/// A length that is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame claims {claimed} bytes, {max} are allowed")]
pub(crate) struct TooLong {
    claimed: usize,
    max: usize,
}

#[derive(Debug)]
enum State {
    /// So many bytes of a prefix have arrived.
    Prefix { bytes: [u8; PREFIX], have: usize },
    /// Part of a frame of this length has arrived.
    Body { length: usize, part: BytesMut },
}

impl Deframer {
    /// At the start of a stream.
    pub(crate) fn new(frame_bytes_max: usize) -> Self {
        Deframer {
            frame_bytes_max,
            state: State::START,
        }
    }

    /// Takes the stream's next chunk and gives out the frames that it completes.
    pub(crate) fn push(
        &mut self,
        mut chunk: Bytes,
        mut frame: impl FnMut(Bytes),
    ) -> Result<(), TooLong> {
        while !chunk.is_empty() {
            match &mut self.state {
                State::Prefix { bytes, have } => {
                    let take = chunk.len().min(PREFIX - *have);
                    bytes[*have..*have + take].copy_from_slice(&chunk[..take]);
                    *have += take;
                    chunk.advance(take);
                    if *have == PREFIX {
                        let claimed = u32::from_le_bytes(*bytes);
                        let length = self.checked(claimed)?;
                        self.start(length, &mut chunk, &mut frame);
                    }
                }
                State::Body { length, part } => {
                    let take = chunk.len().min(*length - part.len());
                    part.extend_from_slice(&chunk[..take]);
                    chunk.advance(take);
                    if part.len() == *length {
                        frame(part.split().freeze());
                        self.state = State::START;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether all that has arrived is whole frames.
    pub(crate) fn is_between_frames(&self) -> bool {
        matches!(self.state, State::Prefix { have: 0, .. })
    }

    fn checked(&self, claimed: u32) -> Result<usize, TooLong> {
        let claimed = claimed as usize;
        if claimed > self.frame_bytes_max {
            return Err(TooLong {
                claimed,
                max: self.frame_bytes_max,
            });
        }
        Ok(claimed)
    }

    /// Starts a frame whose length is known, with the rest of the chunk that had its prefix.
    fn start(&mut self, length: usize, chunk: &mut Bytes, frame: &mut impl FnMut(Bytes)) {
        if chunk.len() >= length {
            frame(chunk.split_to(length));
            self.state = State::START;
        } else {
            let part = BytesMut::with_capacity(length.min(ALLOCATED_AT_ONCE));
            self.state = State::Body { length, part };
        }
    }
}

impl State {
    const START: State = State::Prefix {
        bytes: [0; PREFIX],
        have: 0,
    };
}

/// How much is allocated for a frame before its bytes have arrived: room for a full batch, which is the usual large frame.
const ALLOCATED_AT_ONCE: usize = 128 << 10;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn stream(frames: &[Vec<u8>]) -> Bytes {
        frames
            .iter()
            .flat_map(|frame| {
                let prefix = (frame.len() as u32).to_le_bytes();
                prefix.into_iter().chain(frame.iter().copied())
            })
            .collect()
    }

    #[test]
    fn frames_come_out_whole_however_the_stream_is_cut() {
        let frames: Vec<Vec<u8>> = [0, 1, 3, 0, 700, 4, 5, 100, 0]
            .iter()
            .map(|&length| (0..length).map(|byte| byte as u8).collect())
            .collect();
        let stream = stream(&frames);
        for size in 1..stream.len() {
            let mut deframer = Deframer::new(700);
            let mut out = Vec::new();
            for chunk in stream.chunks(size) {
                let chunk = Bytes::copy_from_slice(chunk);
                deframer
                    .push(chunk, |frame| out.push(frame.to_vec()))
                    .unwrap();
            }
            assert_eq!(out, frames, "cut into {size}");
            assert!(deframer.is_between_frames());
        }
    }

    #[test]
    fn a_frame_within_a_chunk_is_not_copied() {
        let chunk = stream(&[vec![1; 9], vec![2; 9]]);
        let range = chunk.as_ptr_range();
        Deframer::new(9)
            .push(chunk, |frame| assert!(range.contains(&frame.as_ptr())))
            .unwrap();
    }

    #[test]
    fn a_length_that_is_not_allowed_is_refused_before_its_bytes_come() {
        let mut deframer = Deframer::new(1000);
        let claim = Bytes::from_static(&[0, 0, 0, 0x40]);
        assert_eq!(
            deframer.push(claim, |_| panic!("no frame")),
            Err(TooLong {
                claimed: 1 << 30,
                max: 1000
            })
        );
    }

    #[test]
    fn a_claim_alone_allocates_little() {
        let mut deframer = Deframer::new(1 << 30);
        let claim = Bytes::from_static(&[0, 0, 0, 0x40, 1]);
        deframer.push(claim, |_| panic!("no frame")).unwrap();
        assert!(!deframer.is_between_frames());
        let State::Body { part, .. } = deframer.state else {
            panic!("a frame has begun");
        };
        assert!(part.capacity() <= ALLOCATED_AT_ONCE);
    }

    proptest! {
        #[test]
        fn every_frame_comes_out_however_the_stream_is_cut(
            frames in vec(vec(any::<u8>(), 0..300), 0..12),
            cuts in vec(1usize..400, 1..40),
        ) {
            let mut stream = stream(&frames);
            let mut deframer = Deframer::new(300);
            let mut out = Vec::new();
            for cut in cuts.into_iter().cycle() {
                if stream.is_empty() {
                    break;
                }
                let chunk = stream.split_to(cut.min(stream.len()));
                let pushed = deframer.push(chunk, |frame| out.push(frame.to_vec()));
                prop_assert_eq!(pushed, Ok(()));
            }
            prop_assert_eq!(out, frames);
            prop_assert!(deframer.is_between_frames());
        }

        #[test]
        fn whatever_arrives_gives_frames_within_the_limit_or_is_refused(
            chunks in vec(vec(any::<u8>(), 0..40), 0..40),
            length_high in 0u8..2,
        ) {
            let mut deframer = Deframer::new(64);
            let mut given = 0;
            let mut taken = 0;
            for mut chunk in chunks {
                // Mostly plausible lengths, so that not every case ends at its first prefix.
                for byte in chunk.iter_mut().skip(1).step_by(2) {
                    *byte &= length_high;
                }
                given += chunk.len();
                let pushed = deframer.push(chunk.into(), |frame| {
                    assert!(frame.len() <= 64);
                    taken += PREFIX + frame.len();
                });
                if pushed.is_err() {
                    return Ok(());
                }
            }
            prop_assert!(taken <= given);
            prop_assert!(given - taken < PREFIX + 64);
        }
    }
}

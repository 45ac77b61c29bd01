//! The first bytes of the control stream, in both directions.
//!
//! ```text
//! magic "RLCT" | minor version u16 | length of the rest u16 | instance u64 | attempt u64 | holds u64 | (more, in later minor versions)
//! ```
//!
//! All integers are little-endian.
//! The major version is in TLS's ALPN, so that peers of different major versions never get here; minor versions only append to the preface, and a reader skips what it does not know.

use bytes::Bytes;
use quinn::{ReadExactError, RecvStream, SendStream};

use crate::problem::Problem;

/// What an end says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Preface {
    /// The version of the protocol below the one in the ALPN.
    pub(crate) minor: u16,
    /// Which life of its key the sender is.
    pub(crate) instance: u64,
    /// From the end that follows (see [`crate::peers`]): the number of this connection among all that it has proposed; 0 from the end that decides.
    pub(crate) attempt: u64,
    /// From the end that follows: the number of the connection to the same peer that it holds or has proposed last; 0 for none.
    pub(crate) holds: u64,
}

impl Preface {
    /// Sends it.
    pub(crate) async fn write(&self, stream: &mut SendStream) -> Result<(), Problem> {
        Ok(stream.write_all(&self.encode()).await?)
    }

    /// Awaits the peer's.
    pub(crate) async fn read(stream: &mut RecvStream) -> Result<Self, Problem> {
        let mut head = [0; HEAD];
        read_exact(stream, &mut head).await?;
        let (minor, length) = decode_head(head)?;
        let mut body = vec![0; length];
        read_exact(stream, &mut body).await?;
        Ok(decode_body(minor, &body))
    }

    /// The bytes, for a stream on which they are the first.
    pub(crate) fn encode(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(HEAD + BODY_MIN);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.minor.to_le_bytes());
        bytes.extend_from_slice(&(BODY_MIN as u16).to_le_bytes());
        bytes.extend_from_slice(&self.instance.to_le_bytes());
        bytes.extend_from_slice(&self.attempt.to_le_bytes());
        bytes.extend_from_slice(&self.holds.to_le_bytes());
        bytes.into()
    }
}

async fn read_exact(stream: &mut RecvStream, into: &mut [u8]) -> Result<(), Problem> {
    stream.read_exact(into).await.map_err(|error| match error {
        ReadExactError::FinishedEarly(_) => {
            Problem::Violation("the preface was cut off".to_owned())
        }
        ReadExactError::ReadError(error) => error.into(),
    })
}

fn decode_head(head: [u8; HEAD]) -> Result<(u16, usize), Problem> {
    let [m0, m1, m2, m3, minor @ .., l0, l1] = head;
    if [m0, m1, m2, m3] != *MAGIC {
        return Err(Problem::Violation("the preface is rubbish".to_owned()));
    }
    let length = usize::from(u16::from_le_bytes([l0, l1]));
    if !(BODY_MIN..=BODY_MAX).contains(&length) {
        return Err(Problem::Violation(format!(
            "the preface claims {length} bytes"
        )));
    }
    Ok((u16::from_le_bytes(minor), length))
}

fn decode_body(minor: u16, body: &[u8]) -> Preface {
    let word = |index: usize| {
        let bytes = body[index * 8..index * 8 + 8].try_into();
        u64::from_le_bytes(bytes.expect("the length was checked"))
    };
    Preface {
        minor,
        instance: word(0),
        attempt: word(1),
        holds: word(2),
    }
}

/// The minor version that this crate speaks.
pub(crate) const MINOR: u16 = 0;
const MAGIC: &[u8; 4] = b"RLCT";
const HEAD: usize = 8;
const BODY_MIN: usize = 24;
const BODY_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn decode(bytes: &[u8]) -> Result<Preface, Problem> {
        let (head, body) = bytes.split_at(HEAD);
        let (minor, length) = decode_head(head.try_into().unwrap())?;
        assert_eq!(length, body.len());
        Ok(decode_body(minor, body))
    }

    #[test]
    fn prefaces_survive_the_way_through_bytes() {
        let preface = Preface {
            minor: 3,
            instance: u64::MAX - 1,
            attempt: 2,
            holds: 1,
        };
        assert_eq!(decode(&preface.encode()), Ok(preface));
    }

    #[test]
    fn later_versions_may_append() {
        let preface = Preface {
            minor: 9,
            instance: 1,
            attempt: 2,
            holds: 3,
        };
        let mut bytes = preface.encode().to_vec();
        bytes[6] += 5;
        bytes.extend_from_slice(b"more!");
        assert_eq!(decode(&bytes), Ok(preface));
    }

    /// A fuzz target, as in [`crate::fuzz`].
    #[test]
    fn fuzz() {
        bolero::check!().with_iterations(2_000).for_each(|input| {
            let Some((head, body)) = input.split_at_checked(HEAD) else {
                return;
            };
            let Ok((minor, length)) = decode_head(head.try_into().unwrap()) else {
                return;
            };
            if let Some(body) = body.get(..length) {
                let preface = decode_body(minor, body);
                assert_eq!(decode(&preface.encode()), Ok(preface));
            }
        });
    }

    #[test]
    fn rubbish_is_refused() {
        for head in [*b"HTTP\0\0\x18\0", *b"RLCT\0\0\x17\0", *b"RLCT\0\0\xff\xff"] {
            assert!(matches!(decode_head(head), Err(Problem::Violation(_))));
        }
    }

    proptest! {
        #[test]
        fn every_preface_comes_back(
            minor in any::<u16>(),
            [instance, attempt, holds] in any::<[u64; 3]>(),
        ) {
            let preface = Preface { minor, instance, attempt, holds };
            prop_assert_eq!(decode(&preface.encode()), Ok(preface));
        }

        #[test]
        fn whatever_arrives_is_a_preface_or_is_refused(
            head in any::<[u8; HEAD]>(),
            magic in any::<bool>(),
            body in vec(any::<u8>(), BODY_MIN..BODY_MAX),
        ) {
            let mut head = head;
            if magic {
                head[..4].copy_from_slice(MAGIC);
            }
            if let Ok((minor, length)) = decode_head(head) {
                prop_assert!(magic && (BODY_MIN..=BODY_MAX).contains(&length));
                prop_assert_eq!(decode_body(minor, &body).minor, minor);
            }
        }
    }
}

//! The one place at which this crate draws entropy from the operating system.

use ring::rand::{SecureRandom, SystemRandom};

/// Unpredictable bytes for keys and secrets.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("an operating system without entropy can run no TLS");
    bytes
}

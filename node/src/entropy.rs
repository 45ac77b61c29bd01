//! The one place at which this crate draws entropy from the operating system.

use ring::rand::{SecureRandom, SystemRandom};

/// An unpredictable seed for the engine's generator.
pub(crate) fn seed() -> u64 {
    let mut bytes = [0; 8];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("an operating system without entropy can run no TLS");
    u64::from_le_bytes(bytes)
}

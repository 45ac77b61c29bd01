//! How a command fails, and the exit code that says so.

/// Why a command ended without having done what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// What was asked for cannot be meant: flags, the configuration or the secret are wrong, and nothing was started.
    #[error("{0}")]
    Usage(String),
    /// Something went wrong on the way.
    #[error("{0}")]
    Failed(String),
    /// Nobody reads the output any more, as in `rolecast listen ROLE | head -1`; no reason to complain.
    #[error("the output is closed")]
    OutputClosed,
}

impl Failure {
    /// A failure of usage, from one sentence that says what to do.
    pub(crate) fn usage(sentence: impl Into<String>) -> Self {
        Failure::Usage(sentence.into())
    }

    /// A failure on the way, from one sentence that says what to do.
    pub(crate) fn failed(sentence: impl Into<String>) -> Self {
        Failure::Failed(sentence.into())
    }

    /// What the process ends with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Failure::Usage(_) => 2,
            Failure::Failed(_) => 1,
            Failure::OutputClosed => 0,
        }
    }
}

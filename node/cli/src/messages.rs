//! The messages that a command sends: one argument, or the lines of the standard input.

use rolecast::{Bytes, Limits, NotSent, RoleName, SendError};

use crate::failure::Failure;
use crate::human;
use crate::lines::Lines;

/// What is to be sent to a role.
pub(crate) struct Messages {
    source: Source,
    role: RoleName,
    taken: u64,
}

enum Source {
    One(Option<Bytes>),
    Lines(Lines),
}

impl Messages {
    /// The one message, or the lines of the standard input.
    pub(crate) fn new(one: Option<String>, role: RoleName) -> Self {
        let source = match one {
            Some(message) => Source::One(Some(message.into())),
            None => Source::Lines(Lines::of_stdin(Limits::default().payload_bytes_max)),
        };
        Messages {
            source,
            role,
            taken: 0,
        }
    }

    /// The role that they go to.
    pub(crate) fn role(&self) -> &RoleName {
        &self.role
    }

    /// The next message; `None` after the last.
    ///
    /// Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let next = match &mut self.source {
            Source::One(message) => message.take(),
            Source::Lines(lines) => lines.next().await?,
        };
        self.taken += u64::from(next.is_some());
        Ok(next)
    }

    /// Says why the message that was taken last was not sent.
    pub(crate) fn failure(&self, error: &SendError) -> Failure {
        self.failure_of(self.taken, error)
    }

    /// Says why a message was not sent; the first one has number 1.
    pub(crate) fn failure_of(&self, number: u64, error: &SendError) -> Failure {
        let sentence = send_problem(&self.role, error);
        Failure::failed(match self.source {
            Source::One(_) => sentence,
            Source::Lines(_) => format!("line {}: {sentence}", human::count(number)),
        })
    }
}

/// Says in one sentence why something was not sent or answered, and what to do.
pub(crate) fn send_problem(role: &RoleName, error: &SendError) -> String {
    match error {
        SendError::NotSent(NotSent::NoHolder { .. }) => format!(
            "not sent: no node holds the role {role} any more; `rolecast members` shows who is there"
        ),
        SendError::NotSent(NotSent::TimedOut) => format!(
            "not sent: a holder of {role} is too slow, and there was no room in time; raise --timeout or have the holder read faster"
        ),
        SendError::NotSent(NotSent::TooLarge { bytes, max }) => format!(
            "not sent: the message has {} bytes, and {} is the most that one can have; send it in parts",
            human::count(*bytes as u64),
            human::count(*max as u64)
        ),
        error => error.to_string(),
    }
}

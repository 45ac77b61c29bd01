//! A command's life as a member of the mesh: join, do the work, leave in good order.

use std::future::Future;
use std::time::Duration;

use rolecast::{Node, RoleName};
use tokio::runtime::Builder;

use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::node_options::Settings;
use crate::output::Output;

/// What Ctrl-C means to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnInterrupt {
    /// The way to end it.
    Done,
    /// It did not do what it was asked for.
    Incomplete,
}

/// Runs a command's work in a runtime of its own.
pub(crate) fn in_runtime<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("the runtime cannot be started: {error}")))?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    result
}

/// Starts a node, does the work, and leaves the mesh however the work ended.
pub(crate) fn with_node(
    settings: Settings,
    on_interrupt: OnInterrupt,
    output: &Output,
    work: impl AsyncFnOnce(&Node) -> Result<(), Failure>,
) -> Result<(), Failure> {
    in_runtime(async {
        let mut interrupt = Interrupt::install()?;
        let node = settings.start().await?;
        let result = tokio::select! {
            biased;
            () = interrupt.wait() => {
                output.note("leaving the mesh; a second Ctrl-C stops at once");
                match on_interrupt {
                    OnInterrupt::Done => Ok(()),
                    OnInterrupt::Incomplete => Err(Failure::failed("interrupted before it was done")),
                }
            }
            result = work(&node) => result,
        };
        node.shutdown_within(LEAVE_PATIENCE).await;
        result
    })
}

/// Checks a role's name.
pub(crate) fn parse_role(name: &str) -> Result<RoleName, Failure> {
    RoleName::new(name).map_err(|error| Failure::usage(error.to_string()))
}

/// How long a leaving node waits for acknowledgements; commands that promise some have awaited them before.
const LEAVE_PATIENCE: Duration = Duration::from_secs(2);

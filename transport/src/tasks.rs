//! Where the tasks of one transport run.

use std::future::Future;
use std::sync::Arc;

use quinn::Runtime;
use tokio::runtime::Handle;

/// Where the tasks of one transport run; see [`Transport::tasks`](crate::Transport::tasks).
#[derive(Clone, Debug)]
pub struct Tasks(pub(crate) Place);

#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// In tokio's runtime.
    Tokio(Handle),
    /// In the runtime that came with an abstract socket, which may hold them up or end them.
    Given(Arc<dyn Runtime>),
}

impl Tasks {
    /// Starts a task.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        match &self.0 {
            Place::Tokio(runtime) => {
                runtime.spawn(task);
            }
            Place::Given(runtime) => runtime.spawn(Box::pin(task)),
        }
    }
}

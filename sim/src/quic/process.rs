//! One process of the simulated world: the tasks of a node and of the program on it, which can be held up and killed.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::UdpSocket;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};

/// The tasks of one process; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Process(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: AtomicU8,
    tasks: Mutex<Tasks>,
}

#[derive(Debug, Default)]
struct Tasks {
    last: u64,
    /// By the order in which they were started.
    wakers: BTreeMap<u64, Waker>,
}

impl Process {
    /// Starts a task of this process.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let number = {
            let mut tasks = self.tasks();
            tasks.last += 1;
            tasks.last
        };
        tokio::spawn(Task {
            process: self.clone(),
            number,
            known: false,
            future: Some(Box::pin(task)),
        });
    }

    /// No task runs from here on, until [`Process::resume`].
    pub(crate) fn pause(&self) {
        let _ =
            self.0
                .state
                .compare_exchange(RUNNING, PAUSED, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Tasks run again.
    pub(crate) fn resume(&self) {
        let paused =
            self.0
                .state
                .compare_exchange(PAUSED, RUNNING, Ordering::Relaxed, Ordering::Relaxed);
        if paused.is_ok() {
            self.wake_all();
        }
    }

    /// No task runs ever again; all are dropped.
    pub(crate) fn kill(&self) {
        self.0.state.store(DEAD, Ordering::Relaxed);
        self.wake_all();
    }

    /// Whether it was killed.
    pub(crate) fn is_dead(&self) -> bool {
        self.state() == DEAD
    }

    fn state(&self) -> u8 {
        self.0.state.load(Ordering::Relaxed)
    }

    fn wake_all(&self) {
        let wakers: Vec<Waker> = self.tasks().wakers.values().cloned().collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One task of a process.
struct Task {
    process: Process,
    number: u64,
    /// Whether the process has its waker, which is the same for as long as it lives.
    known: bool,
    future: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if !this.known {
            this.known = true;
            let waker = cx.waker().clone();
            this.process.tasks().wakers.insert(this.number, waker);
        }
        match (this.process.state(), &mut this.future) {
            (RUNNING, Some(future)) => future.as_mut().poll(cx),
            (PAUSED, Some(_)) => Poll::Pending,
            _ => {
                this.future = None;
                Poll::Ready(())
            }
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.process.tasks().wakers.remove(&self.number);
    }
}

/// QUIC's tasks, and the transport's and the driver's, are tasks of the process; its timers are tokio's.
impl Runtime for Process {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        Process::spawn(self, future);
    }

    fn wrap_udp_socket(&self, _: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}

const RUNNING: u8 = 0;
const PAUSED: u8 = 1;
const DEAD: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::sync::mpsc;

    #[tokio::test(start_paused = true)]
    async fn tasks_are_held_up_and_killed() {
        let process = Process::default();
        let (sender, mut receiver) = mpsc::unbounded_channel();
        process.spawn(async move {
            for number in 0.. {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if sender.send(number).is_err() {
                    return;
                }
            }
        });
        assert_eq!(receiver.recv().await, Some(0));
        process.pause();
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(receiver.try_recv().is_err());
        process.resume();
        assert_eq!(receiver.recv().await, Some(1));
        process.kill();
        assert_eq!(receiver.recv().await, None);
    }
}

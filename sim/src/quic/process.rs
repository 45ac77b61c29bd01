//! One process of the simulated world: the tasks of a node and of the program on it, which can be held up and killed, and the clock by which its node lives.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::UdpSocket;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};
use rolecast::simulation::OwnClock;
use rolecast_membership::Time;

use crate::clock::Clock;

/// The tasks of one process; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Process(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: AtomicU8,
    tasks: Mutex<Tasks>,
    clock: Mutex<Option<SetClock>>,
    /// How often the clock was set.
    set: AtomicU64,
    /// Whether it was set since the driver asked.
    news: AtomicBool,
}

/// A clock that does not run as the runtime's does.
#[derive(Clone, Copy, Debug)]
struct SetClock {
    clock: Clock,
    /// When the run started, by the runtime's clock.
    run_started: Instant,
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

    /// Its clock runs like this from here on.
    pub(crate) fn set_clock(&self, clock: Clock, run_started: Instant) {
        *self.clock() = Some(SetClock { clock, run_started });
        self.0.set.fetch_add(1, Ordering::Relaxed);
        self.0.news.store(true, Ordering::Relaxed);
        self.wake_all();
    }

    /// What its clock shows when the runtime's clock shows this.
    fn shown(&self, at: Instant) -> Instant {
        let set = *self.clock();
        set.map_or(at, |set| {
            let run = Time::ZERO + at.saturating_duration_since(set.run_started);
            set.run_started + set.clock.at(run).since(Time::ZERO)
        })
    }

    /// The first moment of the runtime's clock at which its own shows at least this.
    fn when(&self, shown: Instant) -> Instant {
        let set = *self.clock();
        set.map_or(shown, |set| {
            let since = shown.saturating_duration_since(set.run_started);
            // A part of a microsecond is a microsecond: whoever wakes too early asks again and again.
            let us = u64::try_from(since.as_nanos().div_ceil(1_000)).unwrap_or(u64::MAX);
            let run = set.clock.when(Time::from_micros(us));
            set.run_started + run.since(Time::ZERO).min(FAR)
        })
    }

    fn clock(&self) -> MutexGuard<'_, Option<SetClock>> {
        self.0.clock.lock().unwrap_or_else(PoisonError::into_inner)
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

/// The engine's deadlines are kept by the process's clock.
impl OwnClock for Process {
    fn shown(&self, at: tokio::time::Instant) -> tokio::time::Instant {
        Process::shown(self, at.into_std()).into()
    }

    fn when(&self, shown: tokio::time::Instant) -> tokio::time::Instant {
        Process::when(self, shown.into_std()).into()
    }

    fn was_set(&self) -> bool {
        self.0.news.swap(false, Ordering::Relaxed)
    }
}

/// A timer of QUIC's, by the process's clock.
#[derive(Debug)]
struct Timer {
    process: Process,
    /// When it is due, by that clock.
    at: Instant,
    /// How often the clock had been set when it was asked when that is.
    set: u64,
    timer: Pin<Box<dyn AsyncTimer>>,
}

impl AsyncTimer for Timer {
    fn reset(mut self: Pin<&mut Self>, at: Instant) {
        self.at = at;
        self.set = self.process.0.set.load(Ordering::Relaxed);
        let when = self.process.when(at);
        self.timer.as_mut().reset(when);
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.set != self.process.0.set.load(Ordering::Relaxed) {
            let at = self.at;
            self.as_mut().reset(at);
        }
        self.timer.as_mut().poll(cx)
    }
}

/// QUIC's tasks, and the transport's and the driver's, are tasks of the process; its timers are tokio's, by the process's clock.
impl Runtime for Process {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        Box::pin(Timer {
            process: self.clone(),
            at,
            set: self.0.set.load(Ordering::Relaxed),
            timer: TokioRuntime.new_timer(self.when(at)),
        })
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        Process::spawn(self, future);
    }

    fn wrap_udp_socket(&self, _: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn now(&self) -> Instant {
        self.shown(TokioRuntime.now())
    }
}

/// No deadline is further away.
const FAR: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

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

    #[tokio::test(start_paused = true)]
    async fn timers_follow_the_clock_of_the_process() {
        let (process, start) = (Process::default(), TokioRuntime.now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let due = |timer: Pin<Box<dyn AsyncTimer>>| async move {
            let mut timer = timer;
            std::future::poll_fn(|cx| timer.as_mut().poll(cx)).await;
            TokioRuntime.now().duration_since(start).as_millis()
        };
        // As the runtime's, until it is set.
        assert_eq!(due(process.new_timer(after(1))).await, 1_000);
        // A tenth too fast: eleven seconds of its own are ten.
        let mut clock = Clock::default();
        clock.hasten(Time::from_millis(1_000), 100_000);
        process.set_clock(clock, start);
        assert!(OwnClock::was_set(&process) && !OwnClock::was_set(&process));
        assert_eq!(due(process.new_timer(after(12))).await, 11_000);
        assert_eq!(process.now(), after(12));
        // A timer that is set already comes sooner when the clock jumps.
        let timer = process.new_timer(after(30));
        clock.jump(Time::from_millis(11_000), Duration::from_secs(20));
        process.set_clock(clock, start);
        assert_eq!(due(timer).await, 11_000);
    }
}

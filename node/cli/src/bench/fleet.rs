//! The processes of a benchmark, as their coordinator sees them.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::bench::words::{Job, Order, Part, Word};
use crate::failure::Failure;

/// One process; it is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    orders: ChildStdin,
    words: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts a process of this very program and gives it its job.
    ///
    /// The job goes over its standard input, so that the secret in it is not to be seen in the list of processes.
    pub(crate) async fn start(job: Job) -> Result<Self, Failure> {
        let program = std::env::current_exe()
            .map_err(|error| Failure::failed(format!("this program cannot be found: {error}")))?;
        let mut command = match job.plan.apart {
            Some(apart) if job.part != Part::Publisher => {
                let mut command = Command::new("ip");
                command
                    .args(["netns", "exec", apart.namespace])
                    .arg(program);
                command
            }
            _ => Command::new(program),
        };
        let mut child = command
            .args(["bench", "part"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Failure::failed(format!("a process cannot be started: {error}")))?;
        let orders = child.stdin.take().expect("it is piped");
        let words = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut process = Process {
            child,
            orders,
            words,
        };
        process.order(&Order::Job(Box::new(job))).await?;
        Ok(process)
    }

    /// Gives an order.
    pub(crate) async fn order(&mut self, order: &Order) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(order).expect("orders can be written");
        line.push(b'\n');
        let given = self.orders.write_all(&line).await;
        given.map_err(|error| Failure::failed(format!("a process has ended too early: {error}")))
    }

    /// Waits for the next word.
    pub(crate) async fn word(&mut self) -> Result<Word, Failure> {
        let line = timeout(SILENCE_MAX, self.words.next_line())
            .await
            .map_err(|_| {
                Failure::failed(format!(
                    "nothing has moved for {} seconds",
                    SILENCE_MAX.as_secs()
                ))
            })?;
        let line = line
            .map_err(|error| Failure::failed(format!("a process cannot be heard: {error}")))?
            .ok_or_else(|| Failure::failed("a process ended in the middle of the measurement"))?;
        let word = serde_json::from_str(&line)
            .map_err(|error| Failure::failed(format!("a process said {line:?}: {error}")))?;
        match word {
            Word::Failed(why) => Err(Failure::failed(why)),
            word => Ok(word),
        }
    }

    /// Waits for a word that `pick` picks, and ignores others.
    pub(crate) async fn await_word<T>(
        &mut self,
        pick: impl Fn(Word) -> Option<T>,
    ) -> Result<T, Failure> {
        loop {
            if let Some(picked) = pick(self.word().await?) {
                return Ok(picked);
            }
        }
    }

    /// Ends the process and waits until it is gone.
    pub(crate) async fn end(self) {
        let Process {
            mut child, orders, ..
        } = self;
        drop(orders);
        if timeout(END_WITHIN, child.wait()).await.is_err() {
            // It has had its chance; what is left of it is reaped by the runtime.
            let _ = child.kill().await;
        }
    }
}

/// How long a process may say nothing while it is waited for.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How long a process may take to end once its input has ended.
const END_WITHIN: Duration = Duration::from_secs(2);

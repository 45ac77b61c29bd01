//! The processes of the demo, as their parent sees them.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::time::Duration;

use rolecast::MeshSecret;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::demo::orders::{Order, Report, SECRET_VARIABLE};
use crate::failure::Failure;
use crate::log::LOG_VARIABLE;

/// All processes, and what was heard from them.
pub(crate) struct Cast {
    secret: String,
    log: &'static str,
    actors: Vec<Process>,
    heard_from: mpsc::Sender<(usize, Heard)>,
    heard: mpsc::Receiver<(usize, Heard)>,
    /// How far each process said that it would send, by its index and the role.
    announced: BTreeMap<(usize, String), u64>,
    /// Whose process has ended.
    ended: BTreeSet<usize>,
    /// Who saw whom go, by their indices.
    gone: BTreeSet<(usize, usize, Going)>,
}

/// How a node went, as another one saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Going {
    /// It left in good order.
    Left,
    /// It was declared down.
    Down,
}

/// One process.
struct Process {
    child: Child,
    stdin: ChildStdin,
    /// Its node's id, as hexadecimal digits, and its address, once it has said so.
    node: String,
    addr: String,
    /// Whether its end is a part of the story.
    may_end: bool,
}

/// What comes from a process.
enum Heard {
    Report(Report),
    Ended,
}

impl Cast {
    /// Nobody so far; every process will log what this filter lets through.
    pub(crate) fn new(secret: &MeshSecret, log: &'static str) -> Self {
        let (heard_from, heard) = mpsc::channel(1_024);
        Cast {
            secret: secret.to_string(),
            log,
            actors: Vec::new(),
            heard_from,
            heard,
            announced: BTreeMap::new(),
            ended: BTreeSet::new(),
            gone: BTreeSet::new(),
        }
    }

    /// Starts one more process of this very program; its index is the number of those before.
    pub(crate) fn spawn(&mut self) -> Result<(), Failure> {
        let index = self.actors.len();
        let program = std::env::current_exe().map_err(|error| {
            Failure::failed(format!("the path of this program cannot be found: {error}"))
        })?;
        let mut command = Command::new(program);
        command
            .arg(ACTOR_COMMAND)
            .arg((index + 1).to_string())
            // The secret goes where other users cannot see it, as they can see arguments.
            .env(SECRET_VARIABLE, &self.secret)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if std::env::var_os(LOG_VARIABLE).is_none() {
            command.env(LOG_VARIABLE, self.log);
        }
        if let Some(first) = self.actors.first() {
            command.arg("--seed").arg(&first.addr);
        }
        let failed = |error| Failure::failed(format!("a node process cannot be started: {error}"));
        let mut child = command.spawn().map_err(failed)?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::failed("a node process has no pipes"));
        };
        tokio::spawn(hear(index, stdout, self.heard_from.clone()));
        self.actors.push(Process {
            child,
            stdin,
            node: String::new(),
            addr: String::new(),
            may_end: false,
        });
        Ok(())
    }

    /// Waits until these processes say that they listen.
    pub(crate) async fn await_started(&mut self, indices: &[usize]) -> Result<(), Failure> {
        let started = |report: Report| match report {
            Report::Started { node, addr } => Some((node, addr.to_string())),
            _ => None,
        };
        for (index, (node, addr)) in self.await_each(indices, "listens", started).await? {
            self.actors[index].node = node;
            self.actors[index].addr = addr;
        }
        Ok(())
    }

    /// Gives an order.
    pub(crate) async fn order(&mut self, index: usize, order: &Order) -> Result<(), Failure> {
        let mut line = serde_json::to_string(order)
            .map_err(|error| Failure::failed(format!("an order cannot be written: {error}")))?;
        line.push('\n');
        let written = self.actors[index].stdin.write_all(line.as_bytes()).await;
        written.map_err(|error| {
            Failure::failed(format!("{} takes no orders any more: {error}", name(index)))
        })
    }

    /// Waits until each of these processes has sent a report that `wanted` takes; `doing` is the end of a sentence, for when one does not.
    pub(crate) async fn await_each<T>(
        &mut self,
        indices: &[usize],
        doing: &str,
        wanted: impl Fn(Report) -> Option<T>,
    ) -> Result<BTreeMap<usize, T>, Failure> {
        let mut found = BTreeMap::new();
        while let Some(&missing) = indices.iter().find(|index| !found.contains_key(*index)) {
            let (index, report) = self.next(&format!("{} {doing}", name(missing))).await?;
            if !indices.contains(&index) {
                continue;
            }
            if let Some(value) = wanted(report) {
                found.insert(index, value);
            }
        }
        Ok(found)
    }

    /// As [`Cast::await_each`], for one process.
    pub(crate) async fn await_one<T>(
        &mut self,
        index: usize,
        doing: &str,
        wanted: impl Fn(Report) -> Option<T>,
    ) -> Result<T, Failure> {
        loop {
            let (from, report) = self.next(&format!("{} {doing}", name(index))).await?;
            match wanted(report) {
                Some(value) if from == index => return Ok(value),
                _ => {}
            }
        }
    }

    /// Waits until a process is about to send messages beyond this number.
    pub(crate) async fn await_announced(
        &mut self,
        index: usize,
        role: &str,
        beyond: u64,
    ) -> Result<(), Failure> {
        while self.announced(index, role) <= beyond {
            self.next(&format!("{} sends", name(index))).await?;
        }
        Ok(())
    }

    /// Waits until all of these processes saw another one go.
    pub(crate) async fn await_gone(
        &mut self,
        witnesses: &[usize],
        who: usize,
        going: Going,
    ) -> Result<(), Failure> {
        for &witness in witnesses {
            while !self.gone.contains(&(witness, who, going)) {
                let doing = format!("{} sees that {} is gone", name(witness), name(who));
                self.next(&doing).await?;
            }
        }
        Ok(())
    }

    /// Beyond this number, the process has sent nothing to the role.
    pub(crate) fn announced(&self, index: usize, role: &str) -> u64 {
        let key = (index, role.to_owned());
        self.announced.get(&key).copied().unwrap_or(0)
    }

    /// Says that this process will end by itself.
    pub(crate) fn may_end(&mut self, index: usize) {
        self.actors[index].may_end = true;
    }

    /// Ends a process with SIGKILL; when this resolves it is dead, and everything that it said has been heard.
    pub(crate) async fn kill(&mut self, index: usize) -> Result<(), Failure> {
        self.may_end(index);
        let killed = self.actors[index].child.kill().await;
        killed.map_err(|error| {
            Failure::failed(format!("{} cannot be killed: {error}", name(index)))
        })?;
        self.await_end(index).await
    }

    /// Waits for the end of a process, which is expected.
    pub(crate) async fn await_end(&mut self, index: usize) -> Result<(), Failure> {
        self.may_end(index);
        while !self.ended.contains(&index) {
            self.step(&format!("{} ends", name(index))).await?;
        }
        Ok(())
    }

    /// Ends every process that still runs.
    pub(crate) async fn end(mut self) {
        for actor in &mut self.actors {
            // One that has ended already needs no killing.
            let _ = actor.child.start_kill();
            let _ = timeout(END_PATIENCE, actor.child.wait()).await;
        }
    }

    /// A process's node id, as hexadecimal digits.
    pub(crate) fn node(&self, index: usize) -> &str {
        &self.actors[index].node
    }

    /// A process's number in the system.
    pub(crate) fn pid(&self, index: usize) -> Option<u32> {
        self.actors[index].child.id()
    }

    /// The name of the process with this node id.
    pub(crate) fn name_of(&self, node: &str) -> String {
        let mut actors = self.actors.iter();
        match actors.position(|actor| actor.node == node) {
            Some(index) => name(index),
            None => node.chars().take(10).collect(),
        }
    }

    /// The next report of any process.
    async fn next(&mut self, doing: &str) -> Result<(usize, Report), Failure> {
        loop {
            if let (index, Some(report)) = self.step(doing).await? {
                return Ok((index, report));
            }
        }
    }

    /// Hears one thing of any process, and remembers what is always worth it; `None` is an expected end.
    async fn step(&mut self, doing: &str) -> Result<(usize, Option<Report>), Failure> {
        let heard = timeout(REPORT_PATIENCE, self.heard.recv()).await;
        let Ok(Some((index, heard))) = heard else {
            return Err(Failure::failed(format!(
                "gave up waiting until {doing}; `rolecast demo -v` shows the nodes' logs"
            )));
        };
        match heard {
            Heard::Ended if self.actors[index].may_end => {
                self.ended.insert(index);
                Ok((index, None))
            }
            Heard::Ended => Err(Failure::failed(format!(
                "the process of {} ended by itself; `rolecast demo -v` shows the nodes' logs",
                name(index)
            ))),
            Heard::Report(Report::Failed { why }) => {
                let name = name(index);
                Err(Failure::failed(format!("{name} could not go on: {why}")))
            }
            Heard::Report(report) => {
                self.remember(index, &report);
                Ok((index, Some(report)))
            }
        }
    }

    fn remember(&mut self, index: usize, report: &Report) {
        match report {
            Report::Announced { role, upto } => {
                self.announced.insert((index, role.clone()), *upto);
            }
            Report::Down { node } => self.remember_gone(index, node, Going::Down),
            Report::Left { node } => self.remember_gone(index, node, Going::Left),
            _ => {}
        }
    }

    fn remember_gone(&mut self, witness: usize, node: &str, going: Going) {
        let who = self.actors.iter().position(|actor| actor.node == node);
        if let Some(who) = who {
            self.gone.insert((witness, who, going));
        }
    }
}

/// Passes on what a process writes, until it ends.
async fn hear(index: usize, stdout: ChildStdout, heard: mpsc::Sender<(usize, Heard)>) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        // A process that is killed may leave half a line.
        let Ok(report) = serde_json::from_str(&line) else {
            continue;
        };
        if heard.send((index, Heard::Report(report))).await.is_err() {
            return;
        }
    }
    // Nobody listens any more when the demo is over.
    let _ = heard.send((index, Heard::Ended)).await;
}

/// A process's name in the story.
pub(crate) fn name(index: usize) -> String {
    format!("n{}", index + 1)
}

/// The hidden command that is a node of the demo.
const ACTOR_COMMAND: &str = "demo-node";
/// No step takes this long without a single report.
const REPORT_PATIENCE: Duration = Duration::from_secs(10);
/// A killed process is gone within this time.
const END_PATIENCE: Duration = Duration::from_secs(1);

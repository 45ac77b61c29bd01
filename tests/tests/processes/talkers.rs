//! Processes that all hold one role and talk to it at the same time; the programs are `rolecast_tests::talk`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::process::ChildStdin;
use std::time::Duration;

use nix::sys::signal::Signal;
use rolecast::NodeId;
use rolecast_tests::logs::{Heard, Log};
use rolecast_tests::mesh::Mesh;
use rolecast_tests::process::Process;
use rolecast_tests::talk::{Life, Report, Task};

/// How long one talker is looked at before another one has its turn.
const MOMENT: Duration = Duration::from_millis(50);

/// One such process, and what it has reported.
pub(crate) struct Talker {
    process: Process,
    tasks: ChildStdin,
    name: String,
    life: Life,
    addr: String,
    lines: usize,
    reports: Reports,
}

/// What a process has reported so far.
#[derive(Default)]
pub(crate) struct Reports {
    /// What it heard, by round.
    pub(crate) logs: BTreeMap<u64, Log>,
    /// How far it heard each life, by round.
    upto: BTreeMap<(u64, Life), u64>,
    /// Who was declared down.
    pub(crate) down: Vec<NodeId>,
    /// The last round of which all words were sent.
    pub(crate) said: Option<u64>,
    /// The last round of which everyone has taken all words, and who was lost.
    pub(crate) settled: Option<(u64, Vec<NodeId>)>,
    /// Of whom something is lost for good.
    lost: BTreeSet<Life>,
    started: Option<(Life, String)>,
    sees: Option<Vec<Life>>,
}

impl Reports {
    /// How far it heard a life in a round.
    pub(crate) fn upto(&self, round: u64, life: Life) -> u64 {
        self.upto.get(&(round, life)).copied().unwrap_or(0)
    }

    /// Whether it has heard a life so far in a round, or knows that it never will.
    pub(crate) fn is_done_with(&self, round: u64, life: Life, upto: u64) -> bool {
        self.upto(round, life) >= upto || self.lost.contains(&life)
    }

    /// Whether it was declared down in a round while it lived.
    pub(crate) fn is_interrupted(&self, round: u64) -> bool {
        let log = self.logs.get(&round);
        log.is_some_and(|log| log.interrupted.is_some())
    }

    fn on_report(&mut self, report: Report) {
        match report {
            Report::Started { life, addr } => self.started = Some((life, addr.to_string())),
            Report::Sees { lives } => self.sees = Some(lives),
            Report::Heard { from, word } => {
                self.upto.insert((word.round, from), word.number);
                let log = self.logs.entry(word.round).or_default();
                log.heard.push(Heard { from, word });
            }
            Report::Interrupted { round } => {
                let log = self.logs.entry(round).or_default();
                log.interrupted.get_or_insert(log.heard.len());
            }
            Report::Lost { from } => drop(self.lost.insert(from)),
            Report::Said { round } => self.said = Some(round),
            Report::Settled { round, lost } => self.settled = Some((round, lost)),
            Report::Down { node } => self.down.push(node),
        }
    }
}

impl Talker {
    /// Starts one, which keeps its key in a directory of this name, and waits until it is a node.
    pub(crate) fn start<'a>(
        mesh: &Mesh,
        name: &str,
        seeds: impl IntoIterator<Item = &'a Talker>,
    ) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_talker"));
        let mut process = Process::start_program(program, &[]);
        let mut talker = Talker {
            tasks: process.take_stdin(),
            process,
            name: name.to_owned(),
            // Until it says so itself.
            life: Life {
                node: NodeId::from_bytes([0; 32]),
                epoch: rolecast::Epoch(0),
            },
            addr: String::new(),
            lines: 0,
            reports: Reports::default(),
        };
        talker.order(&Task::Start {
            secret: mesh.secret().to_string(),
            seeds: seeds.into_iter().map(|seed| seed.addr.clone()).collect(),
            state_dir: mesh.path(name),
        });
        (talker.life, talker.addr) = talker.wait_for(|reports| reports.started.take());
        talker
    }

    /// Starts it anew with the same key, after it was killed.
    pub(crate) fn start_again(&mut self, mesh: &Mesh, seeds: &[&Talker]) {
        let name = self.name.clone();
        *self = Talker::start(mesh, &name, seeds.iter().copied());
    }

    /// In which life it was when it was last looked at.
    pub(crate) fn life(&self) -> Life {
        self.life
    }

    /// Everything that it has reported so far.
    pub(crate) fn reports(&mut self) -> &mut Reports {
        let more = self.process.lines_so_far(self.lines);
        self.read(more);
        &mut self.reports
    }

    /// Tells it what to do.
    pub(crate) fn order(&mut self, task: &Task) {
        let line = serde_json::to_string(task).expect("tasks are plain data");
        writeln!(self.tasks, "{line}").expect("it reads");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Kills it; what it reported before is kept.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
        self.reports();
    }

    /// Waits until `find` finds something in what it has reported.
    pub(crate) fn wait_for<T>(&mut self, mut find: impl FnMut(&mut Reports) -> Option<T>) -> T {
        loop {
            if let Some(found) = find(&mut self.reports) {
                return found;
            }
            let more = self.process.lines_after(self.lines);
            self.read(more);
        }
    }

    /// Waits for the next report, but not for long: what is waited for may come from another one.
    pub(crate) fn wait_a_moment(&mut self) {
        self.process.wait_for_more(self.lines, MOMENT);
    }

    /// As [`Talker::wait_for`], for what is there or not.
    pub(crate) fn wait_until(&mut self, mut is_so: impl FnMut(&Reports) -> bool) {
        self.wait_for(|reports| is_so(reports).then_some(()));
    }

    fn read(&mut self, more: Vec<String>) {
        self.lines += more.len();
        for line in more {
            let report = serde_json::from_str(&line);
            self.reports
                .on_report(report.unwrap_or_else(|error| panic!("{line}: {error}")));
        }
    }
}

/// Waits until all of them see the same holders, which are all of them; says in which lives they are.
pub(crate) fn agree_on_lives(talkers: &mut [Talker]) -> Vec<Life> {
    loop {
        let lives: Vec<Life> = talkers.iter().map(Talker::life).collect();
        for talker in &mut *talkers {
            talker.order(&Task::Expect {
                lives: lives.clone(),
            });
        }
        let seen = talkers
            .iter_mut()
            .map(|talker| talker.wait_for(|reports| reports.sees.take()));
        let seen: Vec<Vec<Life>> = seen.collect();
        if seen.iter().all(|other| *other == seen[0]) {
            for talker in &mut *talkers {
                let found = seen[0].iter().find(|life| life.node == talker.life.node);
                talker.life = *found.expect("all of them are among the holders");
            }
            return seen.into_iter().next().unwrap_or_default();
        }
    }
}

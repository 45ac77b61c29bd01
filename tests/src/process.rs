//! A process under test: `rolecast`, or a program of this package.

use std::fmt;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::PATIENCE;
use crate::command::rolecast;

/// A running program, whose output is read as it comes; killed when it is dropped.
pub struct Process {
    program: PathBuf,
    child: Child,
    arguments: Vec<String>,
    stdout: Arc<Lines>,
    stderr: Arc<Lines>,
}

/// The lines that a process has written to one of its outputs.
#[derive(Default)]
struct Lines {
    state: Mutex<Written>,
    changed: Condvar,
}

#[derive(Default)]
struct Written {
    lines: Vec<String>,
    ended: bool,
}

impl Process {
    /// Starts `rolecast` with these arguments.
    pub fn start(arguments: &[&str]) -> Self {
        Process::start_program(rolecast(), arguments)
    }

    /// Starts another program.
    pub fn start_program(program: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_remove("ROLECAST_SEED")
            .env_remove("ROLECAST_SECRET")
            .env_remove("ROLECAST_SECRET_FILE")
            .env_remove("RUST_LOG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command can be started");
        let stdout = Lines::read(child.stdout.take().expect("it is piped"));
        let stderr = Lines::read(child.stderr.take().expect("it is piped"));
        let arguments = arguments.iter().map(|&text| text.to_owned()).collect();
        Process {
            program: program.to_owned(),
            child,
            arguments,
            stdout,
            stderr,
        }
    }

    /// Waits until `find` finds something in the JSON objects written so far.
    ///
    /// # Panics
    /// If it does not within [`PATIENCE`], or if the process ends before, with everything that it wrote.
    pub fn wait_for<T>(&self, what: &str, mut find: impl FnMut(&[Value]) -> Option<T>) -> T {
        let mut objects = Vec::new();
        let found = self.stdout.wait(|lines| {
            objects.extend(lines[objects.len()..].iter().map(|line| parse(line)));
            find(&objects)
        });
        found.unwrap_or_else(|why| panic!("{what}: {why}\n{self:?}"))
    }

    /// Waits for an object with this `event`, and this text as its `node` if one is given.
    pub fn wait_for_event(&self, event: &str, node: Option<&str>) -> Value {
        self.wait_for(event, |objects| {
            let fits = |object: &&Value| {
                object["event"] == event && node.is_none_or(|node| object["node"] == node)
            };
            objects.iter().find(fits).cloned()
        })
    }

    /// Waits until the standard error has this text.
    pub fn wait_for_complaint(&self, text: &str) -> String {
        let found = self.stderr.wait(|lines| {
            let line = lines.iter().find(|line| line.contains(text));
            line.cloned()
        });
        found.unwrap_or_else(|why| panic!("{text:?} on the standard error: {why}\n{self:?}"))
    }

    /// Waits until it has written more than so many lines; gives those that follow them.
    ///
    /// # Panics
    /// If it writes nothing more within [`PATIENCE`], or if the process ends before, with what it wrote last.
    pub fn lines_after(&self, seen: usize) -> Vec<String> {
        let more = self.stdout.wait(|lines| {
            let more = lines.get(seen..).filter(|more| !more.is_empty())?;
            Some(more.to_vec())
        });
        more.unwrap_or_else(|why| panic!("more than {seen} lines: {why}\n{self:?}"))
    }

    /// Waits until it has written more than so many lines, at most so long.
    pub fn wait_for_more(&self, seen: usize, at_most: Duration) {
        let written = self.stdout.lock();
        let nothing = |written: &mut Written| written.lines.len() <= seen && !written.ended;
        let changed = &self.stdout.changed;
        // Whoever waits looks for itself what has come.
        drop(changed.wait_timeout_while(written, at_most, nothing));
    }

    /// The lines that follow so many of them, without waiting.
    #[must_use]
    pub fn lines_so_far(&self, seen: usize) -> Vec<String> {
        self.stdout.lock().lines[seen..].to_vec()
    }

    /// The JSON objects written so far.
    #[must_use]
    pub fn objects(&self) -> Vec<Value> {
        self.stdout
            .lock()
            .lines
            .iter()
            .map(|line| parse(line))
            .collect()
    }

    /// What goes to the process's standard input; closed when it is dropped.
    ///
    /// # Panics
    /// If it was taken before.
    pub fn take_stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("it is taken once")
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("process ids are small");
        kill(Pid::from_raw(pid), signal).expect("a child that was not waited for is there");
    }

    /// Kills it, as a crash would, and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for");
        // What it had written is read to its end.
        assert!(self.stdout.wait_for_end(PATIENCE), "a pipe ends\n{self:?}");
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// If it does not within [`PATIENCE`].
    pub fn wait(&mut self) -> ExitStatus {
        // Its outputs end when it does.
        let ended = |lines: &Arc<Lines>| lines.wait_for_end(PATIENCE);
        assert!(
            ended(&self.stdout) && ended(&self.stderr),
            "it does not end\n{self:?}"
        );
        self.child.wait().expect("a child can be waited for")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = self.program.file_name().unwrap_or_default().display();
        writeln!(f, "{program} {}", self.arguments.join(" "))?;
        for (name, lines) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            let written = lines.lock();
            let skipped = written.lines.len().saturating_sub(SHOWN_MAX);
            writeln!(f, "{name} ({skipped} lines, and then):")?;
            for line in &written.lines[skipped..] {
                writeln!(f, "  {line}")?;
            }
        }
        Ok(())
    }
}

impl Lines {
    /// Reads an output to its end, in a thread of its own.
    fn read(output: impl Read + Send + 'static) -> Arc<Self> {
        let lines = Arc::new(Lines::default());
        let written = Arc::clone(&lines);
        thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut line = String::new();
            while output.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                written.lock().lines.push(line.trim_end().to_owned());
                line.clear();
                // Whoever waits looks at everything, so it is woken once for what came together.
                if output.buffer().is_empty() {
                    written.changed.notify_all();
                }
            }
            written.lock().ended = true;
            written.changed.notify_all();
        });
        lines
    }

    /// Waits until `find` finds something in the lines; says why it did not.
    fn wait<T>(&self, mut find: impl FnMut(&[String]) -> Option<T>) -> Result<T, &'static str> {
        let deadline = Instant::now() + PATIENCE;
        let mut written = self.lock();
        loop {
            if let Some(found) = find(&written.lines) {
                return Ok(found);
            }
            if written.ended {
                return Err("the process ended without it");
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err("it did not come in time");
            }
            let waited = self.changed.wait_timeout(written, left);
            written = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn wait_for_end(&self, patience: Duration) -> bool {
        let written = self.lock();
        let waited = self
            .changed
            .wait_timeout_while(written, patience, |written| !written.ended);
        waited.unwrap_or_else(PoisonError::into_inner).0.ended
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("no JSON: {line}: {error}"))
}

/// How many of the last lines are shown when a test fails.
const SHOWN_MAX: usize = 40;

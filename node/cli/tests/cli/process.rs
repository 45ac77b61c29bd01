//! Runs the binary under test.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// A directory for a test's files, with a mesh secret in it.
pub(crate) struct Place {
    dir: tempfile::TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = Place { dir };
        let made = place.run(&["secret", "new", "--out", "mesh.secret"]);
        assert_eq!(made.code, Some(0), "{made:?}");
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// The binary, in this directory, with nothing of the mesh in its environment.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rolecast"));
        for variable in ["SEED", "SECRET", "SECRET_FILE", "LOG"] {
            command.env_remove(format!("ROLECAST_{variable}"));
        }
        command.args(args).current_dir(self.dir.path());
        command
    }

    /// Runs the binary to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        self.run_command(self.command(args), "")
    }

    /// Runs the binary to its end with an input.
    pub(crate) fn run_command(&self, mut command: Command, input: &str) -> Ended {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        let writer = thread::spawn(move || {
            // A command that fails early reads nothing.
            let _ = stdin.write_all(input.as_bytes());
        });
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let read_all = |mut from: Box<dyn std::io::Read + Send>| {
            thread::spawn(move || {
                let mut text = String::new();
                from.read_to_string(&mut text).unwrap();
                text
            })
        };
        let (stdout, stderr) = (read_all(Box::new(stdout)), read_all(Box::new(stderr)));
        let status = wait_within(&mut child, PATIENCE);
        writer.join().unwrap();
        Ended {
            code: status.code(),
            stdout: stdout.join().unwrap(),
            stderr: stderr.join().unwrap(),
        }
    }

    /// Starts a command that goes on, with JSON output, as a member of the test's mesh.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        let mut command = self.command(args);
        command.args([
            "--json",
            "--profile",
            "local",
            "--secret-file",
            "mesh.secret",
        ]);
        Running::spawn(command)
    }

    /// Starts the first node of a mesh; gives it and its address.
    pub(crate) fn start_mesh(&self) -> (Running, String) {
        let node = self.start(&["node", "--listen", "127.0.0.1:0"]);
        let addr = node.event("started")["addr"].as_str().unwrap().to_owned();
        (node, addr)
    }

    /// Starts a listener on loopback, and waits until it listens.
    pub(crate) fn start_listener(&self, seed: &str, args: &[&str]) -> Running {
        let listen = [&["listen", "--seed", seed, "--listen", "127.0.0.1:0"], args].concat();
        let listener = self.start(&listen);
        listener.event("started");
        listener
    }

    /// Runs a visitor of the mesh to its end.
    pub(crate) fn visit(&self, seed: &str, args: &[&str]) -> Ended {
        self.visit_with_input(seed, args, "")
    }

    /// As [`Place::visit`], with an input.
    pub(crate) fn visit_with_input(&self, seed: &str, args: &[&str], input: &str) -> Ended {
        let mut command = self.command(args);
        command.args(["--seed", seed, "--secret-file", "mesh.secret"]);
        command.args(["--profile", "local", "--listen", "127.0.0.1:0"]);
        self.run_command(command, input)
    }
}

impl Ended {
    /// The objects on the standard output.
    pub(crate) fn objects(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{self:?}"));
        self.stdout.lines().map(parse).collect()
    }

    /// Asserts the exit code, and that the error is one line with all these parts.
    #[track_caller]
    pub(crate) fn assert_error(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        let error = self.stderr.lines().last().unwrap_or_default();
        assert!(error.starts_with("error: "), "{self:?}");
        for part in parts {
            assert!(error.contains(part), "{part:?} is not in {error:?}");
        }
    }
}

/// A command that goes on; killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    stdout: Lines,
    stderr: Lines,
}

/// What a process writes to one of its outputs.
struct Lines(mpsc::Receiver<String>);

impl Running {
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command
            .env("ROLECAST_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = Lines::of(child.stdout.take().unwrap());
        let stderr = Lines::of(child.stderr.take().unwrap());
        Running {
            child,
            stdout,
            stderr,
        }
    }

    /// The next object of this event on the standard error, whatever comes before it.
    #[track_caller]
    pub(crate) fn complaint(&self, event: &str) -> Value {
        self.stderr.object_where(event, |_| true)
    }

    /// The next object of this event, whatever comes before it.
    #[track_caller]
    pub(crate) fn event(&self, event: &str) -> Value {
        self.event_where(event, |_| true)
    }

    /// The next object of this event that is the right one.
    #[track_caller]
    pub(crate) fn event_where(&self, event: &str, is_right: impl Fn(&Value) -> bool) -> Value {
        self.stdout.object_where(event, is_right)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // A process that has just ended needs no signal.
        let _ = kill(self.pid(), signal);
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// Waits for its end; gives the exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        wait_within(&mut self.child, PATIENCE).code()
    }
}

impl Lines {
    /// Reads an output to its end, in a thread of its own.
    fn of(output: impl std::io::Read + Send + 'static) -> Self {
        let (send, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Lines(lines)
    }

    #[track_caller]
    fn object_where(&self, event: &str, is_right: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let mut before = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.0.recv_timeout(left) else {
                panic!("no {event} among {before:#?}");
            };
            let object: Value = serde_json::from_str(&line).unwrap_or_default();
            if object["event"] == event && is_right(&object) {
                return object;
            }
            before.push(line);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a process runs; one that only waits to be counted by its parent does not.
pub(crate) fn is_running(pid: u64) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    let state = |stat: String| Some(stat.rsplit_once(") ")?.1.chars().next()? != 'Z');
    stat.ok().and_then(state).unwrap_or(false)
}

/// Waits until something holds.
#[track_caller]
pub(crate) fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not come about");
        thread::sleep(POLL);
    }
}

fn wait_within(child: &mut Child, patience: Duration) -> ExitStatus {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("a command was not done within {patience:?}");
        }
        thread::sleep(POLL);
    }
}

/// Longer than anything takes, on a busy machine too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How often a process is looked at.
const POLL: Duration = Duration::from_millis(5);

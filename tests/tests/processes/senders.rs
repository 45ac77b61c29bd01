//! Processes that multicast until they are stopped.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use rolecast_tests::mesh::Mesh;
use rolecast_tests::process::Process;

/// A `rolecast send` that is fed numbered lines, as fast as it takes them.
pub(crate) struct Sender {
    pub(crate) process: Process,
    name: String,
    stop: Arc<AtomicBool>,
    fed: Arc<AtomicU64>,
    feeder: Option<JoinHandle<()>>,
}

impl Sender {
    /// Starts to send to a role; the lines are `NAME-1`, `NAME-2` and so on.
    pub(crate) fn start(mesh: &Mesh, role: &str, name: &str) -> Self {
        let mut process = mesh.process(&["send", role, "--timeout", "60s"]);
        let mut stdin = process.take_stdin();
        let (stop, fed) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let feeder = thread::spawn({
            let (stop, fed, name) = (Arc::clone(&stop), Arc::clone(&fed), name.to_owned());
            move || {
                for number in 1.. {
                    // A killed process breaks the pipe.
                    if stop.load(Ordering::Relaxed) || writeln!(stdin, "{name}-{number}").is_err() {
                        return;
                    }
                    fed.store(number, Ordering::Relaxed);
                }
            }
        });
        Sender {
            process,
            name: name.to_owned(),
            stop,
            fed,
            feeder: Some(feeder),
        }
    }

    /// The payload of its message with this number.
    pub(crate) fn payload(&self, number: u64) -> String {
        format!("{}-{number}", self.name)
    }

    /// Kills it in the middle of what it does; says how many lines it was fed.
    pub(crate) fn kill(mut self) -> u64 {
        self.process.kill();
        self.join()
    }

    /// Feeds it no more lines, and waits until every holder of each message has taken it or was lost; says how many there were.
    pub(crate) fn finish(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let fed = self.join();
        self.process.wait();
        let receipt = self.process.wait_for_event("receipt", None);
        assert_eq!(receipt["messages"], fed, "{:?}", self.process);
        assert_eq!(receipt["settled"], fed, "{:?}", self.process);
        fed
    }

    fn join(&mut self) -> u64 {
        let feeder = self.feeder.take().expect("it is joined once");
        feeder.join().expect("it does not panic");
        self.fed.load(Ordering::Relaxed)
    }
}

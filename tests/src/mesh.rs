//! A mesh under test: a secret of its own, and processes and nodes that share it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use rolecast::{MeshSecret, Node, Profile};
use serde_json::Value;
use tempfile::TempDir;

use crate::process::Process;

/// A mesh on loopback, to which processes and nodes of this process belong.
#[derive(Debug)]
pub struct Mesh {
    dir: TempDir,
    secret: MeshSecret,
    seed: Option<String>,
}

/// A `rolecast` process that is a node of a mesh.
#[derive(Debug)]
pub struct Member {
    /// The process.
    pub process: Process,
    /// Its node's id, in full.
    pub id: String,
    /// Where its node listens.
    pub addr: String,
}

impl Default for Mesh {
    fn default() -> Self {
        Mesh::new()
    }
}

impl Mesh {
    /// A mesh without nodes; the first one that is started is the seed of the others.
    #[must_use]
    pub fn new() -> Self {
        let mesh = Mesh {
            dir: tempfile::tempdir().expect("there is room for a directory"),
            secret: MeshSecret::generate(),
            seed: None,
        };
        let file = mesh.secret_file();
        fs::write(&file, mesh.secret.to_string()).expect("a file can be written");
        fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("it is ours");
        mesh
    }

    /// A directory for whatever a test keeps.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The mesh's secret.
    #[must_use]
    pub fn secret(&self) -> &MeshSecret {
        &self.secret
    }

    /// Where the others find the mesh, once a node was started.
    #[must_use]
    pub fn seed(&self) -> Option<&str> {
        self.seed.as_deref()
    }

    /// Has whoever is started from here on find the mesh at this address.
    pub fn use_seed(&mut self, addr: &str) {
        self.seed = Some(addr.to_owned());
    }

    /// Starts a process that joins this mesh: a subcommand with its own arguments.
    #[must_use]
    pub fn process(&self, arguments: &[&str]) -> Process {
        self.process_at(arguments, "127.0.0.1:0")
    }

    /// As [`Mesh::process`], listening at a certain address.
    #[must_use]
    pub fn process_at(&self, arguments: &[&str], listen: &str) -> Process {
        let secret = self.secret_file();
        let secret = secret.to_str().expect("temporary paths are text");
        let mut all = arguments.to_vec();
        all.extend(["--json", "--profile", "local", "--listen", listen]);
        all.extend(["--secret-file", secret]);
        if let Some(seed) = &self.seed {
            all.extend(["--seed", seed]);
        }
        Process::start(&all)
    }

    /// Starts a process that is a node of this mesh (`node` or `listen`), and waits until it says where it is.
    pub fn member(&mut self, arguments: &[&str]) -> Member {
        let member = Member::from(self.process(arguments));
        self.seed.get_or_insert_with(|| member.addr.clone());
        member
    }

    /// Starts a node of this mesh within the test's own process.
    pub async fn node(&mut self) -> Node {
        let node = Node::builder()
            .secret(&self.secret)
            .profile(Profile::Local)
            .listen("127.0.0.1:0")
            .seeds(self.seed.clone())
            .start()
            .await
            .expect("a node can be started on loopback");
        self.seed.get_or_insert_with(|| node.addr().to_string());
        node
    }

    fn secret_file(&self) -> PathBuf {
        self.path("secret")
    }
}

impl From<Process> for Member {
    /// Waits until the process says which node it is.
    fn from(process: Process) -> Self {
        let started = process.wait_for_event("started", None);
        let text = |key: &str| started[key].as_str().expect("it says so").to_owned();
        Member {
            id: text("node"),
            addr: text("addr"),
            process,
        }
    }
}

impl Member {
    /// Waits until this node has seen another one join.
    pub fn wait_until_joined(&self, other: &str) {
        self.process.wait_for("another node joins", |objects| {
            let joined = |object: &Value| {
                (object["event"] == "joined" || object["event"] == "restarted")
                    && object["node"] == other
            };
            objects.iter().any(joined).then_some(())
        });
    }

    /// The multicasts of one node that arrived here, in the order in which they came: number and payload.
    #[must_use]
    pub fn multicasts_of(&self, origin: &str) -> Vec<(u64, String)> {
        let objects = self.process.objects();
        let multicasts = objects.iter().filter(|object| {
            object["event"] == "message"
                && object["kind"] == "multicast"
                && object["origin"] == origin
        });
        multicasts
            .map(|object| {
                let seq = object["seq"].as_u64().expect("a multicast has a number");
                let payload = object["payload"].as_str().expect("these are texts");
                (seq, payload.to_owned())
            })
            .collect()
    }
}

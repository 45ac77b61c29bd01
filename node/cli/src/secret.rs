//! `rolecast secret`: the secret that makes a node a member of a mesh.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use rolecast::MeshSecret;
use serde_json::json;

use crate::failure::Failure;
use crate::output::Output;

/// What `rolecast secret` is told.
#[derive(Debug, Args)]
pub(crate) struct SecretArgs {
    #[command(subcommand)]
    command: SecretCommand,
}

#[derive(Debug, Subcommand)]
enum SecretCommand {
    /// Make the secret of a new mesh
    #[command(after_help = EXAMPLES)]
    New {
        /// Write it to this new file, which only its owner can read, instead of the standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// Makes a secret.
pub(crate) fn run(args: SecretArgs, output: &Output) -> Result<(), Failure> {
    let SecretCommand::New { out } = args.command;
    let secret = MeshSecret::generate();
    match out {
        Some(path) => {
            write_new(&path, &secret).map_err(|error| not_written(&path, &error))?;
            if output.is_json() {
                return output.object(&json!({ "event": "secret", "file": path }));
            }
            output.note(format_args!(
                "the secret of a new mesh is in {}; bring it to every node, and to nobody else",
                path.display()
            ));
            Ok(())
        }
        None if output.is_json() => {
            output.object(&json!({ "event": "secret", "secret": secret.to_string() }))
        }
        None => output.line(&secret),
    }
}

fn write_new(path: &Path, secret: &MeshSecret) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(OWNER_ONLY)
        .open(path)?;
    writeln!(file, "{secret}")
}

fn not_written(path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::usage(format!(
            "{path} exists already: choose another name, or remove it if no mesh uses its secret"
        )),
        _ => Failure::failed(format!("{path} cannot be written: {error}")),
    }
}

/// Read and written by the owner, closed to everyone else.
const OWNER_ONLY: u32 = 0o600;

const EXAMPLES: &str = "Examples:
  rolecast secret new --out mesh.secret
  rolecast secret new | ssh host 'umask 077; cat > mesh.secret'

Who has the secret can join the mesh, and read and send everything.";

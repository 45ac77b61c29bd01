//! The `rolecast` command that is under test.

use std::path::PathBuf;
use std::sync::OnceLock;

use serde_json::Value;

use crate::workspace::{cargo, output};

/// The path of the `rolecast` binary, built from the sources as they are.
///
/// Cargo tells a test where the binaries of its own package are, and no others.
/// So cargo is asked to build what it builds for `cargo test --workspace`, with the same features: there this does nothing, and a test that is run alone has the binary built first.
#[must_use]
pub fn rolecast() -> &'static PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let mut build = cargo();
        build.args(["build", "--workspace", "--bins", "--tests", "--locked"]);
        build.args(["--quiet", "--message-format=json"]);
        if let Some(profile) = profile() {
            build.args(["--profile", &profile]);
        }
        let messages = output(&mut build);
        let messages = messages
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        messages
            .filter(|message| {
                message["target"]["name"] == "rolecast" && message["profile"]["test"] == false
            })
            .find_map(|message| message["executable"].as_str().map(PathBuf::from))
            .expect("the workspace has a binary of this name")
    })
}

/// The profile that the running test was built with; `None` for the usual one.
///
/// A test lies in `target/PROFILE/deps`, and the directory of the profile `dev` is called `debug`.
fn profile() -> Option<String> {
    let exe = std::env::current_exe().expect("a test has a path");
    let dir = exe.ancestors().nth(2)?.file_name()?.to_str()?;
    (dir != "debug").then(|| dir.to_owned())
}

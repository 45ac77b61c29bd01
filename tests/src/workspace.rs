//! The workspace as cargo describes it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// One package of the workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its directory, relative to the root.
    pub dir: String,
    /// Its direct dependencies by name, those inside the workspace included.
    pub dependencies: BTreeMap<String, Dependency>,
}

/// How a package depends on another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// Whether only its tests and examples do.
    pub dev_only: bool,
    /// Whether the other one is part of the workspace.
    pub in_workspace: bool,
}

/// The root of the workspace.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this package lies in a directory of the workspace")
        .to_owned()
}

/// A call of the cargo that runs the tests, at the root, without what it tells the package under test.
///
/// Build scripts that look at those variables would otherwise take every call for a changed environment.
#[must_use]
pub fn cargo() -> Command {
    let mut command =
        Command::new(std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()));
    command.current_dir(root());
    let of_package = [
        "CARGO_PKG_",
        "CARGO_MANIFEST_",
        "CARGO_BIN_",
        "CARGO_CRATE_",
        "CARGO_PRIMARY_",
    ];
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if of_package.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command
}

/// The packages of the workspace by name.
#[must_use]
pub fn packages() -> BTreeMap<String, Package> {
    let metadata = output(cargo().args([
        "metadata",
        "--format-version=1",
        "--no-deps",
        "--locked",
        "--offline",
    ]));
    let metadata: Value = serde_json::from_str(&metadata).expect("cargo metadata writes JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    packages
        .iter()
        .map(package)
        .map(|package| (package.name.clone(), package))
        .collect()
}

/// The names of all packages that are linked into this one with its default features, itself included.
#[must_use]
pub fn linked_into(package: &str) -> BTreeSet<String> {
    tree(package, "{p}")
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// The features with which one package is linked into another.
#[must_use]
pub fn features_of(linked: &str, into: &str) -> BTreeSet<String> {
    tree(into, "{p} :{f}")
        .lines()
        .filter(|line| line.split_whitespace().next() == Some(linked))
        .filter_map(|line| line.split_once(" :"))
        .flat_map(|(_, features)| features.trim_end_matches(" (*)").split(','))
        .map(str::to_owned)
        .collect()
}

fn tree(package: &str, format: &str) -> String {
    let args = [
        "tree",
        "--locked",
        "--offline",
        "--edges=normal",
        "--prefix=none",
        "--color=never",
    ];
    output(
        cargo()
            .args(args)
            .args(["--package", package, "--format", format]),
    )
}

fn package(value: &Value) -> Package {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let manifest = PathBuf::from(text(&value["manifest_path"]));
    let dir = manifest.parent().expect("a manifest lies in a directory");
    let dir = dir
        .strip_prefix(root())
        .expect("packages lie below the root");
    let mut dependencies = BTreeMap::new();
    for dependency in value["dependencies"].as_array().expect("a list") {
        let entry = dependencies
            .entry(text(&dependency["name"]))
            .or_insert(Dependency {
                dev_only: true,
                in_workspace: dependency["source"].is_null(),
            });
        entry.dev_only &= dependency["kind"] == "dev";
    }
    Package {
        name: text(&value["name"]),
        dir: dir.to_string_lossy().into_owned(),
        dependencies,
    }
}

pub(crate) fn output(command: &mut Command) -> String {
    let output = command.output().expect("cargo can be run");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {stderr}");
    String::from_utf8(output.stdout).expect("cargo writes UTF-8")
}

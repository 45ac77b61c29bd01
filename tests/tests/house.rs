//! The rules of the house that no compiler checks: who may depend on whom, what the pure crates link, and that what is written about it is so.

use std::collections::{BTreeMap, BTreeSet};

use rolecast_tests::public::{awaited_below, items_below, re_exports};
use rolecast_tests::workspace::{Package, features_of, linked_into, packages, root};

/// Everything that may be linked into a pure crate.
///
/// Each of these was looked at for clocks, entropy, threads, I/O and hash order; look before you add one.
const PURE: [&str; 16] = [
    "bytes",
    "cfg-if",
    "chacha20",
    "cobs",
    // Asks the processor what it can do; the generator's output does not depend on it.
    "cpufeatures",
    "foca",
    // Of `cpufeatures` on ARM.
    "libc",
    "postcard",
    "rand",
    "rand_core",
    "rolecast-membership",
    "rolecast-protocol",
    "serde",
    "serde_core",
    "siphasher",
    "thiserror",
];

/// What runs in the compiler's process only: derives, and what they are made of.
const DERIVES: [&str; 6] = [
    "proc-macro2",
    "quote",
    "serde_derive",
    "syn",
    "thiserror-impl",
    "unicode-ident",
];

#[test]
fn pure_crates_link_nothing_impure() {
    let allowed: BTreeSet<&str> = PURE.into_iter().chain(DERIVES).collect();
    for pure in ["rolecast-membership", "rolecast-protocol"] {
        let linked = linked_into(pure);
        assert!(
            linked.contains(pure) && linked.contains("foca"),
            "{linked:?}"
        );
        let strangers: Vec<_> = linked
            .iter()
            .filter(|name| !allowed.contains(name.as_str()))
            .collect();
        assert!(
            strangers.is_empty(),
            "{pure} links {strangers:?}: see PURE in this file"
        );
        // With any of these `rand` would draw from the operating system.
        let rand = features_of("rand", pure);
        assert!(rand.contains("chacha"), "{rand:?}");
        for feature in ["default", "std", "std_rng", "sys_rng", "thread_rng"] {
            assert!(
                !rand.contains(feature),
                "{pure} links rand with the feature {feature}"
            );
        }
    }
}

#[test]
fn pure_crates_ban_what_is_not_pure() {
    for pure in ["membership", "protocol"] {
        let path = root().join(pure).join("clippy.toml");
        let bans = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for banned in [
            "std::collections::HashMap",
            "std::collections::HashSet",
            "std::sync::Mutex",
            "std::thread::spawn",
            "std::time::Instant::now",
            "std::time::SystemTime::now",
        ] {
            let line = format!("{{ path = \"{banned}\"");
            assert!(
                bans.contains(&line),
                "{} does not ban {banned}",
                path.display()
            );
        }
    }
}

#[test]
fn crates_depend_on_each_other_one_way() {
    let packages = packages();
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("rolecast-membership", &[] as &[&str]),
        ("rolecast-protocol", &["rolecast-membership"]),
        ("rolecast-transport", &["rolecast-membership"]),
        (
            "rolecast",
            &[
                "rolecast-membership",
                "rolecast-protocol",
                "rolecast-transport",
            ],
        ),
        ("rolecast-cli", &["rolecast"]),
        (
            "rolecast-sim",
            &["rolecast", "rolecast-membership", "rolecast-protocol"],
        ),
    ]);
    let all: BTreeSet<&str> = packages.keys().map(String::as_str).collect();
    let known: BTreeSet<&str> = allowed.keys().copied().chain(["rolecast-tests"]).collect();
    assert_eq!(all, known, "give every crate of the workspace its place");
    for (name, allowed) in allowed {
        let dependencies = packages[name].dependencies.iter();
        for (used, _) in dependencies.filter(|(_, dependency)| dependency.in_workspace) {
            // A crate's tests may turn its own features on.
            assert!(
                used == name || allowed.contains(&used.as_str()),
                "{name} may not depend on {used}"
            );
        }
    }
}

#[test]
fn users_of_the_library_get_nothing_of_the_command_line() {
    let packages = packages();
    let library = [
        "rolecast",
        "rolecast-membership",
        "rolecast-protocol",
        "rolecast-transport",
    ];
    let of_library: BTreeSet<&str> = library
        .iter()
        .flat_map(|name| used(&packages[*name]))
        .collect();
    let of_tools: BTreeSet<&str> = ["rolecast-cli", "rolecast-sim"]
        .iter()
        .flat_map(|name| used(&packages[*name]))
        .collect();
    let only_tools: Vec<&str> = of_tools
        .into_iter()
        .filter(|name| !of_library.contains(name) && !library.contains(name))
        .collect();
    assert!(only_tools.contains(&"clap"), "{only_tools:?}");
    let linked = linked_into("rolecast");
    let strangers: Vec<_> = only_tools
        .iter()
        .filter(|name| linked.contains(**name))
        .collect();
    assert!(
        strangers.is_empty(),
        "the library links {strangers:?}, which only the command line needs"
    );
}

/// A package's direct dependencies outside tests.
fn used(package: &Package) -> impl Iterator<Item = &str> {
    let dependencies = package.dependencies.iter();
    dependencies
        .filter(|(_, dependency)| !dependency.dev_only)
        .map(|(name, _)| name.as_str())
}

#[test]
fn every_direct_dependency_has_its_reason() {
    let mut written = written_reasons();
    for (name, users) in actual_dependencies() {
        let (said, reason) = written.remove(&name).unwrap_or_else(|| {
            panic!("docs/dependencies.md lacks the line: | `{name}` | {users} | why |")
        });
        assert_eq!(said, users, "who uses {name}, in docs/dependencies.md");
        assert!(reason.len() > 30, "that is no reason for {name}: {reason}");
    }
    let left: Vec<_> = written.keys().collect();
    assert!(left.is_empty(), "nobody depends directly on {left:?}");
}

/// The table in docs/dependencies.md: who uses a dependency, and why.
fn written_reasons() -> BTreeMap<String, (String, String)> {
    let text = std::fs::read_to_string(root().join("docs/dependencies.md"))
        .expect("docs/dependencies.md is there");
    let mut written = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, users, reason] = cells[..] else {
            panic!("three columns are wanted: {line}");
        };
        let entry = (users.to_owned(), reason.to_owned());
        let before = written.insert(name.trim_matches('`').to_owned(), entry);
        assert!(before.is_none(), "{name} has two lines");
    }
    written
}

/// Every direct dependency from outside, and the directories of those who have it.
fn actual_dependencies() -> BTreeMap<String, String> {
    let mut actual: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in packages().into_values() {
        let dependencies = package.dependencies.into_iter();
        for (name, dependency) in dependencies.filter(|(_, dependency)| !dependency.in_workspace) {
            let mark = if dependency.dev_only { " (dev)" } else { "" };
            let user = format!("{}{mark}", package.dir);
            actual.entry(name).or_default().insert(user);
        }
    }
    let joined = |users: BTreeSet<String>| users.into_iter().collect::<Vec<_>>().join(", ");
    actual
        .into_iter()
        .map(|(name, users)| (name, joined(users)))
        .collect()
}

/// What is for simulators only, behind a feature: `rolecast-sim` is its example.
const FOR_SIMULATORS: &str = "node/src/simulation.rs:";

#[test]
fn whatever_is_awaited_says_what_becomes_of_it_when_it_is_dropped() {
    let dir = root().join("node/src");
    let awaited = awaited_below(&dir);
    let mut items = items_below(&dir);
    items.retain(|item| item.is_async || item.of.is_none() && awaited.contains(&item.name));
    assert!(items.len() > 35, "{items:?}");
    let silent: Vec<String> = items
        .iter()
        .filter(|item| !item.says_whether_it_may_be_dropped())
        .map(|item| format!("{} {}", item.place, item.name))
        .collect();
    assert!(silent.is_empty(), "cancel safe or not: {silent:#?}");
}

#[test]
fn every_public_item_has_an_example_that_runs() {
    let library = std::fs::read_to_string(root().join("node/src/lib.rs")).expect("it is there");
    let mut items = items_below(&root().join("node/src"));
    items.retain(|item| !item.place.contains(FOR_SIMULATORS));
    assert!(items.len() > 100, "{items:?}");
    // Of the crates beneath, users see what the library re-exports.
    for beneath in ["membership", "protocol", "transport"] {
        let mut seen = re_exports(&library, &format!("rolecast_{beneath}"));
        let all = items_below(&root().join(beneath).join("src"));
        let (of_types, types): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|item| item.of.is_some());
        let of_types = of_types
            .into_iter()
            .filter(|item| item.of.as_ref().is_some_and(|of| seen.contains(of)));
        items.extend(of_types);
        items.extend(types.into_iter().filter(|item| seen.remove(&item.name)));
        assert!(seen.is_empty(), "{beneath} has no {seen:?}");
    }
    let without: Vec<String> = items
        .iter()
        .filter(|item| !item.has_example())
        .map(|item| format!("{} {}", item.place, item.name))
        .collect();
    assert!(
        without.is_empty(),
        "no example that runs shows these names: {without:#?}"
    );
}

//! Every relative link in the documents leads somewhere.

use std::path::{Path, PathBuf};

use rolecast_tests::workspace::root;

#[test]
fn every_link_in_the_documents_resolves() {
    let documents = documents();
    assert!(documents.len() > 5, "{documents:?}");
    let mut broken = Vec::new();
    let mut links = 0;
    for document in &documents {
        let text = read(document);
        for target in targets(&text) {
            links += 1;
            if let Err(why) = check(document, &text, &target) {
                broken.push(format!("{}: ({target}) {why}", document.display()));
            }
        }
    }
    assert!(links > 10, "only {links} links were found");
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
}

#[test]
fn links_and_anchors_are_found() {
    let text = "# A `title`, with marks\n```\n# no heading [g](h)\n```\n## Two\n";
    assert_eq!(anchors(text), ["a-title-with-marks", "two"]);
    let text = "a [b](c.md#d) and ![e](f.png)\n```\n[g](h)\n```\n`[i](j)` and [`k`](l)";
    assert_eq!(targets(text), ["c.md#d", "f.png", "l"]);
}

/// The Markdown files at the root and below `docs`.
fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for dir in [root(), root().join("docs"), root().join("docs/decisions")] {
        let entries =
            std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        let paths = entries.map(|entry| entry.expect("a directory can be listed").path());
        found.extend(paths.filter(|path| path.extension().is_some_and(|ext| ext == "md")));
    }
    found.sort();
    found
}

fn check(document: &Path, text: &str, target: &str) -> Result<(), String> {
    if target.contains("://") {
        return Ok(());
    }
    let (file, anchor) = match target.split_once('#') {
        Some((file, anchor)) => (file, Some(anchor)),
        None => (target, None),
    };
    let dir = document.parent().expect("a file lies in a directory");
    let path = dir.join(file);
    if !file.is_empty() && !path.exists() {
        return Err("does not exist".to_owned());
    }
    let Some(anchor) = anchor else { return Ok(()) };
    let anchors = match file {
        "" => anchors(text),
        _ => anchors(&read(&path)),
    };
    match anchors.iter().any(|known| known == anchor) {
        true => Ok(()),
        false => Err(format!("is no heading; there are {anchors:?}")),
    }
}

/// What inline links and images point to, outside code.
fn targets(text: &str) -> Vec<String> {
    let mut targets = Vec::new();
    for line in prose(text) {
        for (at, _) in line.match_indices("](") {
            let in_code = line[..at].matches('`').count() % 2 == 1;
            let target = line[at + 2..].split_once(')').map(|(target, _)| target);
            targets.extend(target.filter(|_| !in_code).map(str::to_owned));
        }
    }
    targets
}

/// What hosts make of the headings.
fn anchors(text: &str) -> Vec<String> {
    let headings = prose(text).filter(|line| line.starts_with('#'));
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    headings
        .map(|line| line.trim_start_matches('#').trim().to_lowercase())
        .map(|title| {
            title
                .chars()
                .filter(kept)
                .collect::<String>()
                .replace(' ', "-")
        })
        .collect()
}

/// The lines outside fenced code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

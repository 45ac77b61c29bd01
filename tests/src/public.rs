//! Public items as they stand in the source, with their documentation.
//!
//! The source is formatted by rustfmt, and what is `pub` in it can be reached from outside (the lint `unreachable_pub` sees to that), so that an item is known by the first words of its line, and the `impl` block it stands in by the lines without indentation: there is no need of a parser.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A public type, function, method or constant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The type in whose `impl` block it stands, if it stands in one.
    pub of: Option<String>,
    /// Its name.
    pub name: String,
    /// Its file and line.
    pub place: String,
    /// The lines of its documentation, without the slashes.
    pub docs: Vec<String>,
    /// Whether it is a function to be awaited.
    pub is_async: bool,
}

impl Item {
    /// Whether its documentation says what becomes of a future of it that is dropped before it resolved.
    #[must_use]
    pub fn says_whether_it_may_be_dropped(&self) -> bool {
        let says = |doc: &String| {
            let doc = doc.trim_start();
            doc.starts_with("Cancel safe") || doc.starts_with("Dropped before")
        };
        self.docs.iter().any(says)
    }

    /// Whether an example in its documentation is run by `cargo test` and shows its name.
    #[must_use]
    pub fn has_example(&self) -> bool {
        let mut code: Option<bool> = None;
        for line in self.docs.iter().map(|line| line.trim()) {
            match (line.strip_prefix("```"), code) {
                (Some(tags), None) => code = Some(runs(tags)),
                (Some(_), Some(_)) => code = None,
                (None, Some(true)) if shows(line, &self.name) => return true,
                (None, _) => {}
            }
        }
        false
    }
}

/// Whether code with these tags is run, or is compiled to see that it fails.
fn runs(tags: &str) -> bool {
    tags.split(',')
        .all(|tag| matches!(tag, "" | "rust" | "should_panic" | "compile_fail"))
}

/// Whether a line of code that readers see has this word in it.
fn shows(line: &str, word: &str) -> bool {
    let hidden = line == "#" || line.starts_with("# ");
    !hidden && line.split(|c| !is_of_name(c)).any(|part| part == word)
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// All public items in the source files below a directory.
#[must_use]
pub fn items_below(dir: &Path) -> Vec<Item> {
    let mut items = Vec::new();
    for path in entries_of(dir) {
        if path.is_dir() {
            items.extend(items_below(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).expect("a source file is text");
            items.extend(items_in(&path.display().to_string(), &source));
        }
    }
    items
}

/// What lies in a directory, sorted.
fn entries_of(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("a directory can be listed").path())
        .collect();
    paths.sort();
    paths
}

/// All public items in one source file; its tests are left out, and what only a feature makes public.
fn items_in(file: &str, source: &str) -> Vec<Item> {
    let mut items = Vec::new();
    let mut of = None;
    let mut docs = Vec::new();
    let mut in_attribute = false;
    let mut of_feature = false;
    let lines = source.lines().take_while(|line| *line != "mod tests {");
    for (index, line) in lines.enumerate() {
        let text = line.trim();
        if in_attribute || text.starts_with("#[") {
            in_attribute = !text.ends_with(']');
            of_feature |= text.starts_with("#[cfg(feature");
            continue;
        }
        if let Some(doc) = text.strip_prefix("///") {
            docs.push(doc.to_owned());
            continue;
        }
        if let Some(header) = line.strip_prefix("impl") {
            of = type_of_impl(header);
        } else if line.starts_with('}') {
            of = None;
        }
        let name = text.strip_prefix("pub ").and_then(name_of_item);
        if let Some(name) = name.filter(|_| !of_feature) {
            items.push(Item {
                of: of.clone(),
                name,
                place: format!("{file}:{}", index + 1),
                docs: std::mem::take(&mut docs),
                is_async: text.starts_with("pub async "),
            });
        }
        docs.clear();
        of_feature = false;
    }
    items
}

/// The type of an inherent `impl`, from what follows that word.
fn type_of_impl(header: &str) -> Option<String> {
    if header.contains(" for ") {
        return None;
    }
    let mut depth = 0;
    let name = header.find(|c| {
        match c {
            '<' => depth += 1,
            '>' => depth -= 1,
            _ => {}
        }
        depth == 0 && is_of_name(c)
    })?;
    first_name(&header[name..])
}

/// The name of the item that follows the word `pub`; fields, modules and re-exports are none.
fn name_of_item(declaration: &str) -> Option<String> {
    let words = [
        "const fn ",
        "async fn ",
        "fn ",
        "struct ",
        "enum ",
        "trait ",
        "type ",
        "const ",
        "static ",
    ];
    let rest = words
        .iter()
        .find_map(|word| declaration.strip_prefix(word))?;
    first_name(rest)
}

fn first_name(text: &str) -> Option<String> {
    let name: String = text.chars().take_while(|&c| is_of_name(c)).collect();
    (!name.is_empty()).then_some(name)
}

/// The names of the types in the source files below a directory that are awaited themselves.
#[must_use]
pub fn awaited_below(dir: &Path) -> BTreeSet<String> {
    let mut awaited = BTreeSet::new();
    for path in entries_of(dir) {
        if path.is_dir() {
            awaited.extend(awaited_below(&path));
        } else {
            let source = fs::read_to_string(&path).expect("a source file is text");
            awaited.extend(source.lines().filter_map(awaited_in));
        }
    }
    awaited
}

/// The type of which this line begins the `impl` of a future.
fn awaited_in(line: &str) -> Option<String> {
    let (what, of) = line.strip_prefix("impl")?.split_once(" for ")?;
    let what = what.rsplit(' ').next()?;
    matches!(what, "IntoFuture" | "Future").then(|| first_name(of))?
}

/// What the source of a library re-exports from another crate.
#[must_use]
pub fn re_exports(library: &str, of: &str) -> BTreeSet<String> {
    let start = format!("pub use {of}::");
    let uses = library.split(&start).skip(1);
    uses.filter_map(|rest| rest.split_once(';'))
        .flat_map(|(names, _)| names.trim_matches(['{', '}']).split(','))
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r#"
/// A thing.
///
/// ```
/// let thing = Thing::new();
/// ```
#[derive(
    Clone, Debug,
)]
pub struct Thing {
    /// No example is asked for a field.
    pub field: u32,
}

impl<T: Into<u32>> Thing<T> {
    /// ```
    /// # Thing::new();
    /// ```
    pub const fn new() -> Self {}

    /// ```no_run
    /// thing.wait();
    /// ```
    pub async fn wait(&self) {}

    /// ```text
    /// go
    /// ```
    ///
    /// ```should_panic
    /// thing.go();
    /// ```
    #[must_use]
    pub fn go(&self) {}

    pub(crate) fn inside(&self) {}

    /// For simulators.
    #[cfg(feature = "simulation")]
    pub fn outside(&self) {}
}

impl Drop for Thing {}

pub use elsewhere::Other;

pub const LIMIT: u32 = 1;

mod tests {
    pub fn helper() {}
}
"#;

    #[test]
    fn items_are_found_and_their_examples_judged() {
        let found: Vec<_> = items_in("thing.rs", SOURCE)
            .iter()
            .map(|item| (item.of.clone(), item.name.clone(), item.has_example()))
            .collect();
        let thing = || Some("Thing".to_owned());
        let expected = [
            (None, "Thing", true),
            // Its example names it where no reader sees it.
            (thing(), "new", false),
            (thing(), "wait", false),
            (thing(), "go", true),
            (None, "LIMIT", false),
        ];
        assert_eq!(
            found,
            expected.map(|(of, name, example)| (of, name.to_owned(), example))
        );
        assert_eq!(items_in("thing.rs", SOURCE)[0].place, "thing.rs:10");
    }

    #[test]
    fn what_is_awaited_says_whether_it_may_be_dropped() {
        let of = |docs: &str| {
            let source = format!("impl Thing {{\n{docs}    pub async fn wait(&self) {{}}\n}}\n");
            let item = items_in("thing.rs", &source).remove(0);
            assert!(item.is_async);
            item.says_whether_it_may_be_dropped()
        };
        assert!(of(
            "    /// Waits.\n    ///\n    /// Cancel safe: it only waits.\n"
        ));
        assert!(of("    /// Dropped before it resolved, it is lost.\n"));
        assert!(!of("    /// It may not be cancelled safely.\n"));
        let awaited = |line| awaited_in(line).unwrap_or_default();
        assert_eq!(awaited("impl<'a> IntoFuture for Asking<'a> {"), "Asking");
        assert_eq!(awaited("impl Future for Sending<'_> {"), "Sending");
        assert_eq!(awaited("impl Stream for Answers {"), "");
    }

    #[test]
    fn re_exports_are_read_from_the_library() {
        let library = "pub use one::{\n    A, B,\n};\npub use one::C;\npub use two::D;\n";
        let names = re_exports(library, "one");
        assert_eq!(names.iter().collect::<Vec<_>>(), ["A", "B", "C"]);
    }
}

//! The name that was probably meant.

/// The candidate that differs from `text` by the fewest insertions, removals, replacements and swaps, if it is near enough to be meant.
pub(crate) fn nearest<'a>(
    text: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let near = |candidate: &&str| {
        let longer = text.chars().count().max(candidate.chars().count());
        distance(text, candidate) <= ((longer + 1) / 3).max(1)
    };
    candidates
        .into_iter()
        .filter(near)
        .min_by_key(|candidate| (distance(text, candidate), *candidate))
}

/// The number of insertions, removals, replacements and swaps of neighbours that lead from `a` to `b` (Damerau and Levenshtein's distance, each place edited once).
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.to_lowercase().chars().collect();
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_edits() {
        for (a, b, edits) in [
            ("", "", 0),
            ("abc", "", 3),
            ("", "ab", 2),
            ("seed", "seeds", 1),
            ("kitten", "sitting", 3),
            ("sceret-file", "secret-file", 1),
            ("ABC", "abc", 0),
            ("größe", "grosse", 3),
        ] {
            assert_eq!(distance(a, b), edits, "{a} {b}");
        }
    }

    #[test]
    fn only_what_is_near_is_suggested() {
        let roles = ["db:master", "db:replica", "chat", "seeds"];
        for (text, meant) in [
            ("db:mastr", Some("db:master")),
            ("db-master", Some("db:master")),
            ("Chat", Some("chat")),
            ("cat", Some("chat")),
            ("cart", None),
            ("sead", Some("seeds")),
            ("users", None),
            ("", None),
        ] {
            assert_eq!(nearest(text, roles), meant, "{text}");
        }
    }
}

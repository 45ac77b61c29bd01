//! Taking items out of a list, in ever smaller chunks.

/// Keeps as few of the items as `works` allows; the last list for which it said yes is what is left.
pub(super) fn minimize<T: Clone>(mut items: Vec<T>, mut works: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut chunk = items.len();
    while chunk > 0 {
        let mut start = 0;
        while start < items.len() {
            let end = (start + chunk).min(items.len());
            let kept = [&items[..start], &items[end..]].concat();
            if works(&kept) {
                items = kept;
            } else {
                start = end;
            }
        }
        chunk /= 2;
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_needed_is_left() {
        let mut tries = 0;
        let left = minimize((0..1_000).collect(), |kept| {
            tries += 1;
            [17, 500, 501].iter().all(|needed| kept.contains(needed))
        });
        assert_eq!(left, [17, 500, 501]);
        assert!(tries < 100, "{tries}");
        assert!(minimize(vec![1, 2, 3], |_| true).is_empty());
        assert_eq!(minimize(vec![1, 2, 3], |_| false), [1, 2, 3]);
    }
}

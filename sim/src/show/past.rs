//! The causal past of a failure.

use super::{Arrow, Mark, ProcessIndex};

/// Keeps what the processes that a failure concerns could know when it was seen.
///
/// Gossip counts for nothing here: through it everybody knows something of everybody at any time.
/// What was sent to one of the processes and never arrived is kept too, for that may be what went wrong.
pub(super) fn keep(
    concerned: &[ProcessIndex],
    seen_us: u64,
    marks: &mut Vec<Mark>,
    arrows: &mut Vec<Arrow>,
) {
    let processes = marks
        .iter()
        .map(|mark| mark.process)
        .chain(arrows.iter().flat_map(|arrow| [arrow.from, arrow.to]));
    let count = processes.max().map_or(0, |last| last as usize + 1);
    // Until when what happens at a process is known to those concerned, if anything is.
    let mut known: Vec<Option<u64>> = vec![None; count];
    for process in concerned {
        if let Some(entry) = known.get_mut(*process as usize) {
            *entry = Some(seen_us);
        }
    }
    let mut arrived: Vec<(u64, u64, usize, usize)> = arrows
        .iter()
        .filter(|arrow| arrow.kind == "data")
        .filter_map(|arrow| {
            let (from, to) = (arrow.from as usize, arrow.to as usize);
            Some((arrow.arrived_us?, arrow.left_us, from, to))
        })
        .collect();
    arrived.sort_unstable_by(|a, b| b.cmp(a));
    for (arrived_us, left_us, from, to) in arrived {
        if known[to].is_some_and(|until| arrived_us <= until) {
            known[from] = known[from].max(Some(left_us));
        }
    }
    let knows = |process: ProcessIndex, at_us: u64| {
        known[process as usize].is_some_and(|until| at_us <= until)
    };
    marks.retain(|mark| knows(mark.process, mark.at_us));
    arrows.retain(|arrow| match arrow.arrived_us {
        Some(at_us) => knows(arrow.to, at_us),
        None => knows(arrow.from, arrow.left_us) && known[arrow.to as usize].is_some(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrow(from: u32, to: u32, left_us: u64, arrived_us: Option<u64>) -> Arrow {
        Arrow {
            from,
            to,
            left_us,
            arrived_us,
            kind: "data",
            says: String::new(),
        }
    }

    fn mark(process: u32, at_us: u64) -> Mark {
        Mark {
            process,
            at_us,
            kind: "event",
            says: String::new(),
        }
    }

    #[test]
    fn only_what_could_be_known_is_kept() {
        let mut marks = vec![mark(0, 5), mark(0, 20), mark(1, 9), mark(2, 1), mark(3, 50)];
        let mut arrows = vec![
            // 0 at 10 → 1 at 12 → 3 at 40; and what left 0 and 2 later came too late.
            arrow(0, 1, 10, Some(12)),
            arrow(1, 3, 15, Some(40)),
            arrow(0, 1, 18, Some(30)),
            arrow(2, 1, 14, Some(16)),
            arrow(1, 3, 14, None),
        ];
        keep(&[3], 60, &mut marks, &mut arrows);
        let kept: Vec<_> = marks.iter().map(|m| (m.process, m.at_us)).collect();
        assert_eq!(kept, [(0, 5), (1, 9), (3, 50)]);
        let kept: Vec<_> = arrows.iter().map(|a| (a.from, a.left_us)).collect();
        assert_eq!(kept, [(0, 10), (1, 15), (1, 14)]);
    }
}

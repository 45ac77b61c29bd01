//! Many jobs on several threads, with their results in order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

/// Does the jobs `0..count` on so many threads, and hands every result to `each` in their order.
///
/// `stop` is asked before each job is begun; once it says so of one, no job after that is begun.
pub fn in_order<T: Send>(
    threads: usize,
    count: usize,
    stop: impl Fn(usize) -> bool + Sync,
    job: impl Fn(usize) -> T + Sync,
    mut each: impl FnMut(usize, T),
) {
    let threads = threads.max(1);
    let next = AtomicUsize::new(0);
    // A job that is begun is done, so that the order has no holes.
    let begin = || {
        next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |index| {
            (index < count && !stop(index)).then(|| index + 1)
        })
        .ok()
    };
    let (sender, receiver) = mpsc::sync_channel(threads * 64);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, job, begin) = (sender.clone(), &job, &begin);
            scope.spawn(move || {
                while let Some(index) = begin() {
                    if sender.send((index, job(index))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut early = BTreeMap::new();
        let mut due = 0;
        for (index, result) in receiver {
            early.insert(index, result);
            while let Some(result) = early.remove(&due) {
                each(due, result);
                due += 1;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_whatever_the_threads_do() {
        let mut seen = Vec::new();
        in_order(
            3,
            500,
            |_| false,
            |index| index * 2,
            |_, result| seen.push(result),
        );
        assert_eq!(seen, (0..500).map(|index| index * 2).collect::<Vec<_>>());
    }

    #[test]
    fn no_job_is_begun_after_the_stop() {
        let mut count = 0;
        in_order(2, 500, |index| index >= 7, |_| (), |_, ()| count += 1);
        assert_eq!(count, 7);
    }
}

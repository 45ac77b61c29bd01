//! A replicated to-do list, tested on partitions, crashes and lossy networks.
//!
//! `list.rs` is the program; this is how it is tested.

mod list;

use std::collections::BTreeMap;

use list::TodoList;
use rolecast_sim::{Check, Sim, check, secs};

/// A mesh of so many nodes, each with a copy of the list.
async fn copies(sim: &Sim, count: usize) -> Vec<TodoList> {
    let mut copies = Vec::new();
    for node in sim.start(count).await {
        copies.push(TodoList::open(&node).await.expect("no copy is open"));
    }
    copies
}

fn equal(copies: &[TodoList]) -> bool {
    copies.windows(2).all(|two| two[0].read() == two[1].read())
}

#[test]
fn copies_agree_after_a_partition() {
    check(|sim| async move {
        let copies = copies(&sim, 5).await;
        copies[0].set("buy milk", false).await.unwrap();
        sim.until(secs(10), async || {
            copies.iter().all(|copy| !copy.read().is_empty())
        })
        .await;

        sim.partition([0, 1], [2, 3, 4]);
        copies[0].set("buy milk", true).await.unwrap();
        copies[3].set("call the plumber", false).await.unwrap();
        sim.sleep(secs(30)).await;
        assert!(!equal(&copies), "the two sides cannot know of each other");

        sim.heal();
        sim.until(secs(120), async || equal(&copies)).await;
        let wanted = [("buy milk", true), ("call the plumber", false)];
        let wanted = wanted.map(|(name, done)| (name.to_owned(), done));
        assert_eq!(copies[4].read(), BTreeMap::from(wanted));
    });
}

#[test]
fn a_copy_that_crashes_learns_everything_again() {
    check(|sim| async move {
        let mut copies = copies(&sim, 3).await;
        for number in 0..20 {
            let copy = sim.below(copies.len());
            let sent = copies[copy].set(&format!("item {number}"), false).await;
            sent.unwrap();
        }
        // What only the copy that crashes knows would be lost: memory is all there is.
        sim.until(secs(30), async || {
            copies[0].read().len() == 20 && equal(&copies)
        })
        .await;
        sim.lose(10);
        sim.crash(2);
        copies[0].set("item 7", true).await.unwrap();
        sim.sleep(secs(sim.below(20) as u64)).await;
        let node = sim.restart(2).await;
        copies[2] = TodoList::open(&node).await.unwrap();
        sim.heal();
        sim.until(secs(120), async || equal(&copies)).await;
        assert_eq!(copies[2].read().len(), 20);
        assert!(copies[2].read()["item 7"]);
    });
}

/// What a test that fails says: the seed, and the command that runs it alone.
#[test]
fn a_failure_says_how_to_replay_it() {
    let failing = || {
        Check::new().seeds(3..5).run(|sim| async move {
            let copies = copies(&sim, 3).await;
            sim.partition([0], [1, 2]);
            copies[0].set("buy milk", false).await.unwrap();
            sim.sleep(secs(5)).await;
            assert!(equal(&copies), "no copy may ever lag behind");
        });
    };
    let panic = std::panic::catch_unwind(failing).expect_err("it asks for too much");
    let said = panic.downcast_ref::<String>().expect("it says something");
    assert!(said.contains("no copy may ever lag behind"), "{said}");
    assert!(
        said.contains(
            "replay: ROLECAST_SIM_SEED=3 cargo test a_failure_says_how_to_replay_it -- --exact"
        ),
        "{said}"
    );
}

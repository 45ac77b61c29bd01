//! Nodes find each other.

use std::time::Duration;

use rolecast_membership::Profile;

use crate::net::{Net, Setup};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn two_nodes_join_whoever_starts_first() {
    for seed in 0..20 {
        for (first, second) in [(0, 1), (1, 0)] {
            for wait in [Duration::ZERO, SECOND, SECOND * 60] {
                let mut net = Net::new(Setup::new(seed, Profile::Lan), 2);
                net.start(first, 1, &[0]);
                net.run(wait);
                net.start(second, 1, &[0]);
                let took = net.run_until(SECOND * 13, |net| net.all_know_all());
                assert!(took.is_some(), "seed {seed}, {first} first, {wait:?}");
            }
        }
    }
}

#[test]
fn a_hundred_nodes_that_start_at_once_know_each_other() {
    for loss_percent in [0, 25] {
        let setup = Setup {
            loss_percent,
            ..Setup::new(7, Profile::Lan)
        };
        let mut net = Net::new(setup, 100);
        for index in 0..100 {
            net.start(index, 1, &[0]);
        }
        let took = net
            .run_until(SECOND * 30, |net| net.all_know_all())
            .expect("all join");
        println!("100 nodes, loss {loss_percent} %: all know all after {took:?}");
        assert!(took < SECOND * 10);
    }
}

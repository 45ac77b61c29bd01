//! Nodes find each other.

use std::time::Duration;

use rolecast_membership::{Event, Profile, RoleName};

use crate::net::{Net, Setup, addr};

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
fn a_node_is_told_later_where_to_look() {
    for seed in 0..20 {
        let mut net = Net::new(Setup::new(seed, Profile::Lan), 2);
        net.start(0, 1, &[]);
        net.start(1, 1, &[]);
        net.run(SECOND * 60);
        assert!(!net.all_know_all(), "nobody said where the others are");
        net.call(1, |node, now| node.set_seeds(now, vec![addr(0)]));
        let took = net.run_until(SECOND, |net| net.all_know_all());
        assert!(took.is_some(), "seed {seed}");
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

#[test]
fn nodes_far_apart_get_along() {
    let latency = Duration::from_millis(60);
    let setup = Setup {
        latency,
        loss_percent: 2,
        ..Setup::new(3, Profile::Wan)
    };
    let mut net = Net::joined(setup, 10);
    let since = net.now;
    let role = RoleName::new("db:master").expect("a good name");
    net.call(2, |node, now| node.take_up(now, role))
        .expect("few roles");
    let took = net
        .run_until(SECOND * 10, |net| net.knowing(2) == 9)
        .expect("all learn");
    println!("10 nodes far apart: role change known after {took:?}");
    assert!(took < SECOND * 3);
    net.run(SECOND * 120);
    let deaths = |event: &Event| matches!(event, Event::Down(_) | Event::Renewed(_));
    assert_eq!(net.seen(since, deaths), []);
    net.crash(2);
    let took = net
        .run_until(SECOND * 60, |net| net.all_know_all())
        .expect("it is found out");
    println!("10 nodes far apart: crash known after {took:?}");
    assert!(took < SECOND * 30);
}

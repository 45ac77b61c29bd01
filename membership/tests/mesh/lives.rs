//! A node has several lives, one after the other.

use std::time::Duration;

use rolecast_membership::{Epoch, Event, Profile, RoleName};

use crate::net::{Net, Setup, id};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_quick_restart_replaces_the_former_life() {
    for seed in 0..10 {
        let mut net = Net::joined(Setup::new(seed, Profile::Lan), 5);
        let since = net.now;
        net.crash(3);
        net.run(SECOND / 10);
        net.start(3, 2, &[0]);
        let took = net
            .run_until(SECOND * 4, |net| net.all_know_all())
            .expect("it is taken in");
        net.run(SECOND * 20);
        println!("restart at 5 nodes: {took:?}");
        let replaced = |event: &Event| {
            matches!(event, Event::Replaced { before, after }
                if before.identity.epoch == Epoch(1) && after.identity.epoch == Epoch(2))
        };
        assert_eq!(net.seen(since, replaced).len(), 4, "seed {seed}");
        let missed = |event: &Event| matches!(event, Event::Down(_) | Event::Left(_));
        assert_eq!(net.seen(since, missed), [], "seed {seed}");
    }
}

#[test]
fn a_late_restart_joins_anew() {
    let mut net = Net::joined(Setup::new(1, Profile::Local), 5);
    net.crash(3);
    net.run_until(SECOND * 10, |net| net.all_know_all())
        .expect("its death is found out");
    let since = net.now;
    net.start(3, 2, &[0]);
    net.run_until(SECOND * 4, |net| net.all_know_all())
        .expect("it is taken in");
    let joined = |event: &Event| matches!(event, Event::Joined(r) if r.identity.id == id(3) && r.identity.epoch == Epoch(2));
    assert_eq!(net.seen(since, joined).len(), 4);
}

/// A clock that went back gives a lower epoch: the node goes on behind the life that the mesh remembers.
#[test]
fn a_restart_with_a_lower_epoch_overtakes_a_dead_later_life() {
    let mut net = Net::joined(Setup::new(1, Profile::Local), 5);
    net.crash(3);
    net.start(3, 9, &[0]);
    net.run_until(SECOND * 4, |net| net.all_know_all())
        .expect("it is taken in");
    net.crash(3);
    net.run_until(SECOND * 10, |net| net.all_know_all())
        .expect("its death is found out");
    let since = net.now;
    net.start(3, 5, &[0]);
    let took = net
        .run_until(SECOND * 20, |net| net.all_know_all())
        .expect("it is taken in");
    println!("restart with a lower epoch: {took:?}");
    assert_eq!(net.view(3).record().identity.epoch, Epoch(10));
    assert_eq!(
        net.seen(since, |event| matches!(event, Event::Renewed(_)))
            .len(),
        1
    );
}

#[test]
fn a_node_that_slept_too_long_comes_back_in_a_new_life_with_its_roles() {
    for seed in 0..10 {
        let mut net = Net::joined(Setup::new(seed, Profile::Local), 5);
        let role = RoleName::new("db:master").expect("a good name");
        let tenure = net
            .call(2, |node, now| node.take_up(now, role.clone()))
            .expect("few roles");
        let since = net.now;
        net.pause(2, SECOND * 10);
        net.run(SECOND * 10);
        let down = |event: &Event| matches!(event, Event::Down(who) if who.id == id(2));
        assert_eq!(net.seen(since, down).len(), 4);
        let since = net.now;
        let took = net
            .run_until(SECOND * 10, |net| net.all_know_all())
            .expect("it comes back");
        println!("back after a long sleep: {took:?}");
        let renewed = |event: &Event| matches!(event, Event::Renewed(_));
        let renewals: Vec<usize> = net.seen(since, renewed).iter().map(|seen| seen.1).collect();
        assert_eq!(renewals, [2], "seed {seed}: only who slept renews");
        let others = |event: &Event| matches!(event, Event::Down(_));
        assert_eq!(
            net.seen(since, others),
            [],
            "seed {seed}: who slept blames nobody"
        );
        assert_eq!(net.view(2).record().identity.epoch, Epoch(2));
        let seen = net.view(0).member(id(2)).expect("it is a member again");
        assert_eq!(seen.record.roles.get(&role), Some(&tenure));
        net.run(SECOND * 10);
        assert!(net.all_know_all());
    }
}

#[test]
fn a_short_stop_harms_nobody() {
    for seed in 0..10 {
        let mut net = Net::joined(Setup::new(seed, Profile::Lan), 5);
        let since = net.now;
        net.pause(2, SECOND * 3);
        net.run(SECOND * 10);
        let harm = |event: &Event| matches!(event, Event::Down(_) | Event::Renewed(_));
        assert_eq!(net.seen(since, harm), [], "seed {seed}");
        let by_sleeper = |event: &Event| matches!(event, Event::Suspected(_));
        assert!(
            net.seen(since, by_sleeper)
                .iter()
                .all(|(_, index)| *index != 2)
        );
        let again = net
            .seen(since, |event| *event == Event::AliveAgain(id(2)))
            .len();
        assert_eq!(
            again,
            net.seen(since, |event| *event == Event::Suspected(id(2)))
                .len()
        );
    }
}

/// Who suspects others when it is stopped has to hear them out when it goes on.
#[test]
fn a_node_that_sleeps_on_its_suspicions_kills_nobody() {
    for seed in 0..10 {
        let mut net = Net::joined(Setup::new(seed, Profile::Lan), 5);
        let since = net.now;
        net.drop_datagrams = true;
        net.run(SECOND * 5 / 2);
        net.pause(2, SECOND * 10);
        net.drop_datagrams = false;
        let suspected = |event: &Event| matches!(event, Event::Suspected(_));
        assert!(
            net.seen(since, suspected)
                .iter()
                .any(|(_, index)| *index == 2),
            "seed {seed}"
        );
        net.run(SECOND * 20);
        let down = |event: &Event| matches!(event, Event::Down(_));
        assert!(
            net.seen(since, down).iter().all(|(_, index)| *index != 2),
            "seed {seed}"
        );
        assert!(net.all_know_all(), "seed {seed}");
    }
}

#[test]
fn of_two_processes_with_one_key_the_earlier_stops() {
    for seed in 0..10 {
        let mut net = Net::joined(Setup::new(seed, Profile::Local), 5);
        let since = net.now;
        // The second process stands elsewhere in the test, but is the same node.
        let mut twin = net.view(3).record().clone();
        twin.identity.epoch = Epoch(7);
        net.replace_behind(3, twin, &[0]);
        net.run(SECOND * 10);
        let superseded: Vec<_> = net.seen(since, |event| {
            matches!(event, Event::Superseded(by) if by.id == id(3) && by.epoch == Epoch(7))
        });
        assert_eq!(superseded.len(), 1, "seed {seed}");
        assert_eq!(superseded[0].1, net.ghost());
        assert!(net.all_know_all(), "seed {seed}");
        assert_eq!(
            net.view(0).member(id(3)).map(|m| m.record.identity.epoch),
            Some(Epoch(7))
        );
        let renewed = |event: &Event| matches!(event, Event::Renewed(_));
        assert_eq!(net.seen(since, renewed), []);
    }
}

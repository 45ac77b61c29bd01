//! Partitions heal.

use std::time::Duration;

use rolecast_membership::{Event, Profile, RoleName};

use crate::net::{Net, Setup, addr};

const SECOND: Duration = Duration::from_secs(1);

/// How long a split of `time` takes to heal, and how many lives it costs: the worst over `seeds`.
fn heal(
    profile: Profile,
    places: usize,
    part_of: impl Fn(usize) -> u32 + Copy,
    time: Duration,
    loss_percent: u32,
) -> (Duration, usize) {
    let mut worst = (Duration::ZERO, 0);
    for seed in 0..10 {
        let mut net = Net::joined(Setup::new(seed, profile), places);
        net.set_loss(loss_percent);
        net.split(part_of);
        net.run(time);
        for index in 0..places {
            let side = (0..places)
                .filter(|other| part_of(*other) == part_of(index))
                .count();
            assert_eq!(
                net.view(index).members().count(),
                side - 1,
                "seed {seed}: it is split"
            );
        }
        let since = net.now;
        net.heal();
        let took = net.run_until(SECOND * 120, |net| net.all_know_all());
        let took = took.unwrap_or_else(|| panic!("seed {seed}: a split of {places} never heals"));
        net.run(SECOND * 20);
        assert!(net.all_know_all(), "seed {seed}: and stays healed");
        let renewals = net
            .seen(since, |event| matches!(event, Event::Renewed(_)))
            .len();
        worst = (worst.0.max(took), worst.1.max(renewals));
    }
    println!(
        "{profile:?}, {places} nodes split for {time:?}, loss {loss_percent} %: healed after at most {:?} with at most {} new lives",
        worst.0, worst.1
    );
    worst
}

#[test]
fn two_nodes_meet_again() {
    for (time, loss) in [(15, 0), (15, 25), (120, 0)] {
        let (took, renewals) = heal(Profile::Lan, 2, |index| index as u32, SECOND * time, loss);
        assert!(took < SECOND * 15 && renewals == 1);
    }
    let (took, _) = heal(Profile::Local, 2, |index| index as u32, SECOND * 10, 0);
    assert!(took < SECOND * 15);
}

#[test]
fn two_halves_meet_again() {
    let half = |index: usize| (index % 2) as u32;
    for (time, loss) in [(30, 0), (40, 10), (120, 0)] {
        let (took, renewals) = heal(Profile::Lan, 10, half, SECOND * time, loss);
        assert!(took < SECOND * 20, "{took:?}");
        assert!(renewals <= 5, "one half keeps its lives: {renewals}");
    }
    let (took, _) = heal(Profile::Local, 10, half, SECOND * 10, 0);
    assert!(took < SECOND * 15);
}

#[test]
fn the_smaller_side_comes_back_in_new_lives() {
    let part = |index: usize| u32::from(index < 3);
    let (took, renewals) = heal(Profile::Lan, 20, part, SECOND * 90, 0);
    assert!(took < SECOND * 15 && renewals == 3, "{took:?}, {renewals}");
    let (took, renewals) = heal(
        Profile::Lan,
        20,
        |index| u32::from(index == 4),
        // Who is alone is likely to be at fault itself, and gives the others time.
        SECOND * 240,
        0,
    );
    assert!(took < SECOND * 15 && renewals == 1, "{took:?}, {renewals}");
}

/// A split of most of a day heals without any seed, and a longer one with a seed; what changed meanwhile has changed for all, and who died stays dead.
#[test]
fn a_split_may_last_for_days() {
    for (hours, seeds) in [(20, &[][..]), (30, &[0, 1][..])] {
        let mut net = Net::joined(Setup::new(hours, Profile::Lan), 6);
        for index in 0..6 {
            let seeds = seeds.iter().map(|seed| addr(*seed)).collect();
            net.call(index, |node, now| node.set_seeds(now, seeds));
        }
        let worker = RoleName::new("worker").expect("it is a name");
        for index in [1, 3] {
            let taken = net.call(index, |node, now| node.take_up(now, worker.clone()));
            taken.expect("there is room");
        }
        net.run(SECOND * 5);
        net.split(|index| (index % 2) as u32);
        net.run(SECOND * 3_600);
        net.call(1, |node, now| node.drop_role(now, &worker));
        net.crash(3);
        net.run(SECOND * 3_600 * hours as u32);
        net.heal();
        let all = |net: &Net| {
            [0, 1, 2, 4, 5]
                .iter()
                .all(|&index| net.view(index).members().count() == 4)
        };
        let took = net.run_until(SECOND * 60, all);
        let took = took.unwrap_or_else(|| panic!("a split of {hours} hours never heals"));
        net.run(SECOND * 30);
        assert!(all(&net), "and it stays healed");
        for index in [0, 2, 4, 5] {
            let mut roles = net
                .view(index)
                .members()
                .flat_map(|member| member.record.roles.keys());
            assert_eq!(roles.next(), None, "nobody holds the role any more");
        }
        println!("a split of {hours} hours healed after {took:?}");
        assert!(took < SECOND * 20, "{took:?}");
    }
}

/// Two meshes that never met, each with a seed in the other, become one.
#[test]
fn two_meshes_become_one() {
    let mut net = Net::new(Setup::new(4, Profile::Lan), 8);
    net.split(|index| (index % 2) as u32);
    for index in 0..8 {
        net.start(index, 1, &[0, 1]);
    }
    net.run(SECOND * 60);
    assert_eq!(net.view(0).members().count(), 3);
    net.heal();
    let took = net
        .run_until(SECOND * 20, |net| net.all_know_all())
        .expect("they meet");
    println!("two meshes of four became one after {took:?}");
    assert_eq!(
        net.seen(Default::default(), |event| matches!(
            event,
            Event::Renewed(_)
        )),
        []
    );
}

#[test]
fn equal_seeds_give_equal_traces() {
    let trace = |seed| {
        let setup = Setup {
            loss_percent: 5,
            ..Setup::new(seed, Profile::Local)
        };
        let mut net = Net::joined(setup, 10);
        net.split(|index| u32::from(index < 4));
        net.run(SECOND * 8);
        net.heal();
        net.crash(9);
        net.run(SECOND * 20);
        net.leave(8);
        net.run(SECOND * 5);
        (net.trace(), net.events.len())
    };
    let first = trace(1);
    assert_eq!(trace(1), first);
    assert_ne!(trace(2).0, first.0);
    println!("trace {:016x} over {} events", first.0, first.1);
}

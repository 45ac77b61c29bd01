//! What a node says of itself gets around.

use std::time::Duration;

use rolecast_membership::{Description, Event, Profile, RoleName, Service, Tenure};

use crate::net::{Net, Setup, id};

const SECOND: Duration = Duration::from_secs(1);

fn role(name: &str) -> RoleName {
    RoleName::new(name).expect("a good name")
}

/// How long role changes take until all of a hundred nodes know: the median and the most of 40, at 20 nodes of 5 meshes.
fn role_change_times(loss_percent: u32) -> (Duration, Duration) {
    let mut times = Vec::new();
    for seed in 0..5 {
        let mut net = Net::joined(Setup::new(seed, Profile::Lan), 100);
        net.set_loss(loss_percent);
        for place in [3, 21, 60, 99] {
            let since = net.now;
            net.call(place, |node, now| node.take_up(now, role("db:master")))
                .expect("few roles");
            times.push(all_learn(&mut net, place));
            let updated = net.seen(since, |event| matches!(event, Event::Updated { after, .. } if after.identity.id == id(place)));
            assert_eq!(updated.len(), 99, "each node reports it once");
            net.run(SECOND);
            let dropped = net.call(place, |node, now| node.drop_role(now, &role("db:master")));
            assert!(dropped);
            times.push(all_learn(&mut net, place));
        }
    }
    times.sort();
    (times[times.len() / 2], times[times.len() - 1])
}

fn all_learn(net: &mut Net, place: usize) -> Duration {
    net.run_until(SECOND * 20, |net| net.knowing(place) == 99)
        .expect("all learn")
}

#[test]
fn a_role_change_is_known_to_a_hundred_nodes_within_a_second() {
    let (median, most) = role_change_times(0);
    println!("role change at 100 nodes: median {median:?}, most {most:?}");
    assert!(most < SECOND);
}

#[test]
fn a_role_change_gets_through_heavy_loss() {
    let (median, most) = role_change_times(25);
    println!("role change at 100 nodes, 25 % loss: median {median:?}, most {most:?}");
    assert!(median < SECOND && most < SECOND * 5);
}

#[test]
fn a_hundred_role_changes_at_once_get_around() {
    for loss_percent in [0, 10] {
        let mut net = Net::joined(Setup::new(1, Profile::Lan), 100);
        net.set_loss(loss_percent);
        let sent = (net.datagrams, net.frame_bytes);
        for place in 0..100 {
            net.call(place, |node, now| {
                node.take_up(now, role("everyone:worker"))
            })
            .expect("few roles");
        }
        let took = net
            .run_until(SECOND * 20, |net| net.all_know_all())
            .expect("all learn");
        println!(
            "100 role changes at once, loss {loss_percent} %: {took:?}, {} packets, {} kB in frames",
            net.datagrams - sent.0,
            (net.frame_bytes - sent.1) / 1_000
        );
        assert!(took < SECOND * 5);
    }
}

#[test]
fn tenures_tell_holdings_apart() {
    let mut net = Net::joined(Setup::new(1, Profile::Lan), 2);
    let a = role("a");
    let take_up = |net: &mut Net| {
        net.call(0, |node, now| node.take_up(now, role("a")))
            .expect("few roles")
    };
    let first = take_up(&mut net);
    assert_eq!(take_up(&mut net), first, "held already");
    assert!(net.call(0, |node, now| node.drop_role(now, &a)));
    assert!(!net.call(0, |node, now| node.drop_role(now, &a)));
    let second = take_up(&mut net);
    assert_eq!((first, second), (Tenure(2), Tenure(4)));
    net.run(SECOND);
    assert_eq!(
        net.view(1)
            .member(id(0))
            .and_then(|m| m.record.roles.get(&a)),
        Some(&second)
    );
}

#[test]
fn a_node_that_moves_is_known_to_have_moved_and_keeps_its_roles() {
    let mut net = Net::joined(Setup::new(1, Profile::Lan), 20);
    let take_up = |node: &mut rolecast_membership::Membership, now| node.take_up(now, role("a"));
    let tenure = net.call(3, take_up).expect("few roles");
    let mut moved = Description::of(net.view(3).record());
    moved.site = "fra".into();
    moved.service = Service {
        name: "db".into(),
        instance: 2,
    };
    moved.labels.insert("rack".into(), "r12".into());
    let describe = |net: &mut Net, to: Description| net.call(3, |node, now| node.describe(now, to));
    assert_eq!(describe(&mut net, moved.clone()), Ok(true));
    assert_eq!(describe(&mut net, moved.clone()), Ok(false), "nothing new");
    let took = net.run_until(SECOND * 5, |net| net.knowing(3) == 19);
    assert!(took.expect("all learn") < SECOND);
    let seen = net.view(17).member(id(3)).map(|m| m.record.clone());
    let seen = seen.expect("it is a member");
    assert_eq!(Description::of(&seen), moved);
    assert_eq!(seen.roles.get(&role("a")), Some(&tenure));
    let placed = seen.placed;
    assert_eq!((placed.site, placed.host, placed.service), (3, 0, 3));
    moved.labels.insert("motto".into(), "x".repeat(300));
    let refused = describe(&mut net, moved);
    assert!(refused.is_err() && net.view(3).record() == &seen);
}

/// A thousand changes at one node cost the others what a few do: only the newest record is ever on its way, and it goes out at the pace of the rounds.
#[test]
fn a_storm_of_role_changes_costs_one_record_at_a_time() {
    let cost = |changes: u64| {
        let mut net = Net::joined(Setup::new(1, Profile::Lan), 30);
        net.run(SECOND * 5);
        let sent = (net.datagrams, net.frames);
        for change in 0..changes {
            let busy = role("worker:busy");
            match change % 2 {
                0 => drop(net.call(7, |node, now| node.take_up(now, busy))),
                _ => drop(net.call(7, |node, now| node.drop_role(now, &busy))),
            }
            net.run(SECOND / 1_000);
        }
        net.run(SECOND - SECOND / 1_000 * changes as u32);
        let took = net.run_until(SECOND * 5, |net| net.knowing(7) == 29);
        let versions = net.view(7).record().version;
        assert_eq!(versions, changes + 1);
        let learnt = net.events.iter();
        let learnt = learnt.filter(|(_, place, event)| {
            *place == 9
                && matches!(event, Event::Updated { after, .. } if after.identity.id == id(7))
        });
        (
            net.datagrams - sent.0,
            net.frames - sent.1,
            learnt.count(),
            took.expect("all learn"),
        )
    };
    let (idle, one, storm) = (cost(0), cost(1), cost(1_000));
    println!(
        "packets, frames, versions learnt, last known after: idle {idle:?}, one change {one:?}, a thousand {storm:?}"
    );
    // Some go out at once, then one in each round; packets of SWIM take what is newest then.
    assert!(one.2 == 1 && storm.2 <= 25, "{} versions", storm.2);
    let of_storm = storm.0 + storm.1 - idle.0 - idle.1;
    let of_one = one.0 + one.1 - idle.0 - idle.1;
    assert!(
        of_storm < 10 * of_one,
        "{of_storm} for 1,000 changes, {of_one} for one"
    );
    assert!(
        storm.3 < SECOND,
        "the end of it is known as soon as that of one"
    );
}

#[test]
fn a_record_of_four_thousand_roles_spreads() {
    let mut net = Net::joined(Setup::new(3, Profile::Lan), 20);
    for number in 0..4_000 {
        let name = role(&format!("user-list:shard-{number}"));
        net.call(4, |node, now| node.take_up(now, name))
            .expect("below the limit");
    }
    let took = net
        .run_until(SECOND * 10, |net| net.knowing(4) == 19)
        .expect("all learn");
    println!("4,000 roles at 20 nodes: {took:?}");
    let bytes = net.frame_bytes;
    net.call(4, |node, now| node.take_up(now, role("one-more")))
        .expect("below the limit");
    let took = net
        .run_until(SECOND * 10, |net| net.knowing(4) == 19)
        .expect("all learn");
    println!(
        "one more: {took:?}, {} kB in frames",
        (net.frame_bytes - bytes) / 1_000
    );
    assert!(took < SECOND * 2);
    // A node that starts afterwards learns it too.
    net.crash(5);
    net.start(5, 2, &[0]);
    let took = net
        .run_until(SECOND * 10, |net| net.all_know_all())
        .expect("it learns");
    println!("a newcomer: {took:?}");
}

#[test]
fn too_many_or_too_long_roles_are_refused_and_change_nothing() {
    let mut net = Net::new(Setup::new(3, Profile::Lan), 1);
    net.start(0, 1, &[]);
    let long = |number: u32| role(&format!("{number:0>128}"));
    let refused = (0..4_096)
        .map(|number| {
            (
                number,
                net.call(0, |node, now| node.take_up(now, long(number))),
            )
        })
        .find(|(_, result)| result.is_err());
    let (number, result) = refused.expect("the record gets too large");
    println!("{number}: {result:?}");
    assert_eq!(net.view(0).record().roles.len(), number as usize);
    assert_eq!(net.view(0).record().version, u64::from(number) + 1);
    assert!(net.view(0).record().check().is_ok());
}

#[test]
fn anti_entropy_brings_what_every_packet_lost() {
    let mut times = Vec::new();
    for seed in 0..10 {
        let mut net = Net::joined(Setup::new(seed, Profile::Lan), 10);
        net.drop_datagrams = true;
        net.call(3, |node, now| node.take_up(now, role("a")))
            .expect("few roles");
        // By then every rumour has been told as often as it is, and nobody was declared down yet.
        net.run(SECOND);
        net.drop_datagrams = false;
        let took = net
            .run_until(SECOND * 20, |net| net.knowing(3) == 9)
            .expect("all learn");
        times.push(SECOND + took);
    }
    println!(
        "role change by anti-entropy alone at 10 nodes: {:?}",
        times.iter().max()
    );
}

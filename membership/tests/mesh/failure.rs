//! Nodes that die are found out, and nodes that leave are not missed.

use std::time::Duration;

use rolecast_membership::{
    Config, Epoch, Event, Identity, Input, Liveness, Membership, Output, Profile, Record, RoleName,
    Time,
};

use crate::net::{Net, Setup, id};

const SECOND: Duration = Duration::from_secs(1);

/// How long it takes until all others hold a crashed node for down: the median and the most.
fn crash_times(profile: Profile, places: usize, seeds: u64) -> (Duration, Duration) {
    let mut times = Vec::new();
    for seed in 0..seeds {
        let mut net = Net::joined(Setup::new(seed, profile), places);
        net.run(Duration::from_millis(seed * 137));
        let since = net.now;
        net.crash(1);
        let took = net
            .run_until(SECOND * 60, |net| net.all_know_all())
            .expect("it is found out");
        let downs = net.seen(
            since,
            |event| matches!(event, Event::Down(who) if who.id == id(1)),
        );
        assert_eq!(downs.len(), places - 1);
        let suspected = net.seen(since, |event| *event == Event::Suspected(id(1)));
        assert!(!suspected.is_empty(), "suspicion comes before death");
        let others = net.seen(
            since,
            |event| matches!(event, Event::Down(who) | Event::Left(who) if who.id != id(1)),
        );
        assert!(others.is_empty());
        times.push(took);
    }
    times.sort();
    (times[times.len() / 2], times[times.len() - 1])
}

#[test]
fn a_crash_is_found_out() {
    let cases = [
        (Profile::Local, 5, 20, 4),
        (Profile::Lan, 5, 20, 10),
        (Profile::Lan, 100, 5, 15),
    ];
    for (profile, places, seeds, most_allowed) in cases {
        let (median, most) = crash_times(profile, places, seeds);
        println!("crash at {places} nodes, {profile:?}: median {median:?}, most {most:?}");
        assert!(most < SECOND * most_allowed);
    }
}

#[test]
fn a_leave_is_known_at_once_and_told_from_a_crash() {
    for (places, loss) in [(2, 0), (5, 0), (100, 0), (100, 25)] {
        let mut net = Net::joined(Setup::new(2, Profile::Lan), places);
        net.set_loss(loss);
        let since = net.now;
        net.leave(1);
        let gone = |net: &Net| {
            net.running()
                .into_iter()
                .all(|index| net.view(index).member(id(1)).is_none())
        };
        let took = net.run_until(SECOND, gone).expect("within a second");
        println!("leave at {places} nodes, loss {loss} %: {took:?}");
        net.run(SECOND * 30);
        let about = |event: &Event| matches!(event, Event::Left(who) if who.id == id(1));
        assert_eq!(net.seen(since, about).len(), places - 1);
        let wrong = |event: &Event| matches!(event, Event::Down(_) | Event::Joined(_));
        assert_eq!(net.seen(since, wrong), []);
    }
}

/// The frames of the farewell are not what makes others tell it from a crash.
#[test]
fn a_leave_gets_around_by_packets_alone() {
    let mut net = Net::joined(Setup::new(2, Profile::Lan), 30);
    let since = net.now;
    net.drop_frames = true;
    net.leave(1);
    net.run(SECOND);
    let about = |event: &Event| matches!(event, Event::Left(who) if who.id == id(1));
    assert_eq!(net.seen(since, about).len(), 29);
}

/// Nor are the packets.
#[test]
fn a_leave_gets_around_by_frames_alone() {
    let mut net = Net::joined(Setup::new(2, Profile::Lan), 3);
    let since = net.now;
    net.drop_datagrams = true;
    net.leave(1);
    net.run(SECOND);
    let about = |event: &Event| matches!(event, Event::Left(who) if who.id == id(1));
    assert_eq!(net.seen(since, about).len(), 2);
}

#[test]
fn who_answers_is_alive_again_at_once() {
    for seed in 0..10 {
        let mut net = Net::joined(Setup::new(seed, Profile::Lan), 2);
        net.drop_datagrams = true;
        let suspects = |net: &Net, index: usize, other: usize| {
            let member = net.view(index).member(id(other)).expect("it is a member");
            member.liveness == Liveness::Suspect
        };
        let doubt = net.run_until(SECOND * 3, |net| suspects(net, 0, 1) && suspects(net, 1, 0));
        assert!(doubt.is_some(), "seed {seed}");
        net.drop_datagrams = false;
        let trust = net.run_until(SECOND * 6 / 10, |net| {
            !suspects(net, 0, 1) && !suspects(net, 1, 0)
        });
        assert!(trust.is_some(), "seed {seed}");
    }
}

#[test]
fn who_has_left_says_nothing_more() {
    let mut net = Net::joined(Setup::new(2, Profile::Lan), 3);
    net.call(1, |node, now| node.leave(now));
    assert_eq!(net.view(1).poll_timeout(), None);
    let name = RoleName::new("a").expect("a good name");
    net.call(1, |node, now| node.take_up(now, name))
        .expect("few roles");
    let sent = net.sent_by(1);
    net.run(SECOND * 10);
    assert_eq!(net.sent_by(1), sent);
    assert_eq!(net.view(0).members().count(), 1);
}

#[test]
fn loss_alone_kills_nobody() {
    for (places, loss, seeds) in [(20, 10, 10), (5, 25, 10)] {
        for seed in 0..seeds {
            let mut net = Net::joined(Setup::new(seed, Profile::Lan), places);
            net.set_loss(loss);
            let since = net.now;
            net.run(SECOND * 120);
            let deaths = |event: &Event| matches!(event, Event::Down(_) | Event::Renewed(_));
            assert_eq!(
                net.seen(since, deaths),
                [],
                "{places} nodes, loss {loss} %, seed {seed}"
            );
        }
    }
}

/// Whoever hears of a member before there was time for a link to it does not accuse it.
#[test]
fn a_member_without_a_link_yet_is_given_time_for_one() {
    let record = |index: u8| {
        Record::new(Identity {
            id: id(index.into()),
            epoch: Epoch(1),
            addr: ([10, 0, 0, index], 7400).into(),
        })
    };
    let node = |index: u8| {
        let config = Config {
            record: record(index),
            seeds: Vec::new(),
            profile: Profile::Lan,
        };
        Membership::new(config, 1, Time::ZERO)
    };
    let (mut one, mut other) = (node(1), node(2));
    // The other one introduces itself to a third, which passes that on.
    other.handle(Time::ZERO, Input::PeerConnected(record(3).identity));
    while let Some(output) = other.poll_output() {
        if let Output::Frame { bytes, .. } = output {
            let from = id(3);
            one.handle(Time::ZERO, Input::Frame { from, bytes });
        }
    }
    assert!(one.member(id(2)).is_some());
    let mut suspected = None;
    while let Some(now) = one.poll_timeout().filter(|_| suspected.is_none()) {
        one.handle(now, Input::Timeout);
        while let Some(output) = one.poll_output() {
            if matches!(output, Output::Event(Event::Suspected(who)) if who == id(2)) {
                suspected = Some(now);
            }
        }
    }
    let suspected = suspected.expect("nobody waits for ever");
    let range = Time::from_millis(2_500)..Time::from_millis(6_000);
    assert!(range.contains(&suspected), "{suspected}");
}

//! Failure detection beside plain `foca`, in small; `rolecast-sim report membership` has the large figures.

use std::time::Duration;

use rolecast_sim::swarm::{
    Alarms, Grid, Own, PlainFoca, Slowness, crash_times, false_alarms, healing, idle_bytes,
    restarts, role_changes,
};

/// Some of 48 nodes cannot hear, for a quarter of a minute each time.
fn grid(slowness: Slowness) -> Grid {
    Grid {
        size: 48,
        slow: 4,
        slowness,
        anomaly: Duration::from_secs(16),
        time: Duration::from_secs(60),
        seed: 1,
    }
}

fn median(times: &[Duration]) -> Duration {
    times[times.len() / 2]
}

#[test]
fn a_crash_is_known_to_all_within_seconds() {
    let times = crash_times::<Own>(32, 4, 3);
    assert!(median(&times) < CRASH_KNOWN, "{times:?}");
}

#[test]
fn a_node_that_cannot_hear_accuses_nobody_who_is_well() {
    let own = false_alarms::<Own>(grid(Slowness::Deaf));
    assert_eq!((own.healthy, own.among_healthy), (0, 0));
    let plain = false_alarms::<PlainFoca<true>>(grid(Slowness::Deaf));
    assert!(plain.healthy > 0, "there was something to avoid: {plain:?}");
}

/// A quarter of the nodes cannot hear, for so long that suspicions would come true meanwhile.
fn deaf_for_long() -> Grid {
    Grid {
        slow: 12,
        anomaly: Duration::from_secs(33),
        time: Duration::from_secs(120),
        ..grid(Slowness::Deaf)
    }
}

#[test]
fn many_that_cannot_hear_for_long_accuse_nobody_who_is_well() {
    let own = false_alarms::<Own>(deaf_for_long());
    assert_eq!((own.healthy, own.among_healthy), (0, 0));
}

#[test]
fn a_node_that_stood_still_accuses_nobody_who_is_well() {
    let Alarms {
        healthy,
        among_healthy,
        ..
    } = false_alarms::<Own>(grid(Slowness::Stopped));
    assert_eq!((healthy, among_healthy), (0, 0));
}

#[test]
fn a_role_is_known_to_all_soon_whatever_is_lost() {
    for (loss, most) in [(0, 800), (25, 1_500)] {
        let spread = role_changes::<Own>(32, loss, 100);
        assert_eq!(spread.missed, 0);
        let median = median(&spread.times);
        assert!(
            median <= Duration::from_millis(most),
            "{median:?} at {loss} %"
        );
    }
}

#[test]
fn a_mesh_at_rest_costs_little() {
    let bytes = idle_bytes::<Own>(32);
    assert!(bytes <= 150.0, "{bytes} bytes a second");
}

#[test]
fn who_restarts_is_known_in_its_next_life_and_is_never_down() {
    let restarted = restarts::<Own>(32, 10, Duration::from_secs(10), 1);
    let known = restarted.time.is_some_and(|time| time < RESTART_KNOWN);
    assert!(known, "{restarted:?}");
    assert_eq!((restarted.alarms, restarted.renewed), (0, 0));
    assert_eq!(restarted.remembered, 31, "nobody remembers former lives");
}

#[test]
fn a_split_heals_soon_and_only_the_smaller_side_renews() {
    for (size, smaller, most) in [(2, 1, 5), (16, 1, 2), (16, 8, 10)] {
        let healed = healing::<Own>(size, smaller, Duration::from_secs(600), 1);
        let within = healed
            .time
            .is_some_and(|time| time <= Duration::from_secs(most));
        assert!(within && healed.renewed <= smaller as u64, "{healed:?}");
    }
}

#[test]
fn a_crash_among_fast_detectors_is_known_in_two_seconds() {
    let times = crash_times::<Own<true>>(32, 5, 2);
    assert!(median(&times) <= Duration::from_secs(2), "{times:?}");
}

/// Each bug that is planted in failure detection breaks one of the bounds above.
#[cfg(feature = "canaries")]
mod canaries {
    use rolecast_membership::canary::{Canary, plant};

    use super::*;

    fn with<R>(canary: Canary, measure: impl FnOnce() -> R) -> R {
        plant(Some(canary));
        let measured = measure();
        plant(None);
        measured
    }

    #[test]
    fn suspicions_that_start_short_cause_false_alarms() {
        let alarms = with(Canary::SuspicionStartsShort, || {
            false_alarms::<Own>(grid(Slowness::Deaf))
        });
        assert!(alarms.healthy > 0, "{alarms:?}");
    }

    #[test]
    fn local_health_that_is_ignored_causes_more_false_alarms() {
        // Those who cannot hear are given the time to answer by whoever doubts itself.
        let half = Grid {
            slow: 24,
            anomaly: Duration::from_secs(8),
            ..deaf_for_long()
        };
        let sound = false_alarms::<Own>(half);
        let ignored = with(Canary::LocalHealthIgnored, || false_alarms::<Own>(half));
        assert!(
            ignored.slow > sound.slow * 2,
            "{ignored:?} and not {sound:?}"
        );
    }

    #[test]
    fn deaf_nodes_that_do_not_wait_cause_false_alarms() {
        for canary in [Canary::DeafAccuses, Canary::ConfirmedAtOnce] {
            let alarms = with(canary, || false_alarms::<Own>(deaf_for_long()));
            assert!(alarms.healthy > 0, "{canary:?}: {alarms:?}");
        }
    }

    #[test]
    fn confirmations_that_are_ignored_make_detection_slow() {
        let times = with(Canary::ConfirmationsIgnored, || {
            crash_times::<Own>(32, 2, 3)
        });
        assert!(median(&times) > CRASH_KNOWN, "{times:?}");
    }
}

/// Of 32 nodes; plain `foca` takes about as long, with suspicions of a single length.
const CRASH_KNOWN: Duration = Duration::from_millis(8_500);
/// Of 32 nodes, through one seed.
const RESTART_KNOWN: Duration = Duration::from_secs(2);

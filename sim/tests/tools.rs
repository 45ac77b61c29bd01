//! What a failure is good for: it is replayed from its line, and gets small.

#![cfg(feature = "canaries")]

use rolecast_protocol::Canary;
use rolecast_sim::check::Broken;
use rolecast_sim::exhaust::Exhaust;
use rolecast_sim::plan::{Breakage, Fault};
use rolecast_sim::shrink::{Size, shrink};
use rolecast_sim::{Scenario, canary, replay, run, run_filmed, show};

/// The first scenario in which a forgotten relay breaks agreement on what somebody sent who crashed.
///
/// Three places are enough for that; a sender that merely takes a holder for dead needs a fourth, over which its questions are lost.
fn failing() -> Scenario {
    let scenarios = (0..200).map(|seed| Scenario {
        canary: Some(canary::name(Canary::RelayForgotten)),
        ..Scenario::draw(seed, None)
    });
    let mut failing = scenarios.filter(|scenario| {
        let Some(Broken::Agreement { message, .. }) = run(scenario).violation.map(|it| it.broken)
        else {
            return false;
        };
        let crashes = |fault: &Fault| matches!(fault.what, Breakage::Crash { node, .. } if node == message.origin.slot);
        scenario.plan.faults.iter().any(crashes)
    });
    failing.next().expect("agreement is broken")
}

#[test]
fn a_failure_is_the_same_when_it_is_replayed() {
    let scenario = failing();
    let again = replay::decode(&replay::encode(&scenario)).expect("as written");
    let (one, other) = (run(&scenario), run(&again));
    assert_eq!(one.hash, other.hash);
    assert_eq!(one.violation, other.violation);
}

#[test]
fn a_failure_shrinks_to_a_few_nodes_and_faults() {
    let scenario = failing();
    let shrunk = shrink(scenario, None, |scenario| run(scenario).violation, |_| {})
        .expect("it breaks a promise");
    assert!(shrunk.complete);
    let Size {
        nodes,
        faults,
        operations,
    } = Size::of(&shrunk.scenario);
    assert!(nodes <= 3 && faults <= 3 && operations <= 8, "{shrunk:?}");
    let again = run(&shrunk.scenario).violation;
    assert_eq!(again, Some(shrunk.violation));
}

#[test]
fn a_diagram_is_one_file_that_needs_nothing_else() {
    let scenario = failing();
    let outcome = run_filmed(&scenario);
    let html = show::html(&scenario, &outcome);
    assert!(html.contains("agreement: message"));
    // The name of SVG's elements is no address that is asked for anything.
    let addresses = html.matches("://").count();
    assert_eq!(
        addresses,
        html.matches("http://www.w3.org/2000/svg").count()
    );
    let start = html
        .find("type=\"application/json\"")
        .expect("the run is in it");
    let json = &html[html[start..].find('>').expect("the tag ends") + start + 1..];
    let json = &json[..json.find("</script>").expect("the script ends")];
    let run: serde_json::Value = serde_json::from_str(json).expect("it is JSON");
    assert!(
        run["arrows"]
            .as_array()
            .is_some_and(|arrows| !arrows.is_empty())
    );
    assert!(run["broken"].is_array());
}

#[test]
fn what_breaks_nothing_does_not_shrink() {
    let calm = Exhaust::of(2).expect("two nodes are few").scenario(0);
    assert!(shrink(calm, None, |scenario| run(scenario).violation, |_| {}).is_none());
}

//! Ways to alter a history at random.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rolecast_membership::{Epoch, Event as MembershipEvent, Identity};
use rolecast_protocol::{
    Answer, Batch, Dissemination, Event, Gap, InboxId, LagReason, Mode, Order, Refusal,
};
use rolecast_sim::check::{Callee, Observation, ProcessId, Recorded};
use rolecast_sim::random::Stream;

/// Alters a history in one way, and says in which.
///
/// Starts stay where they are, and nobody does anything before its start: that is no history.
pub(super) fn alter(run: &mut Vec<Recorded>, stream: &mut Stream) -> &'static str {
    let index = any(run, stream);
    let process = any_process(run, index, stream);
    match stream.index(12) {
        7 | 8 => lose(run, stream),
        9 => renew(run, index, process, stream),
        0 => {
            run.remove(index);
            "left out"
        }
        1 => {
            let again = run[index].clone();
            let later = index + 1 + stream.index((run.len() - index).min(40));
            put(run, later.min(run.len()), again.process, again.observation);
            "again"
        }
        2 => {
            let other = (index + 1 + stream.index(6)).min(run.len() - 1);
            if !is_start(&run[other]) && has_started(run, run[other].process, index) {
                swap(run, index, other);
            }
            "swapped"
        }
        3 => {
            run[index].process = process;
            "elsewhere"
        }
        4 => {
            let observation = end(stream);
            put(run, index, process, observation);
            "ended"
        }
        5 => {
            let last = run.len();
            let process = any_process(run, last, stream);
            let observation = if stream.percent(50) {
                end(stream)
            } else {
                down(run, stream)
            };
            put(run, last, process, observation);
            "ended at the end"
        }
        6 => {
            let observation = down(run, stream);
            put(run, index, process, observation);
            "seen differently"
        }
        _ => {
            change(&mut run[index].observation, stream);
            "changed"
        }
    }
}

/// An observation; each kind is as likely as any other, and heartbeats of the engine are one kind.
fn any(run: &[Recorded], stream: &mut Stream) -> usize {
    loop {
        let wanted = std::mem::discriminant(&run[stream.index(run.len())].observation);
        let same = |r: &Recorded| std::mem::discriminant(&r.observation) == wanted;
        // Kinds are drawn by how often they come; most are rare, so rare ones get a second chance.
        let count = run.iter().filter(|r| same(r)).count();
        if is_rare(count, run.len(), stream) {
            let places: Vec<usize> = (0..run.len()).filter(|&i| same(&run[i])).collect();
            let index = *stream.pick(&places);
            if !is_start(&run[index]) {
                return index;
            }
        }
    }
}

fn is_rare(count: usize, of: usize, stream: &mut Stream) -> bool {
    stream.index(of) >= count || stream.percent(5)
}

fn any_process(run: &[Recorded], before: usize, stream: &mut Stream) -> ProcessId {
    let started: Vec<ProcessId> = run[..before]
        .iter()
        .filter(|recorded| is_start(recorded))
        .map(|recorded| recorded.process)
        .collect();
    *stream.pick(&started)
}

fn is_start(recorded: &Recorded) -> bool {
    matches!(recorded.observation, Observation::Started { .. })
}

fn has_started(run: &[Recorded], process: ProcessId, before: usize) -> bool {
    let mut earlier = run[..before].iter();
    earlier.any(|recorded| is_start(recorded) && recorded.process == process)
}

/// Puts an observation in before another one, at the same time.
fn put(run: &mut Vec<Recorded>, index: usize, process: ProcessId, observation: Observation) {
    let neighbour = run.get(index).or(run.last());
    let at = neighbour.map_or_else(Default::default, |recorded| recorded.at);
    let recorded = Recorded {
        at,
        process,
        observation,
    };
    run.insert(index, recorded);
}

/// Two observations change places; time goes on as it did.
fn swap(run: &mut [Recorded], one: usize, other: usize) {
    run.swap(one, other);
    let at = run[one].at;
    run[one].at = run[other].at;
    run[other].at = at;
}

fn end(stream: &mut Stream) -> Observation {
    match stream.index(3) {
        0 => Observation::Crashed,
        1 => Observation::Left { drained: true },
        _ => Observation::Left { drained: false },
    }
}

/// Somebody says of somebody that it is down, or left.
fn down(run: &[Recorded], stream: &mut Stream) -> Observation {
    let named = |recorded: &Recorded| match &recorded.observation {
        Observation::Started { identity, .. } | Observation::Renewed { identity, .. } => {
            Some(*identity)
        }
        _ => None,
    };
    let known: Vec<Identity> = run.iter().filter_map(named).collect();
    let identity = *stream.pick(&known);
    let event = match stream.index(4) {
        0 => MembershipEvent::Left(identity),
        1 => MembershipEvent::Superseded(identity),
        _ => MembershipEvent::Down(identity),
    };
    Observation::Told(Event::Membership(Box::new(event)))
}

/// A process goes on in another life, and maybe says so to its inboxes.
fn renew(
    run: &mut Vec<Recorded>,
    index: usize,
    process: ProcessId,
    stream: &mut Stream,
) -> &'static str {
    let mut tenures = Vec::new();
    let mut known = None;
    for recorded in run[..index].iter().filter(|r| r.process == process) {
        match &recorded.observation {
            Observation::Started { identity, .. } | Observation::Renewed { identity, .. } => {
                known = Some(*identity);
            }
            Observation::TookUp { inbox, tenure, .. } => tenures.push((*inbox, *tenure)),
            _ => {}
        }
    }
    let identity = known.expect("it has started");
    let ended = identity.epoch;
    if stream.percent(70) {
        put(run, index, process, Observation::AtRest);
    }
    if stream.percent(70) {
        for &(inbox, _) in &tenures {
            let gap = Gap::DeclaredDown { epoch: ended };
            put(run, index, process, Observation::Gapped { inbox, gap });
        }
    }
    let epoch = Epoch(near(ended.0, stream));
    let identity = Identity { epoch, ..identity };
    put(
        run,
        index,
        process,
        Observation::Renewed { identity, tenures },
    );
    if stream.percent(50) {
        let event = MembershipEvent::Down(Identity {
            epoch: ended,
            ..identity
        });
        let told = Observation::Told(Event::Membership(Box::new(event)));
        let by = any_process(run, index, stream);
        put(run, index, by, told);
    }
    "renewed"
}

/// A message and what follows it in its flow never comes to one inbox; maybe that is said to be lost, and maybe its sender is over.
fn lose(run: &mut Vec<Recorded>, stream: &mut Stream) -> &'static str {
    let came: Vec<usize> = (0..run.len())
        .filter(|&index| matches!(run[index].observation, Observation::Delivered(_)))
        .collect();
    if came.is_empty() {
        return "nothing to lose";
    }
    let index = *stream.pick(&came);
    let (at, process) = (run[index].at, run[index].process);
    let Observation::Delivered(lost) = run[index].observation.clone() else {
        unreachable!("only deliveries were picked");
    };
    let mut later = run.split_off(index);
    later.retain(|recorded| match &recorded.observation {
        Observation::Delivered(r) => {
            recorded.process != process
                || (r.inbox, r.origin, r.flow) != (lost.inbox, lost.origin, lost.flow)
        }
        Observation::Consumed { inbox, origin, .. } => {
            recorded.process != process || (*inbox, *origin) != (lost.inbox, lost.origin)
        }
        Observation::Told(Event::Settled { .. }) => false,
        _ => true,
    });
    run.append(&mut later);
    if stream.percent(70) {
        let sender = run.iter().find_map(|recorded| match &recorded.observation {
            Observation::Started { identity, .. } if identity.id == lost.origin.node => {
                Some(recorded.process)
            }
            _ => None,
        });
        let place = if stream.percent(50) { index } else { run.len() };
        put(run, place, sender.unwrap_or(process), end(stream));
    }
    if stream.percent(50) {
        let (first, count) = (lost.first, u64::from(lost.batch.count()));
        let last = rolecast_protocol::Seq(first.0 + count - 1);
        let gap = Gap::Range {
            origin: lost.origin,
            flow: lost.flow,
            first,
            last,
        };
        let inbox = lost.inbox;
        put(run, run.len(), process, Observation::Gapped { inbox, gap });
    }
    if stream.percent(30) {
        let again = Recorded {
            at: run.last().map_or(at, |last| last.at),
            process,
            observation: Observation::Delivered(lost),
        };
        run.push(again);
    }
    "lost"
}

/// Any mode that a flow can have.
fn mode(stream: &mut Stream) -> Mode {
    let dissemination = *stream.pick(Dissemination::ALL.as_slice());
    let k_safe = match dissemination {
        Dissemination::BestEffort => 1,
        _ => *stream.pick(&[1, 2, 2, 3]),
    };
    let order = match dissemination {
        Dissemination::BestEffort => Order::Fifo,
        Dissemination::Gossip { .. } => *stream.pick(&[Order::Unordered, Order::Fifo]),
        _ => *stream.pick(&Order::ALL),
    };
    Mode {
        dissemination,
        order,
        k_safe,
    }
}

/// Says something else than was observed.
fn change(observation: &mut Observation, stream: &mut Stream) {
    let forged = || Bytes::from_static(b"forged");
    match observation {
        Observation::Delivered(r) => match stream.index(6) {
            0 => r.batch = Batch::single(forged(), None),
            1 => r.first.0 = near(r.first.0, stream),
            2 => r.origin.epoch.0 = near(r.origin.epoch.0, stream),
            3 => r.flow.0 = nearby(r.flow.0, stream),
            4 => r.inbox = other_inbox(r.inbox, stream),
            _ => shorten(&mut r.batch),
        },
        Observation::Sent(s) => match stream.index(5) {
            0 => s.first.0 = near(s.first.0, stream),
            1 => s.last.0 = near(s.last.0, stream),
            2 => s.members += 1,
            3 => s.mode = mode(stream),
            _ => alter_holders(&mut s.holders, &mut s.members, stream),
        },
        Observation::Gapped { inbox, gap } => match gap {
            _ if stream.percent(20) => *inbox = other_inbox(*inbox, stream),
            Gap::Range { first, last, .. } => match stream.index(2) {
                0 => first.0 = near(first.0, stream),
                _ => last.0 = near(last.0, stream),
            },
            Gap::DeclaredDown { epoch } => epoch.0 = near(epoch.0, stream),
        },
        Observation::Begun { inbox, started } => match stream.index(3) {
            0 => *inbox = other_inbox(*inbox, stream),
            1 => started.replayed = near(started.replayed, stream),
            _ => started.first.0 = near(started.first.0, stream),
        },
        Observation::Consumed { inbox, upto, .. } => match stream.index(3) {
            0 => *inbox = other_inbox(*inbox, stream),
            _ => *upto = near(*upto, stream),
        },
        Observation::Dropped { inbox } => *inbox = other_inbox(*inbox, stream),
        Observation::TookUp { inbox, tenure, .. } => match stream.index(2) {
            0 => *inbox = other_inbox(*inbox, stream),
            _ => tenure.0 = near(tenure.0, stream),
        },
        Observation::Renewed { identity, tenures } => match stream.index(3) {
            0 => identity.epoch = Epoch(near(identity.epoch.0, stream).min(3)),
            1 => tenures.clear(),
            _ => identity.epoch.0 = near(identity.epoch.0, stream),
        },
        Observation::Calls(calling) => match (stream.index(3), &mut calling.to) {
            (0, _) => calling.call.0 = near(calling.call.0, stream),
            (1, Callee::One { payload, .. }) => *payload = forged(),
            (1, Callee::All(members)) => drop(members.pop()),
            _ => calling.deadline = sooner_or_later(calling.deadline, stream),
        },
        Observation::Cancels { call } => call.0 = near(call.0, stream),
        Observation::Called(called) => match stream.index(5) {
            0 => called.payload = forged(),
            1 => called.wants_reply ^= true,
            2 => called.from.call.0 = near(called.from.call.0, stream),
            3 => called.from.origin.epoch.0 = near(called.from.origin.epoch.0, stream),
            _ => called.inbox = other_inbox(called.inbox, stream),
        },
        Observation::Replies { to, answer } => match stream.index(3) {
            0 => to.call.0 = near(to.call.0, stream),
            1 => *answer = Ok(forged()),
            _ => *answer = Err(Refusal::Dropped),
        },
        Observation::Told(event) => change_event(event, stream),
        Observation::Left { drained } => *drained ^= true,
        Observation::Crashed => *observation = Observation::Left { drained: true },
        Observation::AsksForPast { messages, .. } => *messages = nearby(*messages, stream),
        Observation::Evicts { flow, after } => match stream.percent(50) {
            true => flow.0 = nearby(flow.0, stream),
            false => *after *= 2,
        },
        Observation::Refused { flow } | Observation::KeepsLast { flow } => {
            flow.0 = nearby(flow.0, stream);
        }
        Observation::Lagged { inbox, lagged } => match stream.index(4) {
            0 => *inbox = other_inbox(*inbox, stream),
            1 => lagged.first.0 = near(lagged.first.0, stream),
            2 => lagged.last.0 = near(lagged.last.0, stream),
            _ => {
                lagged.reason = match lagged.reason {
                    LagReason::Evicted => LagReason::Superseded,
                    LagReason::Superseded => LagReason::Evicted,
                }
            }
        },
        Observation::ClockSet { .. }
        | Observation::Started { .. }
        | Observation::Resumed
        | Observation::Announced { .. }
        | Observation::Ended { .. }
        | Observation::LargeEnded { .. }
        | Observation::AtRest => {}
    }
}

fn change_event(event: &mut Event, stream: &mut Stream) {
    match event {
        Event::Settled { flow, upto } => match stream.index(3) {
            0 => flow.0 = nearby(flow.0, stream),
            _ => upto.0 = near(upto.0, stream),
        },
        Event::Evicted { after, upto, .. } | Event::Lags { after, upto, .. } => {
            let end = if stream.percent(50) { after } else { upto };
            end.0 = near(end.0, stream);
        }
        Event::Superseded { first, last, .. } => {
            let end = if stream.percent(50) { first } else { last };
            end.0 = near(end.0, stream);
        }
        Event::Lost { upto, .. } => upto.0 = near(upto.0, stream),
        Event::Cancelled(to) => to.call.0 = near(to.call.0, stream),
        Event::Answered {
            call,
            node,
            answer,
            last,
        } => match stream.index(5) {
            0 => call.0 = near(call.0, stream),
            1 => *node = None,
            2 => *last ^= true,
            _ => *answer = any_answer(stream),
        },
        Event::Membership(event) => {
            if let MembershipEvent::Down(identity) | MembershipEvent::Left(identity) = &mut **event
            {
                identity.epoch.0 = near(identity.epoch.0, stream);
            }
        }
        _ => {}
    }
}

fn any_answer(stream: &mut Stream) -> Answer {
    let answers = [
        Answer::Taken,
        Answer::Reply(Bytes::from_static(b"answer")),
        Answer::Refused(Refusal::Busy),
        Answer::Refused(Refusal::Dropped),
        Answer::NotSent,
        Answer::Unknown,
        Answer::TimedOut,
    ];
    stream.pick(&answers).clone()
}

/// One holder is left out, or held the role at another time.
fn alter_holders(
    holders: &mut Arc<[rolecast_sim::check::Holder]>,
    members: &mut usize,
    stream: &mut Stream,
) {
    let mut some = holders.to_vec();
    if some.is_empty() {
        return;
    }
    let index = stream.index(some.len());
    if stream.percent(50) {
        some.remove(index);
        *members = members.saturating_sub(1);
    } else {
        some[index].tenure.0 = near(some[index].tenure.0, stream);
    }
    *holders = some.into();
}

/// The batch without its last message, unless that is its only one.
fn shorten(batch: &mut Batch) {
    let mut messages: Vec<_> = batch.clone().into_messages().collect();
    messages.pop();
    let mut builder = rolecast_protocol::BatchBuilder::new();
    for message in messages {
        builder.push(&message.payload, message.call);
    }
    if let Some(shorter) = builder.take() {
        *batch = shorter;
    }
}

fn near(number: u64, stream: &mut Stream) -> u64 {
    let by = stream.between(1, 3);
    match stream.percent(50) {
        true => number.saturating_sub(by),
        false => number + by,
    }
}

fn nearby(number: u32, stream: &mut Stream) -> u32 {
    u32::try_from(near(u64::from(number), stream)).expect("numbers of flows are small")
}

fn other_inbox(inbox: InboxId, stream: &mut Stream) -> InboxId {
    InboxId(near(inbox.0, stream))
}

fn sooner_or_later(
    deadline: rolecast_membership::Time,
    stream: &mut Stream,
) -> rolecast_membership::Time {
    if stream.percent(50) {
        deadline + Duration::from_secs(20)
    } else {
        Default::default()
    }
}

//! What applications do: ask, take, answer.

use std::time::Duration;

use bytes::Bytes;
use rolecast_membership::{RoleName, Time};
use rolecast_protocol::{
    Accepted, Batch, CallError, CallKind, FlowId, InboxId, Input, Mode, MulticastError, Pick,
    SlowMembers, TakeUpError, Target,
};

use super::{Happening, World};
use crate::application::{Answering, Sender, batch, payload};
use crate::check::{Broken, Callee, Calling, Observation, ProcessId, Sending, Violation};
use crate::plan::Slot;
use crate::probe::sometimes;
use crate::workload::{Ask, Choice, RoleIndex};

impl World<'_> {
    pub(super) fn operate(&mut self, now: Time, number: u32) -> Result<(), Violation> {
        let scenario = self.scenario;
        let operation = &scenario.workload.operations[number as usize];
        let Some(process) = self.places[usize::from(operation.node)].current else {
            return Ok(());
        };
        if self.processes[process.0 as usize].leaving {
            return Ok(());
        }
        self.trace
            .note(now, self.name(process), 4, u64::from(operation.id), &[]);
        self.trace.line(
            now,
            self.name(process),
            format_args!("asks: {:?}", operation.ask),
        );
        let mark = u64::from(operation.id) + 1;
        match operation.ask {
            Ask::Multicast {
                role,
                mode,
                count,
                bytes,
            } => {
                let (slow, keys) = scenario.workload.slow_holders(operation.node, mode);
                let flow = self.flow(now, process, role, (mode, slow))?;
                let batch = batch(mark, count, bytes, keys);
                let app = &mut self.processes[process.0 as usize].app;
                match app.queue(flow, batch) {
                    Some(batch) => self.send(now, process, flow, batch),
                    None => Ok(()),
                }
            }
            Ask::Large { .. } => self.begin_large(now, process, &operation.ask, mark),
            Ask::Gather {
                role,
                mode,
                bytes,
                within_us,
            } => {
                let flow = self.flow(now, process, role, (mode, SlowMembers::Wait))?;
                let deadline = self.clock(process).at(now) + Duration::from_micros(within_us);
                self.gather(now, process, flow, payload(mark << 8, bytes), deadline)
            }
            Ask::Anycast {
                role,
                choice,
                request,
                bytes,
                within_us,
            } => {
                let target = Target::Any(self.role(role), pick(choice));
                let deadline = self.clock(process).at(now) + Duration::from_micros(within_us);
                self.call(
                    now,
                    process,
                    target,
                    request,
                    payload(mark << 8, bytes),
                    deadline,
                )
            }
            Ask::Unicast {
                to,
                role,
                request,
                bytes,
                within_us,
            } => {
                let Some(target) = self.target(to, role) else {
                    return Ok(());
                };
                let deadline = self.clock(process).at(now) + Duration::from_micros(within_us);
                self.call(
                    now,
                    process,
                    target,
                    request,
                    payload(mark << 8, bytes),
                    deadline,
                )
            }
            Ask::Cancel => self.cancel(now, process),
            Ask::TakeUp { role } if role < scenario.workload.roles => {
                self.take_up(now, process, usize::from(role))
            }
            Ask::Drop { role } if role < scenario.workload.roles => {
                self.drop_role(now, process, role)
            }
            Ask::TakeUp { .. } | Ask::Drop { .. } => Ok(()),
            Ask::Move { site } => self.move_to(now, process, site),
        }
    }

    pub(super) fn take_up(
        &mut self,
        now: Time,
        process: ProcessId,
        role: usize,
    ) -> Result<(), Violation> {
        let role = self.roles[role].clone();
        let slot = self.name(process).slot;
        let replay = self.scenario.workload.replay(slot);
        let entry = &mut self.processes[process.0 as usize];
        let held = entry.app.inbox_of(&role).is_some();
        let shown = entry.clock.at(now);
        match entry.engine.take_up_with(shown, role.clone(), replay) {
            Ok(inbox) if !held => {
                entry.app.open_inbox(inbox, role.clone());
                entry.forget_destinations();
                let Some(tenure) = entry.tenure(&role) else {
                    return self.complain(
                        now,
                        process,
                        format!("{role:?} was taken up without a tenure"),
                    );
                };
                self.observe(
                    now,
                    process,
                    Observation::TookUp {
                        inbox,
                        role: role.clone(),
                        tenure,
                    },
                )?;
                if replay > 0 {
                    let messages = replay;
                    let asks = Observation::AsksForPast { inbox, messages };
                    self.observe(now, process, asks)?;
                }
                self.open_narrowed(now, process, inbox, &role, replay)?;
            }
            Err(TakeUpError::Held) if held => {}
            other => {
                return self.complain(now, process, format!("taking up {role:?} gave {other:?}"));
            }
        }
        self.carry_out(now, process)
    }

    fn drop_role(
        &mut self,
        now: Time,
        process: ProcessId,
        role: RoleIndex,
    ) -> Result<(), Violation> {
        let role = self.role(role);
        let entry = &mut self.processes[process.0 as usize];
        let Some(inbox) = entry.app.inbox_of(&role) else {
            return Ok(());
        };
        let left = entry.app.close_inbox(inbox);
        sometimes!(self.reached, DroppedUntaken, if !left.is_empty());
        entry.forget_destinations();
        entry.engine.drop_role(entry.clock.at(now), inbox);
        self.observe(now, process, Observation::Dropped { inbox })?;
        self.close_narrowed(now, process, inbox)?;
        self.carry_out(now, process)?;
        // Whoever drops an inbox drops the requests in it.
        for to in left.into_iter().flat_map(|item| item.requests) {
            let answer = Err(rolecast_protocol::Refusal::Dropped);
            self.reply(now, process, Answering { to, answer })?;
        }
        Ok(())
    }

    pub(super) fn take(
        &mut self,
        now: Time,
        process: ProcessId,
        inbox: InboxId,
    ) -> Result<(), Violation> {
        let app = &mut self.processes[process.0 as usize].app;
        let (taken, again) = app.take(now, inbox);
        if let Some(again) = again {
            self.schedule.put(again, Happening::Take { process, inbox });
        }
        for item in taken {
            if let Some((origin, flow, upto)) = item.upto {
                let observation = Observation::Consumed {
                    inbox: item.seen_in,
                    origin,
                    flow,
                    upto,
                };
                self.observe(now, process, observation)?;
            }
            for to in item.requests {
                let app = &mut self.processes[process.0 as usize].app;
                if let Some((at, number)) = app.think(now, to) {
                    self.schedule.put(at, Happening::Answer { process, number });
                }
            }
            if let Some(ticket) = item.ticket {
                self.input(now, process, Input::Consumed { ticket })?;
            }
        }
        Ok(())
    }

    pub(super) fn answer(
        &mut self,
        now: Time,
        process: ProcessId,
        number: u32,
    ) -> Result<(), Violation> {
        match self.processes[process.0 as usize].app.answer(number) {
            Some(answering) => self.reply(now, process, answering),
            None => Ok(()),
        }
    }

    fn reply(
        &mut self,
        now: Time,
        process: ProcessId,
        Answering { to, answer }: Answering,
    ) -> Result<(), Violation> {
        let observation = Observation::Replies {
            to,
            answer: answer.clone(),
        };
        self.observe(now, process, observation)?;
        // Whoever asked may be gone, and that is all that an application can learn.
        let _ = self.tell(now, process, |engine, now| engine.reply(now, to, answer));
        self.carry_out(now, process)
    }

    pub(super) fn retry(
        &mut self,
        now: Time,
        process: ProcessId,
        flow: FlowId,
    ) -> Result<(), Violation> {
        let app = &mut self.processes[process.0 as usize].app;
        if let Some(sender) = app.senders.get_mut(&flow) {
            sender.blocked = false;
        }
        loop {
            let app = &mut self.processes[process.0 as usize].app;
            let Some(sender) = app.senders.get_mut(&flow) else {
                return Ok(());
            };
            if sender.blocked {
                return Ok(());
            }
            let Some(batch) = sender.waiting.pop_front() else {
                return Ok(());
            };
            self.send(now, process, flow, batch)?;
        }
    }

    pub(super) fn flow(
        &mut self,
        now: Time,
        process: ProcessId,
        role: RoleIndex,
        (mode, slow): (Mode, SlowMembers),
    ) -> Result<FlowId, Violation> {
        let role = self.role(role);
        let entry = &mut self.processes[process.0 as usize];
        let key = (role.clone(), mode, slow);
        if let Some(&flow) = entry.app.flows.get(&key) {
            return Ok(flow);
        }
        let shown = entry.clock.at(now);
        match entry.engine.open_flow_for(shown, role.clone(), mode, slow) {
            Ok(flow) => {
                let sender = Sender {
                    role,
                    mode,
                    slow,
                    waiting: Default::default(),
                    evicted: Vec::new(),
                    blocked: false,
                };
                entry.app.flows.insert(key, flow);
                entry.app.senders.insert(flow, sender);
                match slow {
                    SlowMembers::Wait => {}
                    SlowMembers::Evict { after } => {
                        self.observe(now, process, Observation::Evicts { flow, after })?;
                    }
                    SlowMembers::KeepLast => {
                        self.observe(now, process, Observation::KeepsLast { flow })?;
                    }
                }
                self.carry_out(now, process)?;
                Ok(flow)
            }
            Err(why) => {
                let what = format!("a flow to {role:?} was refused: {why}");
                Err(self.violation(now, process, Broken::Command { what }))
            }
        }
    }

    fn send(
        &mut self,
        now: Time,
        process: ProcessId,
        flow: FlowId,
        batch: Batch,
    ) -> Result<(), Violation> {
        let entry = &mut self.processes[process.0 as usize];
        let holders = entry.destinations_of(flow);
        match entry
            .engine
            .multicast(entry.clock.at(now), flow, batch.clone())
        {
            Ok(accepted) => {
                let sending = self.sending(process, flow, &accepted, holders, batch);
                self.observe(now, process, Observation::Sent(sending))?;
            }
            Err(MulticastError::Full) if entry.app.senders[&flow].slow == SlowMembers::KeepLast => {
                let what = "a flow that keeps the last of each key has to wait".to_string();
                return self.complain(now, process, what);
            }
            Err(MulticastError::Full) => {
                self.statistics.refused_full += 1;
                self.reached.note_refused(flow);
                let sender = entry
                    .app
                    .senders
                    .get_mut(&flow)
                    .expect("it was just looked up");
                sender.blocked = true;
                sender.waiting.push_front(batch);
                self.observe(now, process, Observation::Refused { flow })?;
            }
            Err(MulticastError::TooFewHolders {
                holders: seen,
                wanted,
            }) if seen == holders.len() && seen < wanted => {
                sometimes!(self.reached, TooFewHolders);
            }
            Err(MulticastError::Leaving) if entry.leaving => {}
            Err(why) => return self.complain(now, process, format!("a multicast: {why}")),
        }
        self.carry_out(now, process)
    }

    fn gather(
        &mut self,
        now: Time,
        process: ProcessId,
        flow: FlowId,
        payload: Bytes,
        deadline: Time,
    ) -> Result<(), Violation> {
        let entry = &mut self.processes[process.0 as usize];
        let role = entry.app.senders[&flow].role.clone();
        let holders = entry.destinations(&role);
        match entry
            .engine
            .gather(entry.clock.at(now), flow, payload.clone(), deadline)
        {
            Ok((call, accepted)) => {
                entry.app.calls.push_back(call);
                let to = Callee::All(holders.iter().map(|holder| holder.node).collect());
                let batch = Batch::single(payload, Some(call));
                let sending = self.sending(process, flow, &accepted, holders, batch);
                self.statistics.calls += 1;
                let calling = Calling { call, to, deadline };
                self.observe(now, process, Observation::Calls(calling))?;
                self.observe(now, process, Observation::Sent(sending))?;
            }
            Err(MulticastError::Full | MulticastError::TooManyCalls { .. }) => {}
            Err(MulticastError::NoHolder) if holders.is_empty() => {}
            Err(MulticastError::TooFewHolders { wanted, .. }) if holders.len() < wanted => {}
            Err(MulticastError::Leaving) if entry.leaving => {}
            Err(why) => return self.complain(now, process, format!("a gather: {why}")),
        }
        self.carry_out(now, process)
    }

    pub(super) fn sending(
        &mut self,
        process: ProcessId,
        flow: FlowId,
        accepted: &Accepted,
        holders: std::sync::Arc<[crate::check::Holder]>,
        batch: Batch,
    ) -> Sending {
        self.statistics.messages += u64::from(batch.count());
        let sender = &self.processes[process.0 as usize].app.senders[&flow];
        Sending {
            flow,
            role: sender.role.clone(),
            mode: sender.mode,
            first: accepted.first,
            last: accepted.last,
            members: accepted.members,
            holders,
            batch,
        }
    }

    fn call(
        &mut self,
        now: Time,
        process: ProcessId,
        target: Target,
        request: bool,
        payload: Bytes,
        deadline: Time,
    ) -> Result<(), Violation> {
        let kind = if request {
            CallKind::Request
        } else {
            CallKind::OneWay
        };
        let entry = &mut self.processes[process.0 as usize];
        let to = Callee::One {
            target: target.clone(),
            kind,
            payload: payload.clone(),
        };
        match entry
            .engine
            .call(entry.clock.at(now), target.clone(), kind, payload, deadline)
        {
            Ok(call) => {
                entry.app.calls.push_back(call);
                self.statistics.calls += 1;
                let calling = Calling { call, to, deadline };
                self.observe(now, process, Observation::Calls(calling))?;
            }
            Err(CallError::NoHolder) => {
                sometimes!(self.reached, NoHolder);
                if let Target::Any(role, _) = &target
                    && !entry.engine.holders(role).is_empty()
                {
                    let what = format!("a call to {role:?} found no holder, but holders are seen");
                    return self.complain(now, process, what);
                }
            }
            Err(CallError::TooManyCalls { .. }) => sometimes!(self.reached, TooManyCalls),
            Err(CallError::Full) => {}
            Err(CallError::Leaving) if entry.leaving => {}
            Err(why) => return self.complain(now, process, format!("a call: {why}")),
        }
        self.carry_out(now, process)
    }

    fn cancel(&mut self, now: Time, process: ProcessId) -> Result<(), Violation> {
        let entry = &mut self.processes[process.0 as usize];
        let Some(call) = entry.app.calls.pop_front() else {
            return Ok(());
        };
        self.observe(now, process, Observation::Cancels { call })?;
        self.tell(now, process, |engine, now| engine.cancel(now, call));
        self.carry_out(now, process)
    }

    fn target(&self, to: Slot, role: RoleIndex) -> Option<Target> {
        let process = self.places[usize::from(to)].current?;
        Some(Target::Node(
            self.processes[process.0 as usize].node,
            self.role(role),
        ))
    }

    pub(super) fn role(&self, role: RoleIndex) -> RoleName {
        self.roles[usize::from(role)].clone()
    }

    pub(super) fn complain(
        &self,
        now: Time,
        process: ProcessId,
        what: String,
    ) -> Result<(), Violation> {
        Err(self.violation(now, process, Broken::Command { what }))
    }
}

fn pick(choice: Choice) -> Pick {
    match choice {
        Choice::RoundRobin => Pick::RoundRobin,
        Choice::LeastOutstanding => Pick::LeastOutstanding,
        Choice::Sticky(key) => Pick::Sticky(Bytes::copy_from_slice(&[key])),
    }
}

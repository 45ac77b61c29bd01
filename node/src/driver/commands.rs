//! What the handles ask for.

use rolecast_membership::Description;

use super::Driver;
use crate::command::Command;
use crate::simulation::Sight;

impl Driver {
    pub(super) fn on_command(&mut self, command: Command) {
        match command {
            Command::Call {
                target,
                kind,
                payload,
                deadline,
                slot,
                cost,
            } => {
                self.call(target, kind, payload, deadline, slot);
                self.shared.release_calls(cost);
            }
            Command::Reply(reply) => self.reply(reply),
            Command::Cancel { call } => self.cancel_call(&call),
            Command::AwaitCancel { to, done } => self.await_cancel(to, done),
            Command::Register { role, replay, done } => self.register(role, replay, done),
            Command::Unregister { inbox, done } => self.unregister(inbox, done),
            Command::Broadcasts { done } => self.take_broadcasts(done),
            Command::Follow { role, done } => {
                let holders = self.engine.holders(&role.name);
                role.set_holders(holders.clone());
                // Whoever asked may have gone.
                drop(done.map(|done| done.send(holders)));
            }
            Command::Matching { pattern, done } => {
                drop(done.send(self.engine.matching(&pattern)));
            }
            Command::Describe { change, done } => {
                let mut description = Description::of(self.engine.record());
                change.apply(&mut description);
                self.witnessed.saw(&self.engine, || Sight::Asks);
                let described = self.engine.describe(self.now, description);
                self.witnessed.saw(&self.engine, || Sight::Described);
                drop(done.send(described));
            }
            Command::Open { outbox, done } => self.open_flow(&outbox, done),
            Command::AwaitLarge { outbox } => {
                if let Some(flow) = outbox.flow() {
                    self.engine.await_large(self.now, flow);
                }
            }
            Command::FollowAcknowledgements { outbox } => self.flows.follow(outbox),
            Command::Seeds { addrs } => self.engine.set_seeds(self.now, addrs),
            Command::Members { done } => {
                // Whoever asked may have gone.
                let _ = done.send(self.members());
            }
            Command::Watch { queue } => self.watchers.push(queue),
            #[cfg(feature = "simulation")]
            Command::Sever { peer } => self.sever(peer),
            Command::Shutdown { reason, patience } => self.begin_shutdown(reason, patience),
        }
    }
}

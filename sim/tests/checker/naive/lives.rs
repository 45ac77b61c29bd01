//! Who lived when, and held what.

use std::collections::BTreeSet;

use rolecast_membership::{
    Epoch, Event as MembershipEvent, Identity, NodeId, RoleName, Tenure, Time,
};
use rolecast_protocol::{Event, Gap, InboxId, Origin};
use rolecast_sim::check::{Holder, Observation, ProcessId};

use super::{History, Promise, if_broken};

/// One life of one process.
#[derive(Clone, Copy)]
pub(super) struct Life {
    pub(super) process: ProcessId,
    pub(super) node: NodeId,
    pub(super) epoch: Epoch,
    pub(super) goes: Goes,
}

/// How a life goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Goes {
    On,
    Crashed,
    Renewed,
    Left { drained: bool },
}

/// An inbox in one life of its process.
#[derive(Clone)]
pub(super) struct Seat {
    pub(super) process: ProcessId,
    pub(super) inbox: InboxId,
    pub(super) role: RoleName,
    pub(super) node: NodeId,
    pub(super) epoch: Epoch,
    pub(super) tenure: Tenure,
    /// From which observation up to which it was this one's turn.
    pub(super) from: usize,
    pub(super) until: usize,
    /// At which observation nothing could be put into it any more.
    pub(super) closed: Option<usize>,
    /// Whether that is because the role was dropped.
    pub(super) dropped: bool,
}

impl Life {
    pub(super) fn origin(&self) -> Origin {
        let (node, epoch) = (self.node, self.epoch);
        Origin { node, epoch }
    }
}

impl Seat {
    pub(super) fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    pub(super) fn is(&self, holder: &Holder, role: &RoleName) -> bool {
        let same = self.node == holder.node && self.epoch == holder.epoch;
        same && self.tenure == holder.tenure && self.role == *role
    }
}

impl History<'_> {
    /// All lives so far.
    fn lives(self) -> Vec<Life> {
        let mut lives: Vec<Life> = Vec::new();
        for recorded in self.0 {
            let process = recorded.process;
            let before = lives.iter_mut().rev().find(|life| life.process == process);
            let (identity, goes) = match &recorded.observation {
                Observation::Started { identity, .. } => (Some(identity), Goes::On),
                Observation::Renewed { identity, .. } => (Some(identity), Goes::Renewed),
                Observation::Crashed => (None, Goes::Crashed),
                &Observation::Left { drained } => (None, Goes::Left { drained }),
                _ => continue,
            };
            if let Some(before) = before {
                before.goes = goes;
            }
            lives.extend(identity.map(|identity| Life {
                process,
                node: identity.id,
                epoch: identity.epoch,
                goes: Goes::On,
            }));
        }
        lives
    }

    pub(super) fn life(self, node: NodeId, epoch: Epoch) -> Option<Life> {
        let mut lives = self.lives().into_iter().rev();
        lives.find(|life| (life.node, life.epoch) == (node, epoch))
    }

    pub(super) fn life_of(self, origin: Origin) -> Option<Life> {
        self.life(origin.node, origin.epoch)
    }

    /// The present life of a process, which started.
    pub(super) fn present(self, process: ProcessId) -> Life {
        let mut lives = self.lives().into_iter().rev();
        let present = lives.find(|life| life.process == process);
        present.expect("only processes that started do something")
    }

    pub(super) fn ever_renewed(self, process: ProcessId) -> bool {
        let mut lives = self.lives().into_iter();
        lives.any(|life| life.process == process && life.goes == Goes::Renewed)
    }

    /// When anybody said that this life is over.
    fn declared_down(self, node: NodeId, epoch: Epoch) -> impl Iterator<Item = Time> {
        self.0.iter().filter_map(move |recorded| {
            let Observation::Told(Event::Membership(event)) = &recorded.observation else {
                return None;
            };
            let named = matches!(**event, MembershipEvent::Down(identity) if (identity.id, identity.epoch) == (node, epoch));
            named.then_some(recorded.at)
        })
    }

    pub(super) fn was_declared_down(self, node: NodeId, epoch: Epoch, since: Time) -> bool {
        self.declared_down(node, epoch).any(|at| at >= since)
    }

    /// Lives on, and nobody said otherwise since then.
    pub(super) fn is_correct(self, node: NodeId, epoch: Epoch, since: Time) -> bool {
        let life = self.life(node, epoch);
        life.is_some_and(|life| life.goes == Goes::On)
            && !self.was_declared_down(node, epoch, since)
    }

    /// Whether anything ever happened to a life.
    pub(super) fn is_blemished(self, life: Life) -> bool {
        life.goes != Goes::On || self.was_declared_down(life.node, life.epoch, Time::ZERO)
    }

    /// Every inbox in every life.
    pub(super) fn seats(self) -> Vec<Seat> {
        let mut seats = Vec::new();
        for (index, recorded) in self.0.iter().enumerate() {
            let Observation::TookUp {
                inbox,
                role,
                tenure,
            } = &recorded.observation
            else {
                continue;
            };
            let life = History(&self.0[..index]).present(recorded.process);
            let mut seat = Seat {
                process: recorded.process,
                inbox: *inbox,
                role: role.clone(),
                node: life.node,
                epoch: life.epoch,
                tenure: *tenure,
                from: index,
                until: self.0.len(),
                closed: None,
                dropped: false,
            };
            for (later, recorded) in self
                .of(recorded.process)
                .filter(|(later, _)| *later > index)
            {
                match &recorded.observation {
                    Observation::Dropped { inbox } if *inbox == seat.inbox => {
                        seat.closed.get_or_insert(later);
                        seat.dropped = true;
                    }
                    Observation::Crashed | Observation::Left { .. } => {
                        seat.closed.get_or_insert(later);
                    }
                    Observation::Renewed { identity, tenures } if seat.is_open() => {
                        let Some((_, tenure)) = tenures.iter().find(|(id, _)| *id == seat.inbox)
                        else {
                            continue;
                        };
                        let next = Seat {
                            epoch: identity.epoch,
                            tenure: *tenure,
                            from: later,
                            ..seat.clone()
                        };
                        seat.until = later;
                        seat.closed = Some(later);
                        seats.push(std::mem::replace(&mut seat, next));
                    }
                    _ => {}
                }
            }
            seats.push(seat);
        }
        seats
    }

    /// The seat of an inbox at present.
    pub(super) fn seat(self, process: ProcessId, inbox: InboxId) -> Option<Seat> {
        let mut seats = self.seats().into_iter().rev();
        seats.find(|seat| seat.process == process && seat.inbox == inbox)
    }

    pub(super) fn open_seat(self, process: ProcessId, inbox: InboxId) -> Option<Seat> {
        self.seat(process, inbox).filter(Seat::is_open)
    }

    pub(super) fn renews(
        self,
        process: ProcessId,
        identity: &Identity,
        tenures: &[(InboxId, Tenure)],
    ) -> BTreeSet<Promise> {
        let mut broken = if_broken(identity.epoch <= self.present(process).epoch, "epochs");
        let mut seats = self.seats().into_iter();
        let lost = seats.any(|seat| {
            let own = seat.process == process && seat.is_open();
            own && !tenures.iter().any(|(inbox, _)| *inbox == seat.inbox)
        });
        broken.extend(if_broken(lost, "commands"));
        broken
    }

    pub(super) fn takes_up(
        self,
        process: ProcessId,
        inbox: InboxId,
        role: &RoleName,
        tenure: Tenure,
    ) -> BTreeSet<Promise> {
        let life = self.present(process);
        let holder = Holder {
            node: life.node,
            epoch: life.epoch,
            tenure,
        };
        let mut seats = self.seats().into_iter();
        let used = seats
            .any(|seat| seat.is(&holder, role) || (seat.process == process && seat.inbox == inbox));
        if_broken(used, "commands")
    }

    /// An inbox hears that a life of its node is over.
    pub(super) fn hears_of_renewal(
        self,
        process: ProcessId,
        inbox: InboxId,
        epoch: Epoch,
    ) -> BTreeSet<Promise> {
        if self.open_seat(process, inbox).is_none() {
            return BTreeSet::from(["inboxes"]);
        }
        let node = self.present(process).node;
        let Some(life) = self.life(node, epoch) else {
            return BTreeSet::from(["gaps"]);
        };
        let declares_others = self.of(process).any(|(_, recorded)| {
            let Observation::Told(Event::Membership(event)) = &recorded.observation else {
                return false;
            };
            matches!(**event, MembershipEvent::Down(_))
        });
        let mut lives = self.lives().into_iter();
        let declared = lives
            .any(|life| life.node == node && self.was_declared_down(node, life.epoch, Time::ZERO));
        // Whoever never said that it is there may have taken it for dead without a word.
        let silent = self.processes() > self.noticed_by(life).len() + 1;
        let again = self.was_told(process, inbox, epoch);
        if_broken(again || !(declares_others || declared || silent), "gaps")
    }

    fn processes(self) -> usize {
        let started = |o: &Observation| matches!(o, Observation::Started { .. });
        let all = self.0.iter();
        all.filter(|recorded| started(&recorded.observation))
            .count()
    }

    fn noticed_by(self, life: Life) -> BTreeSet<ProcessId> {
        let named = |identity: Identity| (identity.id, identity.epoch) == (life.node, life.epoch);
        let notices = self.0.iter().filter(|recorded| {
            let Observation::Told(Event::Membership(event)) = &recorded.observation else {
                return false;
            };
            subject(event).is_some_and(named)
        });
        notices.map(|recorded| recorded.process).collect()
    }

    fn was_told(self, process: ProcessId, inbox: InboxId, epoch: Epoch) -> bool {
        let wanted = Gap::DeclaredDown { epoch };
        self.of(process).any(|(_, recorded)| {
            let Observation::Gapped { inbox: at, gap } = &recorded.observation else {
                return false;
            };
            *at == inbox && *gap == wanted
        })
    }

    /// The engine has nothing more to say: each inbox that is open heard of every life that ended under it.
    pub(super) fn rests(self, process: ProcessId) -> BTreeSet<Promise> {
        let seats = self.seats();
        let open = seats
            .iter()
            .filter(|seat| seat.process == process && seat.is_open());
        let untold = open.flat_map(|open| {
            let before = seats.iter().filter(|seat| {
                seat.process == process && seat.inbox == open.inbox && !seat.is_open()
            });
            before.filter(|seat| !self.was_told(process, seat.inbox, seat.epoch))
        });
        if_broken(untold.count() > 0, "once or Gap")
    }

    /// A node says something about the mesh.
    pub(super) fn sees(self, process: ProcessId, event: &MembershipEvent) -> BTreeSet<Promise> {
        let later = |than: Identity| {
            let lives = self.lives().into_iter();
            lives.filter(move |life| life.node == than.id && life.epoch >= than.epoch)
        };
        let unknown = |identity: Identity| self.life(identity.id, identity.epoch).is_none();
        match event {
            MembershipEvent::Down(identity) => if_broken(unknown(*identity), "no creation"),
            MembershipEvent::Left(identity) => {
                let left = later(*identity).any(|life| matches!(life.goes, Goes::Left { .. }));
                match unknown(*identity) {
                    true => BTreeSet::from(["no creation"]),
                    false => if_broken(!left, "membership"),
                }
            }
            MembershipEvent::Superseded(_) => {
                let own = self.present(process);
                let mut lives = self.lives().into_iter();
                let other = lives.any(|life| {
                    life.node == own.node && life.epoch >= own.epoch && life.process != process
                });
                if_broken(!other, "membership")
            }
            other => if_broken(subject(other).is_some_and(unknown), "no creation"),
        }
    }
}

/// Who is said to be there.
fn subject(event: &MembershipEvent) -> Option<Identity> {
    match event {
        MembershipEvent::Joined(record)
        | MembershipEvent::Updated { after: record, .. }
        | MembershipEvent::Replaced { after: record, .. } => Some(record.identity),
        _ => None,
    }
}

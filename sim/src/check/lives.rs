//! Who really lived when, and held what: the truth against which views are measured.

use std::collections::{BTreeMap, BTreeSet};

use rolecast_membership::{Epoch, Identity, NodeId, RoleName, Tenure, Time};
use rolecast_protocol::{Gap, InboxId, Origin};

use super::views::Truth;
use super::violation::{Broken, Name};
use crate::plan::Slot;

/// One process that runs an engine, from 0 in the order of starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId(pub u32);

/// One life of one node, as the ghost numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LifeId(pub(super) u32);

/// One holding of a role within one life: what a destination set is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SeatId(u32);

/// A member of a destination set as the sender's view names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Holder {
    /// Which node.
    pub node: NodeId,
    /// In which life.
    pub epoch: Epoch,
    /// In which holding of the role.
    pub tenure: Tenure,
}

/// How a life goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LifeState {
    Up,
    Crashed,
    /// The process went on in a later life.
    Renewed,
    Left {
        /// Whether its engine had said that everything is acknowledged.
        drained: bool,
    },
}

#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) process: ProcessId,
    pub(crate) identity: Identity,
    pub(crate) state: LifeState,
    /// When an engine last declared it down, if one ever did.
    pub(crate) declared_down: Option<Time>,
    /// The processes that ever said that it is there: only these say so when they take it for dead.
    known_by: BTreeSet<ProcessId>,
}

#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) life: LifeId,
    pub(crate) inbox: InboxId,
    pub(crate) open: bool,
    /// Whether the role was dropped: nothing is owed to whoever did that.
    pub(crate) dropped: bool,
}

#[derive(Debug)]
struct Inbox {
    role: RoleName,
    seat: SeatId,
    open: bool,
    /// Lives that ended and that the inbox was not told of.
    untold: Vec<Epoch>,
    /// Lives that the inbox was told of.
    told: BTreeSet<Epoch>,
}

#[derive(Debug)]
struct Process {
    name: Name,
    life: LifeId,
    inboxes: BTreeMap<InboxId, Inbox>,
    untold: bool,
    /// Whether it ever declared another down.
    declared_others: bool,
}

/// All processes, lives, seats and inboxes of a run.
#[derive(Debug, Default)]
pub(crate) struct Lives {
    processes: Vec<Process>,
    lives: Vec<Life>,
    by_identity: BTreeMap<(NodeId, Epoch), LifeId>,
    seats: Vec<Seat>,
    by_tenure: BTreeMap<(LifeId, RoleName, Tenure), SeatId>,
    /// The places among which something is promised in the end; all, if not given.
    pub(crate) core: Option<BTreeSet<Slot>>,
}

impl Lives {
    /// Whether what is promised at the end is promised to this process, and by it.
    pub(crate) fn is_core(&self, process: ProcessId) -> bool {
        let place = self.name(process).slot;
        self.core.as_ref().is_none_or(|core| core.contains(&place))
    }

    pub(crate) fn start(&mut self, process: ProcessId, name: Name, identity: Identity) {
        assert_eq!(
            process.0 as usize,
            self.processes.len(),
            "processes are numbered as they start"
        );
        let life = self.begin(process, identity);
        self.processes.push(Process {
            name,
            life,
            inboxes: BTreeMap::new(),
            untold: false,
            declared_others: false,
        });
    }

    /// Ends the present life of a process, and with it all its seats.
    pub(crate) fn end(&mut self, process: ProcessId, state: LifeState) {
        let life = self.processes[process.0 as usize].life;
        self.lives[life.0 as usize].state = state;
        for inbox in self.processes[process.0 as usize].inboxes.values_mut() {
            self.seats[inbox.seat.0 as usize].open = false;
            inbox.open = false;
        }
    }

    /// The process goes on in a later life, in which its inboxes hold other seats.
    pub(crate) fn renew(
        &mut self,
        process: ProcessId,
        identity: Identity,
        tenures: &[(InboxId, Tenure)],
    ) -> Result<(), Broken> {
        let before = self.life_of(process);
        let old = self.life(before).identity.epoch;
        if identity.epoch <= old {
            return Err(Broken::EpochFell {
                before: old,
                after: identity.epoch,
            });
        }
        self.lives[before.0 as usize].state = LifeState::Renewed;
        let life = self.begin(process, identity);
        let entry = &mut self.processes[process.0 as usize];
        entry.life = life;
        for (&id, inbox) in entry.inboxes.iter_mut().filter(|(_, inbox)| inbox.open) {
            self.seats[inbox.seat.0 as usize].open = false;
            if !inbox.told.contains(&old) {
                inbox.untold.push(old);
                entry.untold = true;
            }
            let Some(&(_, tenure)) = tenures.iter().find(|(named, _)| *named == id) else {
                let role = inbox.role.clone();
                return Err(Broken::Command {
                    what: format!(
                        "the role {role:?} was lost when the node went on in a later life"
                    ),
                });
            };
            inbox.seat = new_seat(&mut self.seats, life, id);
            self.by_tenure
                .insert((life, inbox.role.clone(), tenure), inbox.seat);
        }
        Ok(())
    }

    pub(crate) fn take_up(
        &mut self,
        process: ProcessId,
        inbox: InboxId,
        role: RoleName,
        tenure: Tenure,
    ) -> Result<(), Broken> {
        let life = self.life_of(process);
        let seat = new_seat(&mut self.seats, life, inbox);
        let clash = self
            .by_tenure
            .insert((life, role.clone(), tenure), seat)
            .is_some();
        let entry = Inbox {
            role,
            seat,
            open: true,
            untold: Vec::new(),
            told: BTreeSet::new(),
        };
        let reused = self.processes[process.0 as usize]
            .inboxes
            .insert(inbox, entry)
            .is_some();
        if clash || reused {
            return Err(Broken::Command {
                what: format!(
                    "a role was taken up with a tenure or an inbox ({inbox:?}) used before"
                ),
            });
        }
        Ok(())
    }

    pub(crate) fn drop_role(&mut self, process: ProcessId, inbox: InboxId) {
        if let Some(inbox) = self.processes[process.0 as usize].inboxes.get_mut(&inbox) {
            inbox.open = false;
            let seat = &mut self.seats[inbox.seat.0 as usize];
            (seat.open, seat.dropped) = (false, true);
        }
    }

    /// A process says that this life is there.
    pub(crate) fn notice(&mut self, by: ProcessId, identity: Identity) -> Result<(), Broken> {
        let life = self.named(identity)?;
        self.lives[life.0 as usize].known_by.insert(by);
        Ok(())
    }

    /// Whether some process never said that this life is there, and may have taken it for dead in silence.
    fn may_be_dead_in_silence(&self, life: LifeId) -> bool {
        let life = self.life(life);
        life.known_by.len() + 1 < self.processes.len()
    }

    /// A process declared this life down.
    pub(crate) fn declare_down(
        &mut self,
        now: Time,
        by: ProcessId,
        identity: Identity,
    ) -> Result<(), Broken> {
        let life = self.named(identity)?;
        self.lives[life.0 as usize].declared_down = Some(now);
        self.processes[by.0 as usize].declared_others = true;
        Ok(())
    }

    /// How reports call whoever has this life.
    pub(crate) fn name_of(&self, identity: Identity) -> Result<Name, Broken> {
        Ok(self.name_of_life(self.named(identity)?))
    }

    /// Somebody was told that this node left, in this life or in a later one of which it had not heard.
    pub(crate) fn seen_leaving(&self, identity: Identity) -> Result<(), Broken> {
        let life = self.named(identity)?;
        let mut since = self.lives_from(identity);
        if since.any(|life| matches!(self.life(life).state, LifeState::Left { .. })) {
            return Ok(());
        }
        Err(Broken::NeverLeft {
            who: self.name_of_life(life).to_string(),
        })
    }

    /// A process was told that another one runs with its key.
    pub(crate) fn superseded(&self, process: ProcessId) -> Result<(), Broken> {
        let mine = self.life(self.life_of(process)).identity;
        let other = self
            .lives_from(mine)
            .any(|life| self.life(life).process != process);
        if other {
            Ok(())
        } else {
            Err(Broken::NeverSuperseded)
        }
    }

    /// An inbox is told that it lost what was on the way to a former life.
    pub(crate) fn tell(
        &mut self,
        process: ProcessId,
        inbox: InboxId,
        epoch: Epoch,
    ) -> Result<(), Broken> {
        let node = self.life(self.life_of(process)).identity.id;
        let gap = Gap::DeclaredDown { epoch };
        let entry = self.open_inbox(process, inbox, || format!("{gap:?}"))?;
        if !entry.told.insert(epoch) {
            return Err(Broken::GapWrong { gap });
        }
        entry.untold.retain(|&untold| untold != epoch);
        let role = entry.role.clone();
        let first = Identity {
            epoch: Epoch(0),
            ..self.life(self.life_of(process)).identity
        };
        // Of two parts that took each other for dead the smaller one renews itself, even such lives as the other never heard of.
        let excused = self.processes[process.0 as usize].declared_others
            || self
                .by_identity
                .get(&(node, epoch))
                .is_some_and(|&life| self.may_be_dead_in_silence(life))
            || self
                .lives_from(first)
                .any(|life| self.life(life).declared_down.is_some());
        match self.by_identity.contains_key(&(node, epoch)) {
            true if excused => Ok(()),
            true => Err(Broken::GapUnjustified { gap, role }),
            false => Err(Broken::GapWrong { gap }),
        }
    }

    /// The engine has said all it had to say: every inbox was told of a life that ended.
    pub(crate) fn at_rest(&mut self, process: ProcessId) -> Result<(), Broken> {
        let entry = &mut self.processes[process.0 as usize];
        if !std::mem::take(&mut entry.untold) {
            return Ok(());
        }
        let untold = entry
            .inboxes
            .values()
            .filter(|inbox| inbox.open)
            .find_map(|inbox| {
                inbox.untold.first().map(|&epoch| Broken::GapMissing {
                    epoch,
                    role: inbox.role.clone(),
                })
            });
        untold.map_or(Ok(()), Err)
    }

    pub(crate) fn life_of(&self, process: ProcessId) -> LifeId {
        self.processes[process.0 as usize].life
    }

    pub(crate) fn life(&self, life: LifeId) -> &Life {
        &self.lives[life.0 as usize]
    }

    pub(crate) fn find(&self, origin: Origin) -> Option<LifeId> {
        self.by_identity.get(&(origin.node, origin.epoch)).copied()
    }

    /// The nodes that ever were, and are not in the core.
    fn outsiders(&self) -> BTreeSet<NodeId> {
        let outside = self.lives.iter().filter(|life| !self.is_core(life.process));
        outside.map(|life| life.identity.id).collect()
    }

    pub(crate) fn node_of(&self, process: ProcessId) -> NodeId {
        self.life(self.life_of(process)).identity.id
    }

    pub(crate) fn is_up(&self, process: ProcessId) -> bool {
        self.life(self.life_of(process)).state == LifeState::Up
    }

    /// Lives on, and was not declared down since `sent_at`: whatever was sent then is promised to such a one, and by such a one.
    ///
    /// A life that somebody declared down may go on: of two parts of a mesh that took each other for dead, only the smaller one renews itself.
    /// What is sent to it from then on is promised as before.
    pub(crate) fn is_correct(&self, life: LifeId, sent_at: Time) -> bool {
        let life = self.life(life);
        life.state == LifeState::Up && life.declared_down.is_none_or(|at| at < sent_at)
    }

    /// Whether a life is correct and something is promised to it, and by it, in the end.
    pub(crate) fn is_due(&self, life: LifeId, sent_at: Time) -> bool {
        self.is_correct(life, sent_at) && self.is_core(self.life(life).process)
    }

    /// Whether anything ever happened to this life that may excuse a loss.
    pub(crate) fn is_blemished(&self, life: LifeId) -> bool {
        let life = self.life(life);
        life.state != LifeState::Up || life.declared_down.is_some()
    }

    /// Whether this process ever went on in another life.
    pub(crate) fn has_renewed(&self, process: ProcessId) -> bool {
        let renewed = |life: &Life| life.process == process && life.state == LifeState::Renewed;
        self.lives.iter().any(renewed)
    }

    pub(crate) fn seat(&self, seat: SeatId) -> &Seat {
        &self.seats[seat.0 as usize]
    }

    /// The process that has a seat, and the inbox that the seat is of.
    pub(crate) fn place_of(&self, seat: SeatId) -> (ProcessId, InboxId) {
        let seat = self.seat(seat);
        (self.life(seat.life).process, seat.inbox)
    }

    /// Where a process holds a role at present.
    pub(crate) fn seat_of(&self, process: ProcessId, role: &RoleName) -> Option<SeatId> {
        let inboxes = self.processes[process.0 as usize].inboxes.values();
        let mut open = inboxes.filter(|inbox| inbox.open && inbox.role == *role);
        open.next().map(|inbox| inbox.seat)
    }

    /// The role that an inbox is of.
    pub(crate) fn role_of(&self, process: ProcessId, inbox: InboxId) -> Option<&RoleName> {
        let inboxes = &self.processes[process.0 as usize].inboxes;
        inboxes.get(&inbox).map(|inbox| &inbox.role)
    }

    pub(crate) fn find_seat(&self, role: &RoleName, holder: &Holder) -> Option<SeatId> {
        let life = self.find(Origin {
            node: holder.node,
            epoch: holder.epoch,
        })?;
        self.by_tenure
            .get(&(life, role.clone(), holder.tenure))
            .copied()
    }

    /// The seat and the role of an open inbox.
    pub(crate) fn inbox(
        &mut self,
        process: ProcessId,
        inbox: InboxId,
        what: impl FnOnce() -> String,
    ) -> Result<(SeatId, RoleName), Broken> {
        let entry = self.open_inbox(process, inbox, what)?;
        Ok((entry.seat, entry.role.clone()))
    }

    pub(crate) fn name(&self, process: ProcessId) -> Name {
        self.processes
            .get(process.0 as usize)
            .map_or_else(Name::default, |process| process.name)
    }

    pub(crate) fn name_of_life(&self, life: LifeId) -> Name {
        self.name(self.life(life).process)
    }

    pub(crate) fn name_of_seat(&self, seat: SeatId) -> Name {
        self.name_of_life(self.seat(seat).life)
    }

    /// The identities that live, and the roles each of them holds.
    ///
    /// If there is a core, only those in it: the others come and go in its views, because some of them are half in reach.
    pub(crate) fn truth(&self) -> Truth {
        let up = self
            .processes
            .iter()
            .filter(|p| self.life(p.life).state == LifeState::Up);
        let up = up.filter(|p| self.is_core(self.life(p.life).process));
        let lives = up.map(|process| {
            let Identity { id, epoch, .. } = self.life(process.life).identity;
            let open = process.inboxes.values().filter(|inbox| inbox.open);
            (id, epoch, open.map(|inbox| inbox.role.clone()).collect())
        });
        Truth::new(lives, self.outsiders())
    }

    fn begin(&mut self, process: ProcessId, identity: Identity) -> LifeId {
        let life = LifeId(u32::try_from(self.lives.len()).expect("fewer lives than 2^32"));
        self.lives.push(Life {
            process,
            identity,
            state: LifeState::Up,
            declared_down: None,
            known_by: BTreeSet::new(),
        });
        self.by_identity.insert((identity.id, identity.epoch), life);
        life
    }

    /// This life and all later ones of the same node.
    fn lives_from(&self, from: Identity) -> impl Iterator<Item = LifeId> + '_ {
        let range = (from.id, from.epoch)..=(from.id, Epoch(u64::MAX));
        self.by_identity.range(range).map(|(_, &life)| life)
    }

    fn named(&self, identity: Identity) -> Result<LifeId, Broken> {
        let origin = Origin {
            node: identity.id,
            epoch: identity.epoch,
        };
        self.find(origin).ok_or_else(|| Broken::FromNowhere {
            what: format!("{identity:?}"),
        })
    }

    fn open_inbox(
        &mut self,
        process: ProcessId,
        inbox: InboxId,
        what: impl FnOnce() -> String,
    ) -> Result<&mut Inbox, Broken> {
        match self.processes[process.0 as usize].inboxes.get_mut(&inbox) {
            None => Err(Broken::NoInbox { what: what() }),
            Some(entry) if !entry.open => Err(Broken::AfterDrop {
                what: what(),
                role: entry.role.clone(),
            }),
            Some(entry) => Ok(entry),
        }
    }
}

fn new_seat(seats: &mut Vec<Seat>, life: LifeId, inbox: InboxId) -> SeatId {
    let seat = SeatId(u32::try_from(seats.len()).expect("fewer seats than 2^32"));
    seats.push(Seat {
        life,
        inbox,
        open: true,
        dropped: false,
    });
    seat
}

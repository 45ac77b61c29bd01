//! One process: an engine, its application, and what a driver keeps for them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rolecast_membership::{Epoch, NodeId, Record, RoleName, Tenure, Time};
use rolecast_protocol::{Engine, FlowId, InboxId, LinkId};

use crate::application::Application;
use crate::check::{Holder, Name, ProcessId, View};
use crate::clock::Clock;
use crate::network::{EndId, Party};
use crate::plan::Slot;
use crate::world::Happening;

/// One process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) id: ProcessId,
    pub(crate) name: Name,
    pub(crate) node: NodeId,
    pub(crate) addr: SocketAddr,
    pub(crate) engine: Engine,
    /// What its engine takes for the time.
    pub(crate) clock: Clock,
    pub(crate) app: Application,
    pub(crate) state: State,
    /// What came while it was paused.
    pub(crate) backlog: VecDeque<Happening>,
    /// The earliest wake-up that is scheduled.
    pub(crate) wake_at: Option<Time>,
    /// Its links that are up.
    pub(crate) links: Links,
    /// Whether it was told to leave.
    pub(crate) leaving: bool,
    /// Whether its engine said that everything is acknowledged.
    pub(crate) drained: bool,
    /// The life in which it started.
    pub(crate) first_epoch: Epoch,
    /// The nodes that its engine ever declared down.
    pub(crate) declared_down: BTreeSet<NodeId>,
    /// Destination sets as the engine would stamp them, until its view changes.
    destinations: BTreeMap<RoleName, Arc<[Holder]>>,
}

/// The links of one process that are up, by the numbers that its engine knows, of which each is used once.
#[derive(Debug, Default)]
pub(crate) struct Links(Vec<Option<EndId>>);

impl Links {
    /// Another one is up.
    pub(crate) fn add(&mut self, end: EndId) -> LinkId {
        self.0.push(Some(end));
        LinkId(self.0.len() as u64)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().flatten().count()
    }

    pub(crate) fn get(&self, link: LinkId) -> Option<EndId> {
        *self.0.get(index(link)?)?
    }

    pub(crate) fn remove(&mut self, link: LinkId) {
        if let Some(entry) = index(link).and_then(|index| self.0.get_mut(index)) {
            *entry = None;
        }
    }
}

fn index(link: LinkId) -> Option<usize> {
    usize::try_from(link.0.checked_sub(1)?).ok()
}

/// Whether a process handles what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    /// By so many faults at once.
    Paused(u32),
    Ended,
}

impl Process {
    pub(crate) fn new(
        id: ProcessId,
        name: Name,
        (node, addr): (NodeId, SocketAddr),
        (engine, clock): (Engine, Clock),
        app: Application,
    ) -> Self {
        Process {
            first_epoch: engine.identity().epoch,
            declared_down: BTreeSet::new(),
            id,
            name,
            node,
            addr,
            engine,
            clock,
            app,
            state: State::Running,
            backlog: VecDeque::new(),
            wake_at: None,
            links: Links::default(),
            leaving: false,
            drained: false,
            destinations: BTreeMap::new(),
        }
    }

    pub(crate) fn party(&self) -> Party {
        Party {
            process: self.id,
            node: self.node,
            slot: self.name.slot,
        }
    }

    /// The engine's view of who is there may have changed.
    pub(crate) fn forget_destinations(&mut self) {
        self.destinations.clear();
    }

    /// The holders to which a flow goes: those of its role without the ones that were evicted from it.
    pub(crate) fn destinations_of(&mut self, flow: FlowId) -> Arc<[Holder]> {
        let role = self.app.senders[&flow].role.clone();
        let all = self.destinations(&role);
        let evicted = &self.app.senders[&flow].evicted;
        match evicted.is_empty() {
            true => all,
            false => all
                .iter()
                .filter(|holder| !evicted.contains(holder))
                .copied()
                .collect(),
        }
    }

    /// A holder was evicted from a flow.
    pub(crate) fn evicted(&mut self, flow: FlowId, node: NodeId) {
        if flow.is_large() {
            if let Some(sender) = self.app.larges.get_mut(&flow) {
                let others = sender.holders.iter().filter(|holder| holder.node != node);
                sender.holders = others.copied().collect();
            }
            return;
        }
        let members = self.destinations_of(flow);
        let holder = members.iter().find(|holder| holder.node == node);
        if let (Some(&holder), Some(sender)) = (holder, self.app.senders.get_mut(&flow)) {
            sender.evicted.push(holder);
        }
    }

    /// The holders of a role in the engine's view.
    pub(crate) fn destinations(&mut self, role: &RoleName) -> Arc<[Holder]> {
        let nodes = self.engine.holders(role);
        if let Some(known) = self.destinations.get(role)
            && known
                .iter()
                .map(|holder| holder.node)
                .eq(nodes.iter().copied())
        {
            return Arc::clone(known);
        }
        let own = self.engine.record();
        let holders: Arc<[Holder]> = nodes
            .iter()
            .filter_map(|&node| {
                let record = match node == own.identity.id {
                    true => own,
                    false => &self.engine.other(node)?.record,
                };
                let (epoch, tenure) = (record.identity.epoch, holding(record, role)?);
                Some(Holder {
                    node,
                    epoch,
                    tenure,
                })
            })
            .collect();
        self.destinations.insert(role.clone(), Arc::clone(&holders));
        holders
    }

    /// The tenure with which the engine says that it holds this role.
    pub(crate) fn tenure(&self, role: &RoleName) -> Option<Tenure> {
        holding(self.engine.record(), role)
    }

    /// All open inboxes with the tenures that the engine says they have.
    pub(crate) fn tenures(&self) -> Vec<(InboxId, Tenure)> {
        let inboxes = self.app.inboxes.iter();
        let whole = inboxes.map(|(&id, inbox)| (id, &inbox.role));
        let narrowed = self.app.narrowed.iter();
        let narrowed = narrowed.map(|((_, role), &own)| (own, role));
        whole
            .chain(narrowed)
            .filter_map(|(id, role)| Some((id, self.tenure(role)?)))
            .collect()
    }

    /// What the engine sees.
    pub(crate) fn view(&self, roles: &[RoleName]) -> View {
        let own = self.engine.identity();
        let others = self.engine.others().map(|member| member.record.identity);
        let members = std::iter::once(own).chain(others);
        View {
            members: members.map(|member| (member.id, member.epoch)).collect(),
            holders: roles
                .iter()
                .map(|role| {
                    (
                        role.clone(),
                        self.engine.holders(role).into_iter().collect(),
                    )
                })
                .collect(),
        }
    }
}

/// How a node that says this about itself holds a role.
pub(crate) fn holding(record: &Record, role: &RoleName) -> Option<Tenure> {
    let held = *record.roles.get(&role.base())?;
    role.place().tenure(record, held)
}

/// The address of a process at this place; each generation has a port of its own.
pub(crate) fn address(slot: Slot, generation: u16) -> SocketAddr {
    let [high, low] = slot.to_be_bytes();
    let ip = IpAddr::V4(Ipv4Addr::new(10, 0, high, low));
    SocketAddr::new(ip, 7_400 + generation)
}

//! Who is where in a run with whole nodes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rolecast::NodeId;
use rolecast_membership::RoleName;

use super::network::Network;
use super::place::Place;
use super::program::{self, Program};
use crate::check::ProcessId;
use crate::plan::Slot;
use crate::workload::RoleIndex;

/// Who is where; cheap to clone.
#[derive(Clone)]
pub(crate) struct Mesh {
    pub(crate) roles: Arc<[RoleName]>,
    pub(crate) seats: Arc<Mutex<Vec<Seat>>>,
}

/// A place and who is there.
#[derive(Default)]
pub(crate) struct Seat {
    pub(crate) place: Place,
    pub(crate) current: Option<Running>,
}

/// A process that runs.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) program: Program,
    pub(crate) addr: SocketAddr,
}

impl Mesh {
    pub(crate) fn seats(&self) -> MutexGuard<'_, Vec<Seat>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn current(&self, slot: Slot) -> Option<Running> {
        self.seats().get(usize::from(slot))?.current.clone()
    }

    /// The programs at these places.
    pub(crate) fn programs(&self, wanted: impl Fn(Slot) -> bool) -> Vec<Program> {
        let seats = self.seats();
        let places = (0..).zip(seats.iter()).filter(|(slot, _)| wanted(*slot));
        places
            .filter_map(|(_, seat)| Some(seat.current.as_ref()?.program.clone()))
            .collect()
    }

    /// Ends what is left of a process, if it is still there.
    pub(crate) fn remove(&self, slot: Slot, id: ProcessId, network: &Network) {
        let mut seats = self.seats();
        let seat = &mut seats[usize::from(slot)];
        if let Some(running) = seat.current.take_if(|current| current.program.id() == id) {
            seat.place.lived(running.program.node().epoch());
            drop(seats);
            network.close(running.addr);
            running.program.process().kill();
        }
    }
}

impl program::World for Mesh {
    fn role(&self, index: RoleIndex) -> RoleName {
        self.roles[usize::from(index)].clone()
    }

    fn node_at(&self, slot: Slot) -> Option<NodeId> {
        Some(self.current(slot)?.program.node().id())
    }
}

//! What happens on links: dials, frames, datagrams, and ends noticed.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rolecast_membership::{NodeId, Time};
use rolecast_protocol::{Class, Input, Reach};

use super::{Happening, World};
use crate::check::{ProcessId, Violation};
use crate::film::Stamp;
use crate::network::{EndId, EndState, Party, Settled};
use crate::probe::sometimes;

/// An attempt to open a link.
#[derive(Debug)]
pub(crate) struct Dial {
    pub(super) process: ProcessId,
    addr: SocketAddr,
    /// Who is expected there.
    expected: Option<NodeId>,
    deadline: Time,
    tries: u32,
}

/// How long a handshake that was lost waits before it is tried again, at first.
const HANDSHAKE_RETRY: Duration = Duration::from_millis(200);
/// How long it takes to refuse a connection.
const REFUSAL: Duration = Duration::from_millis(1);

impl World<'_> {
    pub(super) fn dial(
        &mut self,
        now: Time,
        process: ProcessId,
        addr: SocketAddr,
        expected: Option<NodeId>,
    ) {
        if self.dialling.contains_key(&(process, addr)) {
            return;
        }
        let number = u32::try_from(self.dials.len()).expect("fewer dials than 2^32");
        let deadline = now + Duration::from_micros(self.scenario.network.dial_us);
        self.dials.push(Dial {
            process,
            addr,
            expected,
            deadline,
            tries: 0,
        });
        self.dialling.insert((process, addr), number);
        let from = self.processes[process.0 as usize].name.slot;
        let way = match self.by_addr.get(&addr) {
            Some(&target) => self.network.latency(from, self.name(target).slot),
            None => REFUSAL,
        };
        self.schedule.put(now + way, Happening::Knock(number));
    }

    pub(super) fn knock(&mut self, now: Time, number: u32) -> Result<(), Violation> {
        let Dial {
            process,
            addr,
            expected,
            deadline,
            tries,
        } = self.dials[number as usize];
        let dialler = self.processes[process.0 as usize].party();
        let Some(target) = self.by_addr.get(&addr).copied() else {
            self.schedule.put(deadline, Happening::DialFail(number));
            return Ok(());
        };
        let target = self.processes[target.0 as usize].party();
        let (here, there) = (dialler.slot, target.slot);
        let cut = self.network.is_cut(here, there) || self.network.is_cut(there, here);
        if cut || !self.runs(process) || !self.runs(target.process) {
            let again = now + HANDSHAKE_RETRY * 2u32.saturating_pow(tries.min(4));
            self.dials[number as usize].tries += 1;
            let happening = if again < deadline {
                Happening::Knock(number)
            } else {
                Happening::DialFail(number)
            };
            self.schedule.put(again.min(deadline), happening);
            return Ok(());
        }
        if target.node == dialler.node || expected.is_some_and(|node| node != target.node) {
            let back = self.network.latency(there, here);
            self.schedule
                .put(now + back + REFUSAL, Happening::DialFail(number));
            return Ok(());
        }
        self.dialling.remove(&(process, addr));
        let settled = self.network.settle(&mut self.schedule, dialler, target);
        sometimes!(self.reached, LinkReplaced, if settled == Settled::Instead);
        if settled == Settled::Quiet {
            sometimes!(self.reached, DialsCrossed);
            self.trace.line(
                now,
                self.name(process),
                format_args!("dial {addr}: another stays"),
            );
        }
        Ok(())
    }

    pub(super) fn dial_fail(&mut self, now: Time, number: u32) -> Result<(), Violation> {
        let Dial { process, addr, .. } = self.dials[number as usize];
        self.dialling.remove(&(process, addr));
        self.input(now, process, Input::DialFailed { addr })
    }

    pub(super) fn link_up(&mut self, now: Time, end: EndId) -> Result<(), Violation> {
        if self.network.end(end).state != EndState::Coming {
            return Ok(());
        }
        let party = self.network.end(end).party;
        let peer = self.network.end(end.other()).party;
        let newer = self.network.between(party.process, peer.process);
        let overtaken = newer.is_some_and(|newer| {
            let up = matches!(self.network.end(newer).state, EndState::Up(_));
            newer.link != end.link && up
        });
        if overtaken {
            // A transport to which it comes so late has taken another one, and drops it unseen.
            self.network.end_mut(end).state = EndState::Down;
            return Ok(());
        }
        let link = self.processes[party.process.0 as usize].links.add(end);
        let addr = self.processes[peer.process.0 as usize].addr;
        self.network.end_mut(end).state = EndState::Up(link);
        self.listen(end);
        self.close_others(now, party.process, peer);
        let engine = &self.processes[party.process.0 as usize].engine;
        let rested = engine.reach(peer.node) == Reach::Resting;
        sometimes!(self.reached, LinkWoken, if rested);
        self.input(
            now,
            party.process,
            Input::LinkUp {
                link,
                peer: peer.node,
                addr,
            },
        )
    }

    /// A transport keeps one link to each node: one to another life of the same node gives way.
    fn close_others(&mut self, now: Time, process: ProcessId, peer: Party) {
        let Some(lives) = self.by_node.get(&peer.node).filter(|lives| lives.len() > 1) else {
            return;
        };
        let others = lives.iter().filter(|&&other| other != peer.process);
        let ends = others.filter_map(|&other| self.network.between(process, other));
        let is_up = |end: &EndId| {
            let end = self.network.end(*end);
            matches!(end.state, EndState::Up(_)) && !end.closing
        };
        for end in ends.filter(is_up).collect::<Vec<_>>() {
            self.close(now, end, true);
        }
    }

    pub(super) fn link_down(&mut self, now: Time, end: EndId) -> Result<(), Violation> {
        if self.network.end(end).state == EndState::Coming {
            // It comes up first, and ends then.
            let at = self.network.end(end).up_at;
            self.schedule.put(at, Happening::Down { end });
            return Ok(());
        }
        sometimes!(self.reached, LinkCut, if self.network.is_carrying(end));
        let Some(link) = self.network.down(now, end) else {
            return Ok(());
        };
        let process = self.network.end(end).party.process;
        self.processes[process.0 as usize].links.remove(link);
        self.listen(end.other());
        self.input(now, process, Input::LinkDown { link })
    }

    /// The other end closed the link and says so, if the path carries it.
    pub(super) fn link_closed(&mut self, now: Time, end: EndId) -> Result<(), Violation> {
        let (here, there) = self.slots_of(end);
        if self.network.is_cut(there, here) {
            return Ok(());
        }
        self.link_down(now, end)
    }

    pub(super) fn silence(&mut self, now: Time, end: EndId, since: Time) -> Result<(), Violation> {
        let other_runs = self.runs(self.network.end(end.other()).party.process);
        if self
            .network
            .gives_up(&mut self.schedule, end, since, other_runs)
        {
            return self.link_down(now, end);
        }
        Ok(())
    }

    pub(super) fn arrive(&mut self, now: Time, end: EndId, class: Class) -> Result<(), Violation> {
        while let Some((link, bytes, stamp)) = self.network.arrive(&mut self.schedule, end, class) {
            let process = self.network.end(end).party.process;
            self.film.arrives(now, stamp);
            self.hearing = Some(end);
            let handled = self.input(now, process, Input::Frame { link, class, bytes });
            self.hearing = None;
            handled?;
            if !self.runs(process) {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn datagram(
        &mut self,
        now: Time,
        end: EndId,
        bytes: Bytes,
        stamp: Stamp,
    ) -> Result<(), Violation> {
        let EndState::Up(link) = self.network.end(end).state else {
            return Ok(());
        };
        let process = self.network.end(end).party.process;
        self.film.arrives(now, stamp);
        self.input(now, process, Input::Datagram { link, bytes })
    }

    pub(super) fn written(&mut self, now: Time, end: EndId) -> Result<(), Violation> {
        let process = self.network.end(end).party.process;
        match self.network.written(end) {
            Some((link, written)) => {
                for (class, bytes) in Class::ALL.into_iter().zip(written) {
                    if bytes > 0 {
                        self.input(now, process, Input::Written { link, class, bytes })?;
                    }
                }
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// This end closes its link: what was handed in before still goes out, mostly.
    pub(super) fn close(&mut self, now: Time, end: EndId, own_down: bool) {
        self.network.end_mut(end).closing = true;
        let other = end.other();
        let (here, there) = self.slots_of(end);
        let way = self.network.latency(here, there);
        let at = self.network.last_due(other).max(now + way);
        self.schedule.put(at, Happening::Closed { end: other });
        self.listen(other);
        if own_down {
            self.schedule.put(now + REFUSAL, Happening::Down { end });
        }
    }

    /// Takes note of whether an end can hear the other.
    pub(super) fn listen(&mut self, end: EndId) {
        let other_runs = self.runs(self.network.end(end.other()).party.process);
        self.network.listen(&mut self.schedule, end, other_runs);
    }

    fn slots_of(&self, end: EndId) -> (crate::plan::Slot, crate::plan::Slot) {
        (
            self.network.end(end).party.slot,
            self.network.end(end.other()).party.slot,
        )
    }
}

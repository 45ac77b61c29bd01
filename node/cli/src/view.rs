//! How a node that has just joined gets to know the mesh.
//!
//! A view of the mesh is never complete by proof, since there are no agreed views.
//! A visitor therefore looks until it sees what it needs, and then until for a moment nothing is added.

use std::time::Duration;

use rolecast::{LinkState, Liveness, MemberInfo, MeshEvent, MeshEvents, Node};
use tokio::time::{Instant, timeout_at};

use crate::address::Address;
use crate::duration::show_duration;
use crate::failure::Failure;
use crate::obstacles::Obstacles;

/// A node's view of the mesh while it fills.
pub(crate) struct View<'a> {
    node: &'a Node,
    events: MeshEvents,
    obstacles: Obstacles,
}

impl<'a> View<'a> {
    /// Watches from here on.
    pub(crate) fn of(node: &'a Node) -> Self {
        View {
            node,
            events: node.watch(),
            obstacles: Obstacles::default(),
        }
    }

    /// Waits until `enough` holds and nothing more is added for a moment, at most until `deadline`; gives the other members.
    pub(crate) async fn settle(
        &mut self,
        deadline: Instant,
        enough: impl Fn(&[MemberInfo]) -> bool,
    ) -> Vec<MemberInfo> {
        let mut latest = deadline;
        let mut seen_enough = false;
        loop {
            let others = self.others().await;
            if !seen_enough && enough(&others) {
                seen_enough = true;
                latest = Instant::now() + SETTLE_MAX;
            }
            let until = if seen_enough {
                latest.min(Instant::now() + QUIET)
            } else {
                latest
            };
            match timeout_at(until, self.next_addition()).await {
                Ok(true) => {}
                Ok(false) | Err(_) => return others,
            }
        }
    }

    /// The next change of the mesh; `None` once the node is closed.
    pub(crate) async fn next_event(&mut self) -> Option<MeshEvent> {
        self.events.next().await
    }

    /// The members, without this node.
    pub(crate) async fn others(&self) -> Vec<MemberInfo> {
        let mut members = self.node.members().await;
        members.retain(|member| member.link != LinkState::Myself);
        members
    }

    /// Says why no other node was met.
    pub(crate) fn no_mesh(&self, seeds: &[String], patience: Duration) -> Failure {
        if let Some(obstacle) = self.obstacles.first() {
            return Failure::failed(obstacle);
        }
        Failure::failed(format!(
            "no node answered at {} within {}: is one running there, and does UDP get there?",
            seeds.join(" or "),
            show_duration(patience)
        ))
    }

    /// Waits for something that may complete the view; false once the node is closed.
    async fn next_addition(&mut self) -> bool {
        loop {
            match self.events.next().await {
                None | Some(MeshEvent::Closed(_)) => return false,
                Some(MeshEvent::DialFailed { addr, why }) => {
                    self.obstacles.note(addr, &why);
                }
                Some(
                    MeshEvent::Joined(_)
                    | MeshEvent::Updated(_)
                    | MeshEvent::Restarted(_)
                    | MeshEvent::LinkUp(_)
                    | MeshEvent::Lagged(_),
                ) => return true,
                Some(_) => {}
            }
        }
    }
}

/// Waits until some node is meant by the address; says why nobody is found.
pub(crate) async fn find_holders(
    view: &mut View<'_>,
    address: &Address,
    seeds: &[String],
    patience: Duration,
) -> Result<Vec<MemberInfo>, Failure> {
    let holds = |members: &[MemberInfo]| members.iter().any(|member| address.means(member));
    let members = view.settle(Instant::now() + patience, holds).await;
    if members.is_empty() {
        return Err(view.no_mesh(seeds, patience));
    }
    match holds(&members) {
        true => Ok(members),
        false => Err(address.nobody(&members)),
    }
}

/// Finds the one member whose id starts so.
pub(crate) fn find_member<'a>(
    prefix: &str,
    members: &'a [MemberInfo],
) -> Result<&'a MemberInfo, Failure> {
    let prefix = prefix.to_ascii_lowercase();
    let found: Vec<&MemberInfo> = members
        .iter()
        .filter(|member| member.id.to_hex().starts_with(&prefix))
        .collect();
    match found[..] {
        [member] => Ok(member),
        [] => Err(Failure::failed(format!(
            "no node's id starts with {prefix}; the nodes are {}",
            ids(members.iter())
        ))),
        _ => Err(Failure::failed(format!(
            "several nodes' ids start with {prefix}: write more digits of {}",
            ids(found.into_iter())
        ))),
    }
}

fn ids<'a>(members: impl Iterator<Item = &'a MemberInfo>) -> String {
    let ids: Vec<String> = members
        .map(|member| match member.liveness {
            Liveness::Alive => member.id.to_string(),
            Liveness::Suspect => format!("{} (suspect)", member.id),
        })
        .collect();
    ids.join(", ")
}

/// A view to which nothing was added for so long is taken for complete.
/// A guess: some times the round trips that a join takes on a local network.
const QUIET: Duration = Duration::from_millis(150);
/// A mesh that never is quiet is not waited for longer than this.
const SETTLE_MAX: Duration = Duration::from_millis(800);

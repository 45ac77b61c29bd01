//! What happens in the mesh, line by line.

use std::collections::BTreeMap;

use rolecast::{LinkState, MemberInfo, MeshEvent, NodeId, RoleName};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::human;
use crate::obstacles::Obstacles;
use crate::output::Output;
use crate::style::{BAD, DIM, GOOD, NAME, WARNING};

/// Shows events of the mesh; remembers who was there, to say what changed.
pub(crate) struct MeshLog<'a> {
    output: &'a Output,
    known: BTreeMap<NodeId, MemberInfo>,
    obstacles: Obstacles,
}

impl<'a> MeshLog<'a> {
    /// Knows nobody yet.
    pub(crate) fn new(output: &'a Output) -> Self {
        MeshLog {
            output,
            known: BTreeMap::new(),
            obstacles: Obstacles::default(),
        }
    }

    /// Shows who is there already; their events may be among those that come later.
    pub(crate) fn begin(&mut self, members: Vec<MemberInfo>) -> Result<(), Failure> {
        for member in members {
            if member.link == LinkState::Myself {
                self.known.insert(member.id, member);
            } else {
                self.arrived("joined", member)?;
            }
        }
        Ok(())
    }

    /// Shows one event.
    pub(crate) fn take(&mut self, event: MeshEvent) -> Result<(), Failure> {
        match event {
            MeshEvent::Joined(member) if self.shown(&member).is_some() => Ok(()),
            MeshEvent::Joined(member) => self.arrived("joined", member),
            MeshEvent::Updated(member) if self.shown(&member) == Some(&member.roles) => {
                self.moved(member)
            }
            MeshEvent::Restarted(member) => self.arrived("restarted", member),
            MeshEvent::Updated(member) => self.updated(member),
            MeshEvent::Suspected(node) => self.show(
                "suspect",
                WARNING,
                node,
                "does not answer at the moment",
                json!({}),
            ),
            MeshEvent::AliveAgain(node) => {
                self.show("alive", GOOD, node, "answers again", json!({}))
            }
            MeshEvent::Left(node) => self.gone("left", DIM, node),
            MeshEvent::Down(node) => self.gone("down", BAD, node),
            MeshEvent::LinkUp(node) => self.link("link-up", node),
            MeshEvent::LinkDown(node) => self.link("link-down", node),
            MeshEvent::DialFailed { addr, why } => {
                if let Some(obstacle) = self.obstacles.note(addr, &why) {
                    self.output.warn(obstacle);
                }
                Ok(())
            }
            MeshEvent::Renewed(epoch) => self.about_itself(
                "renewed",
                "the mesh had declared this node down; it goes on in a new life",
                json!({ "epoch": epoch.0 }),
            ),
            MeshEvent::Lagged(events) => self.about_itself(
                "lagged",
                &format!("{} events were too many to show", human::count(events)),
                json!({ "events": events }),
            ),
            MeshEvent::Closed(reason) => {
                Err(Failure::failed(format!("the node is closed: {reason}")))
            }
            _ => Ok(()),
        }
    }

    /// The roles with which this life of a member was shown last, if it was.
    fn shown(&self, member: &MemberInfo) -> Option<&Vec<RoleName>> {
        let known = self.known.get(&member.id)?;
        (known.epoch == member.epoch).then_some(&known.roles)
    }

    fn arrived(&mut self, what: &'static str, member: MemberInfo) -> Result<(), Failure> {
        let mut parts = vec![member.addr.to_string()];
        parts.extend(described(&member));
        if !member.roles.is_empty() {
            parts.push(format!("holds {}", names(&member.roles)));
        }
        let details = member_details(&member);
        let node = member.id;
        self.known.insert(node, member);
        self.show(what, GOOD, node, &parts.join("  "), details)
    }

    fn updated(&mut self, member: MemberInfo) -> Result<(), Failure> {
        let before = self.known.get(&member.id);
        let before: &[RoleName] = before.map_or(&[], |before| &before.roles);
        let missing_in = |roles: &[RoleName], others: &[RoleName]| -> Vec<RoleName> {
            let missing = roles.iter().filter(|role| !others.contains(role));
            missing.cloned().collect()
        };
        let (taken, dropped) = (
            missing_in(&member.roles, before),
            missing_in(before, &member.roles),
        );
        let mut parts = Vec::new();
        if !taken.is_empty() {
            parts.push(format!("took up {}", names(&taken)));
        }
        if !dropped.is_empty() {
            parts.push(format!("dropped {}", names(&dropped)));
        }
        let mut details = member_details(&member);
        details["taken"] = json!(texts(&taken));
        details["dropped"] = json!(texts(&dropped));
        let node = member.id;
        self.known.insert(node, member);
        self.show("roles", NAME, node, &parts.join(", "), details)
    }

    /// A member says something else of itself.
    fn moved(&mut self, member: MemberInfo) -> Result<(), Failure> {
        let place = |member: &MemberInfo| {
            let MemberInfo {
                site,
                host,
                service,
                labels,
                ..
            } = member;
            (site.clone(), host.clone(), service.clone(), labels.clone())
        };
        let before = self.known.get(&member.id).map(place);
        if before == Some(place(&member)) {
            return Ok(());
        }
        let text = described(&member).unwrap_or_else(|| "nowhere in particular".to_owned());
        let (node, details) = (member.id, member_details(&member));
        self.known.insert(node, member);
        self.show("described", NAME, node, &text, details)
    }

    fn gone(
        &mut self,
        what: &'static str,
        style: anstyle::Style,
        node: NodeId,
    ) -> Result<(), Failure> {
        let roles = self
            .known
            .remove(&node)
            .map_or(Vec::new(), |member| member.roles);
        let held = match &roles[..] {
            [] => String::new(),
            roles => format!("held {}", names(roles)),
        };
        self.show(what, style, node, &held, json!({ "roles": texts(&roles) }))
    }

    /// Links come and go with members; only programs want to know of each.
    fn link(&self, what: &'static str, node: NodeId) -> Result<(), Failure> {
        if self.output.is_json() {
            self.show(what, DIM, node, "", json!({}))
        } else {
            Ok(())
        }
    }

    fn show(
        &self,
        what: &'static str,
        style: anstyle::Style,
        node: NodeId,
        text: &str,
        mut details: Value,
    ) -> Result<(), Failure> {
        details["node"] = json!(node.to_hex());
        self.line(
            what,
            style,
            &format!("{NAME}{node}{NAME:#}  {text}"),
            details,
        )
    }

    fn about_itself(&self, what: &'static str, text: &str, details: Value) -> Result<(), Failure> {
        self.line(what, WARNING, text, details)
    }

    fn line(
        &self,
        what: &'static str,
        style: anstyle::Style,
        text: &str,
        mut details: Value,
    ) -> Result<(), Failure> {
        let unix_ms = human::unix_ms();
        if self.output.is_json() {
            details["event"] = json!(what);
            details["unix_ms"] = json!(unix_ms);
            return self.output.object(&details);
        }
        let time = human::time_of_day(unix_ms);
        let line = format!("{DIM}{time}{DIM:#}  {style}{what:<9}{style:#}  {text}");
        self.output.line(line.trim_end())
    }
}

/// A member as a JSON object.
pub(crate) fn member_details(member: &MemberInfo) -> Value {
    json!({
        "node": member.id.to_hex(),
        "addr": member.addr,
        "epoch": member.epoch.0,
        "site": member.site,
        "host": member.host,
        "service": member.service.name,
        "instance": member.service.instance,
        "labels": member.labels,
        "roles": texts(&member.roles),
    })
}

/// What kind of node it is and where, if it says so.
fn described(member: &MemberInfo) -> Option<String> {
    let service = service(member);
    match (service.is_empty(), member.site.is_empty()) {
        (true, true) => None,
        (false, true) => Some(service),
        (true, false) => Some(format!("in {}", member.site)),
        (false, false) => Some(format!("{service} in {}", member.site)),
    }
}

/// A member's service and instance: `db/2`.
pub(crate) fn service(member: &MemberInfo) -> String {
    match (&member.service.name[..], member.service.instance) {
        (name, 0) => name.to_owned(),
        (name, instance) => format!("{name}/{instance}"),
    }
}

/// Role names with spaces between them.
pub(crate) fn names(roles: &[RoleName]) -> String {
    texts(roles).join(" ")
}

fn texts(roles: &[RoleName]) -> Vec<&str> {
    roles.iter().map(RoleName::as_str).collect()
}

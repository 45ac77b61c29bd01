//! `rolecast members`: who is in the mesh.

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;
use rolecast::{LinkState, Liveness, MemberInfo, MeshEvent, Node};
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::duration::{parse_duration, show_duration};
use crate::failure::Failure;
use crate::human;
use crate::mesh_log::{member_details, names, service};
use crate::node_options::{NodeOptions, Part};
use crate::output::Output;
use crate::session::{OnInterrupt, with_node};
use crate::style::{BAD, DIM, GOOD, NAME, WARNING};
use crate::table::{Cell, Table};
use crate::view::View;

/// What `rolecast members` is told.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct MembersArgs {
    /// Go on showing every change until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// Wait this long for some node to answer
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_duration)]
    wait: Duration,
    #[command(flatten)]
    node: NodeOptions,
}

/// Shows the members, without the node that looks.
pub(crate) fn run(args: MembersArgs, output: &Output) -> Result<(), Failure> {
    let settings = args.node.settings(Part::Visitor("members"), output)?;
    let seeds = settings.seeds.clone();
    let on_interrupt = if args.watch {
        OnInterrupt::Done
    } else {
        OnInterrupt::Incomplete
    };
    with_node(settings, on_interrupt, output, async |node| {
        let mut view = View::of(node);
        let linked = |members: &[MemberInfo]| {
            !members.is_empty() && members.iter().all(|member| member.link != LinkState::Down)
        };
        view.settle(Instant::now() + args.wait, |members| !members.is_empty())
            .await;
        // Dials take a moment longer than names; a member that cannot be reached is shown as such.
        let members = view.settle(Instant::now() + LINK_PATIENCE, linked).await;
        if members.is_empty() {
            return Err(view.no_mesh(&seeds, args.wait));
        }
        if args.watch {
            watch(node, view, output).await
        } else {
            show(&members, node, output)
        }
    })
}

/// Shows the members whenever they change; on a terminal in place, with fresh round trip times.
async fn watch(node: &Node, mut view: View<'_>, output: &Output) -> Result<(), Failure> {
    let in_place = !output.is_json() && std::io::stdout().is_terminal();
    let mut refresh = interval(REFRESH);
    refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut shown: Option<Vec<MemberInfo>> = None;
    loop {
        let members = view.others().await;
        let changed = shown.as_ref().is_none_or(|shown| differ(shown, &members));
        if in_place {
            let text = render(&members, node);
            output.text(&format!("{CLEAR}{text}{DIM}Ctrl-C ends{DIM:#}\n"))?;
        } else if changed {
            if shown.is_some() && !output.is_json() {
                output.line("")?;
            }
            show(&members, node, output)?;
        }
        shown = Some(members);
        tokio::select! {
            biased;
            event = view.next_event() => match event {
                None | Some(MeshEvent::Closed(_)) => return Err(Failure::failed("the node is closed")),
                Some(_) => {}
            },
            // How members are reached changes without an event.
            _ = refresh.tick() => {}
        }
    }
}

/// Whether anything but round trip times differs.
fn differ(before: &[MemberInfo], after: &[MemberInfo]) -> bool {
    let without_rtt = |members: &[MemberInfo]| -> Vec<MemberInfo> {
        let mut members = members.to_vec();
        for member in &mut members {
            if let LinkState::Direct { rtt } = &mut member.link {
                *rtt = Duration::ZERO;
            }
        }
        members
    };
    without_rtt(before) != without_rtt(after)
}

fn show(members: &[MemberInfo], node: &Node, output: &Output) -> Result<(), Failure> {
    if !output.is_json() {
        return output.text(&render(members, node));
    }
    for member in members {
        let mut object = member_details(member);
        let (link, rtt) = match member.link {
            LinkState::Direct { rtt } => ("direct", Some(rtt)),
            LinkState::Via(_) => ("via", None),
            LinkState::Resting => ("resting", None),
            _ => ("unreachable", None),
        };
        if let LinkState::Via(relay) = member.link {
            object["via"] = json!(relay.to_hex());
        }
        object["event"] = json!("member");
        object["state"] = json!(state(member));
        object["link"] = json!(link);
        object["rtt_ms"] = json!(rtt.map(|rtt| rtt.as_secs_f64() * 1_000.0));
        output.object(&object)?;
    }
    output.object(&json!({
        "event": "members", "count": members.len(), "seen_by": node.id().to_hex(),
    }))
}

fn render(members: &[MemberInfo], node: &Node) -> String {
    let heads = [
        "id", "address", "site", "service", "roles", "state", "link", "rtt",
    ];
    let mut table = Table::with_heads(heads);
    for member in members {
        table.row(row(member));
    }
    format!(
        "{}{DIM}{}, as seen by {} (this command){DIM:#}\n",
        table.render(),
        human::number_of(members.len(), "node"),
        node.id()
    )
}

fn row(member: &MemberInfo) -> Vec<Cell> {
    let or_dash = |text: &str| match text {
        "" => Cell::styled("-", DIM),
        text => Cell::plain(text),
    };
    let state = match member.liveness {
        Liveness::Alive => Cell::styled("alive", GOOD),
        Liveness::Suspect => Cell::styled("suspect", WARNING),
    };
    let (link, rtt) = match member.link {
        LinkState::Direct { rtt } => (Cell::plain("direct"), show_duration(rtt)),
        LinkState::Via(relay) => {
            let via = format!("via {relay}");
            (Cell::styled(via, WARNING), "-".to_owned())
        }
        LinkState::Resting => (Cell::styled("resting", DIM), "-".to_owned()),
        _ => (Cell::styled("unreachable", BAD), "-".to_owned()),
    };
    vec![
        Cell::styled(member.id.to_string(), NAME),
        Cell::plain(member.addr.to_string()),
        or_dash(&member.site),
        or_dash(&service(member)),
        or_dash(&names(&member.roles)),
        state,
        link,
        Cell::plain(rtt).right(),
    ]
}

fn state(member: &MemberInfo) -> &'static str {
    match member.liveness {
        Liveness::Alive => "alive",
        Liveness::Suspect => "suspect",
    }
}

/// Members that are not reached after this long are shown as unreachable.
const LINK_PATIENCE: Duration = Duration::from_millis(500);
/// How often round trip times and ways are looked at again.
const REFRESH: Duration = Duration::from_secs(1);
/// Moves to the upper left corner and clears the screen.
const CLEAR: &str = "\x1b[H\x1b[2J";

const EXAMPLES: &str = "Examples:
  rolecast members --seed 10.0.0.1:7400 --secret-file mesh.secret
      one line for every node; link and rtt are as seen from this command
  rolecast members --watch ...
      the same, kept up to date
  rolecast members --json ... | jq -r 'select(.event == \"member\") | .addr'
      one JSON object for every node, and one with their number";

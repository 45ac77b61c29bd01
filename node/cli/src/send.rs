//! `rolecast send` and `rolecast broadcast`: messages without a reply.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use rolecast::{Bytes, Channel, Order, SlowReceivers};

use crate::acknowledgements::Acknowledgements;
use crate::address::{Address, PlaceOptions};
use crate::duration::parse_duration;
use crate::failure::Failure;
use crate::messages::{Messages, send_problem};
use crate::node_options::{NodeOptions, Part};
use crate::output::Output;
use crate::session::{OnInterrupt, with_node};
use crate::singles::send_singles;
use crate::view::{View, find_holders, find_member};

/// What `rolecast send` is told.
#[derive(Debug, Args)]
#[command(after_help = SEND_EXAMPLES)]
pub(crate) struct SendArgs {
    /// The role to send to; with a * at its end, every role whose name begins so
    role: String,
    /// The message; without it, every line of the standard input is one
    message: Option<String>,
    /// Send this file as one message, of whatever length, to every holder
    #[arg(long, value_name = "PATH", conflicts_with_all = ["message", "anycast", "to"])]
    file: Option<PathBuf>,
    /// Send to every holder of the role (the default)
    #[arg(long, group = "mode")]
    multicast: bool,
    /// Send each message to any one holder
    #[arg(long, group = "mode")]
    anycast: bool,
    /// Send to this node, if it holds the role; the first digits of its id are enough
    #[arg(long, group = "mode", value_name = "NODE", value_parser = parse_prefix)]
    to: Option<String>,
    /// Let a holder get each message as soon as it comes, even if an earlier one is missing
    #[arg(long, conflicts_with_all = ["anycast", "to"])]
    unordered: bool,
    /// Let every holder get a message after everything that its sender had got before
    #[arg(long, conflicts_with_all = ["anycast", "to", "unordered"])]
    causal: bool,
    /// Let nobody get a message before K holders have received it, so that it survives whatever happens to fewer
    #[arg(long, value_name = "K", default_value_t = 1, conflicts_with_all = ["anycast", "to"], value_parser = clap::value_parser!(u8).range(1..))]
    k_safe: u8,
    /// Never wait for slow holders: of the lines that begin with the same word, keep only the last for them
    #[arg(long, conflicts_with_all = ["anycast", "to", "file", "unordered", "causal", "k_safe"])]
    keep_last: bool,
    #[command(flatten)]
    place: PlaceOptions,
    #[command(flatten)]
    patience: SendPatience,
    #[command(flatten)]
    node: NodeOptions,
}

/// What `rolecast broadcast` is told.
#[derive(Debug, Args)]
#[command(after_help = BROADCAST_EXAMPLES)]
pub(crate) struct BroadcastArgs {
    /// The message; without it, every line of the standard input is one
    message: Option<String>,
    #[command(flatten)]
    patience: SendPatience,
    #[command(flatten)]
    node: NodeOptions,
}

/// How long a sender waits.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct SendPatience {
    /// Wait this long for somebody who holds the role
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_duration)]
    wait: Duration,
    /// Wait this long for room to send, and for the acknowledgements at the end
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    timeout: Duration,
}

/// What is sent, and how.
struct Sending {
    address: Address,
    message: Option<String>,
    file: Option<PathBuf>,
    mode: Mode,
    order: Order,
    k_safe: u8,
    keep_last: bool,
    patience: SendPatience,
}

/// To whom a message goes.
enum Mode {
    /// To every holder.
    Multicast,
    /// To any one holder.
    Anycast,
    /// To the node whose id starts so.
    To(String),
}

/// Sends to a role.
pub(crate) fn run(args: SendArgs, output: &Output) -> Result<(), Failure> {
    let mode = match (args.anycast, args.to) {
        (true, _) => Mode::Anycast,
        (false, Some(prefix)) => Mode::To(prefix),
        (false, None) => Mode::Multicast,
    };
    let address = Address::parse(&args.role, args.place)?;
    if address.has_preference() && !matches!(mode, Mode::Anycast) {
        return Err(Failure::usage(
            "--prefer-site chooses one holder of several, which only --anycast does",
        ));
    }
    if address.is_pattern() && (args.file.is_some() || args.keep_last) {
        return Err(Failure::usage(format!(
            "--file and --keep-last are for one role, and {} is a pattern",
            args.role
        )));
    }
    let sending = Sending {
        address,
        message: args.message,
        file: args.file,
        mode,
        order: match (args.unordered, args.causal) {
            (true, _) => Order::Unordered,
            (false, true) => Order::Causal,
            (false, false) => Order::default(),
        },
        k_safe: args.k_safe,
        keep_last: args.keep_last,
        patience: args.patience,
    };
    sending.run(&args.node, "send", output)
}

/// Sends to every node.
pub(crate) fn run_broadcast(args: BroadcastArgs, output: &Output) -> Result<(), Failure> {
    let sending = Sending {
        address: Address::everyone(),
        message: args.message,
        file: None,
        mode: Mode::Multicast,
        order: Order::default(),
        k_safe: 1,
        keep_last: false,
        patience: args.patience,
    };
    sending.run(&args.node, "broadcast", output)
}

impl Sending {
    fn run(
        self,
        options: &NodeOptions,
        part: &'static str,
        output: &Output,
    ) -> Result<(), Failure> {
        let settings = options.settings(Part::Visitor(part), output)?;
        let seeds = settings.seeds.clone();
        with_node(settings, OnInterrupt::Incomplete, output, async |node| {
            let mut view = View::of(node);
            let patience = self.patience.wait;
            let members = find_holders(&mut view, &self.address, &seeds, patience).await?;
            let timeout = self.patience.timeout;
            let channel = self.address.channel(node);
            let role = channel.role().expect("the address was checked").clone();
            let acknowledgements = Acknowledgements::collect(node.id(), &role);
            if let Some(path) = &self.file {
                return send_file(&channel, path, acknowledgements, timeout, output).await;
            }
            let messages = Messages::new(self.message, role);
            let channel = channel.order(self.order).k_safe(self.k_safe);
            match self.mode {
                Mode::Multicast if self.keep_last => {
                    let channel = channel.slow_receivers(SlowReceivers::KeepLast);
                    keep_last(&channel, messages, acknowledgements, timeout, output).await
                }
                Mode::Multicast => {
                    multicast(&channel, messages, acknowledgements, timeout, output).await
                }
                Mode::Anycast => {
                    let send = |payload| channel.anycast(payload).timeout(timeout);
                    send_singles(messages, send, output).await
                }
                Mode::To(prefix) => {
                    let to = find_member(&prefix, &members)?.id;
                    let send = |payload| channel.unicast(to, payload).timeout(timeout);
                    send_singles(messages, send, output).await
                }
            }
        })
    }
}

/// Sends a file to every holder as it is read, and reports who has taken all of it.
async fn send_file(
    channel: &Channel,
    path: &Path,
    acknowledgements: Acknowledgements,
    patience: Duration,
    output: &Output,
) -> Result<(), Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::usage(format!("{} cannot be read: {error}", path.display()))
    };
    let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    let metadata = file.metadata().await.map_err(unreadable)?;
    let start = Instant::now();
    let stream = channel.multicast_reader(file);
    // A pipe has no length.
    let sent = match metadata.is_file() {
        true => stream.length(metadata.len()).await,
        false => stream.await,
    };
    let problem = |error| Failure::failed(send_problem(acknowledgements.role(), &error));
    let receipt = sent.map_err(problem)?;
    acknowledgements.expect(receipt, patience).await?;
    let tally = acknowledgements.finish(patience).await;
    tally.report(start.elapsed(), output)?;
    tally.verdict(patience)
}

/// Sends every message to every holder, and reports who acknowledged them.
async fn multicast(
    channel: &Channel,
    mut messages: Messages,
    acknowledgements: Acknowledgements,
    patience: Duration,
    output: &Output,
) -> Result<(), Failure> {
    let start = Instant::now();
    let sent = multicast_all(channel, &mut messages, patience, &acknowledgements).await;
    let tally = acknowledgements.finish(patience).await;
    tally.report(start.elapsed(), output)?;
    sent?;
    tally.verdict(patience)
}

async fn multicast_all(
    channel: &Channel,
    messages: &mut Messages,
    patience: Duration,
    acknowledgements: &Acknowledgements,
) -> Result<(), Failure> {
    while let Some(payload) = messages.next().await? {
        match channel.multicast(payload).timeout(patience).await {
            Ok(receipt) => acknowledgements.expect(receipt, patience).await?,
            Err(error) => return Err(messages.failure(&error)),
        }
    }
    Ok(())
}

/// Sends every message to every holder as its first word's latest, and reports who acknowledged the last one.
async fn keep_last(
    channel: &Channel,
    mut messages: Messages,
    acknowledgements: Acknowledgements,
    patience: Duration,
    output: &Output,
) -> Result<(), Failure> {
    let start = Instant::now();
    let (mut last, mut sent) = (None, 0);
    let problem = loop {
        let Some(payload) = messages.next().await? else {
            break None;
        };
        let key = first_word(&payload);
        match channel.multicast(payload).key(key).timeout(patience).await {
            Ok(receipt) => (last, sent) = (Some(receipt), sent + 1),
            Err(error) => break Some(messages.failure(&error)),
        }
    };
    if let Some(receipt) = last {
        acknowledgements.expect(receipt, patience).await?;
    }
    let tally = acknowledgements.finish(patience).await.standing_for(sent);
    tally.report(start.elapsed(), output)?;
    problem.map_or(Ok(()), Err)?;
    tally.verdict(patience)
}

/// What a line is about, as far as a key may be long.
fn first_word(line: &Bytes) -> Bytes {
    let end = line.iter().position(u8::is_ascii_whitespace);
    line.slice(..end.unwrap_or(line.len()).min(KEY_BYTES_MAX))
}

fn parse_prefix(text: &str) -> Result<String, String> {
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if text.is_empty() || text.len() > NODE_ID_DIGITS || !is_hex {
        return Err(
            "a node is named by its id or the first digits of it, as `rolecast members` shows them"
                .to_owned(),
        );
    }
    Ok(text.to_owned())
}

/// The longest key of a message.
const KEY_BYTES_MAX: usize = 256;

/// A whole node id.
const NODE_ID_DIGITS: usize = 64;

const SEND_EXAMPLES: &str = "Examples:
  rolecast send chat 'hello' --seed 10.0.0.1:7400 --secret-file mesh.secret
      sends one message to every holder, and says who acknowledged it
  tail -f app.log | rolecast send logs ...
      sends every line, as fast as the slowest holder takes them
  sensors | rolecast send readings --keep-last ...
      sends every line; a slow holder gets the last line of each sensor, if that is its first word
  rolecast send films --file holiday.mp4 ...
      sends a file of any length, without reading it into memory
  rolecast send jobs 'resize 17' --anycast ...
      sends to any one holder
  rolecast send jobs 'resize 17' --anycast --prefer-site ams ...
      sends to any one holder in ams, or elsewhere if nobody is there
  rolecast send chat 'lunch' --in-site ams ...
      sends to every holder in the site ams
  rolecast send 'user-list:*' 'user 17 changed' ...
      sends to every holder of every role whose name begins with user-list:
  rolecast send db 'take a backup' --of-service --on-host rack-7 ...
      sends to every node of the service db on one host
  rolecast send chat 'psst' --to 3fa2 ...
      sends to the one node whose id starts with 3fa2

Exit code 0 means that every holder has taken every message.";

const BROADCAST_EXAMPLES: &str = "Examples:
  rolecast broadcast 'going down at 18:00' --seed 10.0.0.1:7400 --secret-file mesh.secret
      sends to every node of the mesh, whatever it holds
  rolecast listen '*' ...
      shows what is broadcast";

//! `rolecast request`: a question to one holder of a role, or to all.

use std::fmt;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use clap::Args;
use rolecast::{Bytes, Channel, NoAnswer, NodeId, RoleName, SendError, Unknown};
use serde_json::{Value, json};

use crate::address::{Address, PlaceOptions};
use crate::arrivals::hex;
use crate::duration::{parse_duration, show_duration};
use crate::failure::Failure;
use crate::human;
use crate::messages::send_problem;
use crate::node_options::{NodeOptions, Part};
use crate::output::{Output, write_failure};
use crate::session::{OnInterrupt, with_node};
use crate::style::{BAD, DIM, NAME};
use crate::view::{View, find_holders};

/// What `rolecast request` is told.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RequestArgs {
    /// The role to ask; with a * at its end, every role whose name begins so
    role: String,
    /// The question
    message: String,
    /// Wait this long for the answer
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = parse_duration)]
    timeout: Duration,
    /// Ask every holder instead of any one
    #[arg(long)]
    all: bool,
    /// Wait this long for somebody who holds the role
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_duration)]
    wait: Duration,
    #[command(flatten)]
    place: PlaceOptions,
    #[command(flatten)]
    node: NodeOptions,
}

/// Asks, and shows the answers.
pub(crate) fn run(args: RequestArgs, output: &Output) -> Result<(), Failure> {
    let address = Address::parse(&args.role, args.place)?;
    if address.has_preference() && args.all {
        return Err(Failure::usage(
            "--prefer-site chooses one holder of several, and --all asks every one",
        ));
    }
    let settings = args.node.settings(Part::Visitor("request"), output)?;
    let seeds = settings.seeds.clone();
    with_node(settings, OnInterrupt::Incomplete, output, async |node| {
        let channel = address.channel(node);
        let mut question = Question {
            role: channel.role().expect("the address was checked").clone(),
            channel,
            payload: args.message.into(),
            timeout: args.timeout,
            start: Instant::now(),
            output,
        };
        let mut view = View::of(node);
        let found = find_holders(&mut view, &address, &seeds, args.wait).await;
        if let Err(nobody) = found {
            question.show_no_reply(None, &nobody, false)?;
            return Err(nobody);
        }
        question.start = Instant::now();
        if args.all {
            question.ask_all().await
        } else {
            question.ask_one().await
        }
    })
}

struct Question<'a> {
    channel: Channel,
    role: RoleName,
    payload: Bytes,
    timeout: Duration,
    start: Instant,
    output: &'a Output,
}

impl Question<'_> {
    async fn ask_one(self) -> Result<(), Failure> {
        let request = self.channel.request(self.payload.clone());
        match request.timeout(self.timeout).await {
            Ok(reply) => self.show_reply(reply.node, &reply.payload),
            Err(error) => Err(self.failure(&error)?),
        }
    }

    /// Why there is no answer at all, shown as an object too where JSON is wanted.
    fn failure(&self, error: &SendError) -> Result<Failure, Failure> {
        let failure = Failure::failed(self.problem(error));
        let refuser = match error {
            SendError::Refused { node, .. } => Some(*node),
            _ => None,
        };
        self.show_no_reply(refuser, &failure, error.may_have_arrived())?;
        Ok(failure)
    }

    /// Shows programs that nobody answered, or not this node; people see it as an error or as a line of the table.
    fn show_no_reply(
        &self,
        node: Option<NodeId>,
        why: &dyn fmt::Display,
        may_have_arrived: bool,
    ) -> Result<(), Failure> {
        if !self.output.is_json() {
            return Ok(());
        }
        self.output.object(&json!({
            "event": "no-reply", "role": self.role.as_str(), "node": node.map(|node| node.to_hex()),
            "why": why.to_string(), "may_have_arrived": may_have_arrived, "ms": self.ms(),
        }))
    }

    fn ms(&self) -> f64 {
        self.start.elapsed().as_secs_f64() * 1_000.0
    }

    fn problem(&self, error: &SendError) -> String {
        match error {
            SendError::Unknown(Unknown::TimedOut) => format!(
                "no answer came within {}, and the holder may have acted on the request or not; --timeout waits longer",
                show_duration(self.timeout)
            ),
            SendError::Refused { .. } => format!(
                "{error}; a holder answers with `rolecast listen {} --reply TEXT` or in its program",
                self.role
            ),
            error => send_problem(&self.role, error),
        }
    }

    /// Shows the answer alone on the standard output, so that a script can take it as it is.
    fn show_reply(&self, node: NodeId, reply: &Bytes) -> Result<(), Failure> {
        if self.output.is_json() {
            return self.show_reply_object(node, reply);
        }
        let took = self.start.elapsed();
        let mut stdout = std::io::stdout().lock();
        if stdout.is_terminal() {
            drop(stdout);
            self.output.line(human::payload(reply))?;
        } else {
            let written = stdout.write_all(reply).and_then(|()| match reply.last() {
                Some(b'\n') => stdout.flush(),
                _ => stdout.write_all(b"\n").and_then(|()| stdout.flush()),
            });
            written.map_err(write_failure)?;
        }
        self.output.note(format_args!(
            "{DIM}from{DIM:#} {NAME}{node}{NAME:#} {DIM}in {}{DIM:#}",
            show_duration(took)
        ));
        Ok(())
    }

    fn show_reply_object(&self, node: NodeId, reply: &Bytes) -> Result<(), Failure> {
        let mut object = json!({
            "event": "reply", "role": self.role.as_str(), "node": node.to_hex(), "ms": self.ms(),
        });
        add_payload(&mut object, reply);
        self.output.object(&object)
    }

    async fn ask_all(self) -> Result<(), Failure> {
        let request = self.channel.request_all(self.payload.clone());
        let mut answers = match request.timeout(self.timeout).await {
            Ok(answers) => answers,
            Err(error) => return Err(self.failure(&error)?),
        };
        let (mut asked, mut answered) = (0, 0);
        while let Some(answer) = answers.next().await {
            asked += 1;
            answered += usize::from(answer.result.is_ok());
            self.show_answer(answer.node, &answer.result)?;
        }
        if answered < asked {
            // Who refused or went down did not need all the time.
            let in_time = match self.start.elapsed() < self.timeout {
                true => String::new(),
                false => format!(" within {}", show_duration(self.timeout)),
            };
            return Err(Failure::failed(format!(
                "{} of {} of {} did not answer{in_time}",
                asked - answered,
                human::number_of(asked, "holder"),
                self.role,
            )));
        }
        self.output.note(format_args!(
            "{DIM}{answered} of {} answered in {}{DIM:#}",
            human::number_of(asked, "holder"),
            show_duration(self.start.elapsed())
        ));
        Ok(())
    }

    fn show_answer(&self, node: NodeId, result: &Result<Bytes, NoAnswer>) -> Result<(), Failure> {
        if self.output.is_json() {
            return match result {
                Ok(reply) => self.show_reply_object(node, reply),
                Err(why) => {
                    let may_have_arrived = matches!(why, NoAnswer::Unknown(_));
                    self.show_no_reply(Some(node), why, may_have_arrived)
                }
            };
        }
        let took = show_duration(self.start.elapsed());
        match result {
            Ok(reply) => self.output.line(format_args!(
                "{NAME}{node}{NAME:#}  {DIM}{took:>8}{DIM:#}  {}",
                human::payload(reply)
            )),
            Err(why) => self.output.line(format_args!(
                "{NAME}{node}{NAME:#}  {DIM}{took:>8}{DIM:#}  {BAD}no answer:{BAD:#} {why}"
            )),
        }
    }
}

/// Adds a payload as text, or as hexadecimal digits if it is none.
fn add_payload(object: &mut Value, payload: &[u8]) {
    match std::str::from_utf8(payload) {
        Ok(text) => object["payload"] = json!(text),
        Err(_) => object["payload_hex"] = json!(hex(payload)),
    }
}

const EXAMPLES: &str = "Examples:
  rolecast request db:master 'read 17' --seed 10.0.0.1:7400 --secret-file mesh.secret
      asks any one holder; the standard output is its answer and nothing else
  rolecast request workers 'status' --all --timeout 500ms ...
      asks every holder, and says who did not answer
  rolecast request cache 'get 17' --prefer-site ams ...
      asks a holder in ams, or one elsewhere if nobody is there
  rolecast request db 'status' --of-service --all ...
      asks every node of the service db

Exit code 1 means that an answer is missing; the message says whether the request may have arrived.";

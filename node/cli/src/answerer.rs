//! How requests are answered: with a fixed text, by a command, or not at all.

use std::process::Stdio;
use std::sync::Arc;

use rolecast::{Bytes, Limits};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{ChildStdin, Command};
use tokio::sync::Semaphore;

use crate::arrivals::Request;
use crate::groups::Groups;
use crate::human;
use crate::output::Output;

/// Answers requests.
pub(crate) struct Answerer {
    answer: Answer,
    output: Output,
}

/// What the answer is.
#[derive(Clone)]
enum Answer {
    /// There is none: the request is refused.
    Refusal,
    /// Always this text.
    Text(Bytes),
    /// What this command line makes of the request.
    Command(Arc<CommandLine>),
}

/// A command line for `sh -c`.
struct CommandLine {
    line: String,
    at_once: Arc<Semaphore>,
    running: Groups,
}

impl Answerer {
    /// Refuses every request.
    pub(crate) fn refuse(output: &Output) -> Self {
        Answerer::new(Answer::Refusal, output)
    }

    /// Answers with a text.
    pub(crate) fn text(text: String, output: &Output) -> Self {
        Answerer::new(Answer::Text(text.into()), output)
    }

    /// Answers with what a command line writes when the request is its input.
    pub(crate) fn command(line: String, output: &Output) -> Self {
        let command = CommandLine {
            line,
            at_once: Arc::new(Semaphore::new(COMMANDS_MAX)),
            running: Groups::default(),
        };
        Answerer::new(Answer::Command(Arc::new(command)), output)
    }

    fn new(answer: Answer, output: &Output) -> Self {
        Answerer {
            answer,
            output: output.clone(),
        }
    }

    /// Answers one request; waits while too many commands run.
    pub(crate) async fn answer(&self, request: Request) {
        match &self.answer {
            Answer::Refusal => {}
            Answer::Text(text) => {
                // Whoever asked may be gone; that needs no answer.
                let _ = request.responder.reply(text.clone()).await;
            }
            Answer::Command(command) => {
                let Ok(permit) = Arc::clone(&command.at_once).acquire_owned().await else {
                    return;
                };
                let (command, output) = (Arc::clone(command), self.output.clone());
                tokio::spawn(async move {
                    command.answer(request, &output).await;
                    drop(permit);
                });
            }
        }
    }
}

/// Nobody is answered any more, and the process may end before the tasks that run commands do.
impl Drop for Answerer {
    fn drop(&mut self) {
        if let Answer::Command(command) = &self.answer {
            command.running.end_all();
        }
    }
}

impl CommandLine {
    /// Runs the command for one request; refuses the request if the command fails, and ends the command with all that it started if nobody waits any more.
    async fn answer(&self, request: Request, output: &Output) {
        let Request {
            role,
            origin,
            payload,
            responder,
        } = request;
        let origin_hex = origin.to_hex();
        let run = self.run(role.as_str(), &origin_hex, &payload);
        let result = tokio::select! {
            biased;
            () = responder.cancelled() => return,
            result = run => result,
        };
        match result {
            Ok(reply) => {
                if let Err(error) = responder.reply(reply).await {
                    output.warn(format!("the reply to {origin} was not sent: {error}"));
                }
            }
            Err(problem) => output.warn(format!(
                "the request of {origin} was refused, because the command {problem}"
            )),
        }
    }

    /// What the command writes; an error is the end of a sentence.
    async fn run(&self, role: &str, origin: &str, payload: &[u8]) -> Result<Bytes, String> {
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(&self.line)
            .env("ROLECAST_ROLE", role)
            .env("ROLECAST_ORIGIN", origin)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .process_group(0)
            .spawn()
            .map_err(|error| format!("could not be started: {error}"))?;
        let group = self.running.started(&child);
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (Some(stdin), Some(stdout)) = (stdin, stdout) else {
            return Err("has no pipes".to_owned());
        };
        let mut reply = Vec::new();
        let most = Limits::default().payload_bytes_max;
        let mut stdout = stdout.take(most as u64 + 1);
        let (_, read) = tokio::join!(feed(stdin, payload), stdout.read_to_end(&mut reply));
        read.map_err(|error| format!("could not be read: {error}"))?;
        if reply.len() > most {
            let most = human::count(most as u64);
            return Err(format!("wrote more than a reply can hold, {most} bytes"));
        }
        let ended = child.wait().await;
        group.leave();
        match ended {
            Ok(status) if status.success() => Ok(reply.into()),
            Ok(status) => Err(format!("failed ({status})")),
            Err(error) => Err(format!("could not be awaited: {error}")),
        }
    }
}

/// Writes the request to the command's input and closes it; a command need not read it.
async fn feed(mut stdin: ChildStdin, payload: &[u8]) {
    // A command that does not read its input closes the pipe.
    let _ = stdin.write_all(payload).await;
}

/// So many commands run at once at most.
const COMMANDS_MAX: usize = 16;

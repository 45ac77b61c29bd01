//! The `rolecast` command: nodes, messages to roles, a demo and benchmarks.

mod acknowledgements;
mod address;
mod answerer;
mod args;
mod arrivals;
mod bench;
mod bytes_text;
mod config_file;
mod demo;
mod duration;
mod failure;
mod groups;
mod human;
mod interrupt;
mod larges;
mod lines;
mod listen;
mod log;
mod members;
mod mesh_log;
mod messages;
mod nearest;
mod node;
mod node_options;
mod obstacles;
mod output;
mod parse;
mod request;
mod secret;
mod secret_source;
mod send;
mod session;
mod singles;
mod style;
mod table;
mod trust;
mod view;

use std::process::ExitCode;

use crate::args::Command;
use crate::failure::Failure;
use crate::output::Output;

fn main() -> ExitCode {
    let cli = match parse::command_line() {
        Ok(cli) => cli,
        Err((failure, output)) => return output.fail(&failure),
    };
    let output = Output::new(cli.json);
    log::init(cli.verbose);
    match run(cli.command, cli.verbose, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => output.fail(&failure),
    }
}

fn run(command: Command, verbose: u8, output: &Output) -> Result<(), Failure> {
    match command {
        Command::Demo(args) => demo::run(args, verbose, output),
        Command::DemoNode(args) => demo::run_actor(args),
        Command::Node(args) => node::run(args, output),
        Command::Listen(args) => listen::run(args, output),
        Command::Send(args) => send::run(args, output),
        Command::Broadcast(args) => send::run_broadcast(args, output),
        Command::Request(args) => request::run(args, output),
        Command::Members(args) => members::run(args, output),
        Command::Secret(args) => secret::run(args, output),
        Command::Bench(args) => bench::run(args, output),
    }
}

//! The sidecar, the gateway, and the command line: a thin main over the rooms.
//!
//! `start` brings the rooms up and down, `front` decides which room a request is for, `admin` is the port of probes and
//! metrics, `cli` are the commands for people.

mod admin;
mod args;
mod cli;
mod exit;
mod front;
mod random;
mod start;

use std::{io::Write as _, process::ExitCode};

use crate::{
    args::{Args, Command, DiagnoseCommand, QueueCommand, ServiceCommand},
    exit::Exit,
};

fn main() -> ExitCode {
    let Args { command } = Args::of_process();
    let done = match command {
        Command::Start(start) => start::run(&start),
        Command::Status(status) => cli::status(&status),
        Command::Ready(ready) => cli::ready(&ready),
        Command::Push(push) => cli::push(&push),
        Command::Pop(pop) => cli::pop(&pop),
        Command::Peek(peek) => cli::peek(&peek),
        Command::Release(release) => cli::release(&release),
        Command::Queue(queue) => match queue.command {
            QueueCommand::Ls(ls) => cli::queue_ls(&ls),
        },
        Command::Register(register) => cli::register(&register),
        Command::Service(service) => match service.command {
            ServiceCommand::Ls(ls) => cli::service_ls(&ls),
        },
        Command::Config(config) => cli::config(&config),
        Command::Route(route) => cli::route(&route.command),
        Command::Grid(grid) => cli::grid(&grid.command),
        Command::Tunnel(tunnel) => cli::tunnel(&tunnel.command),
        Command::Directory(directory) => cli::directory(&directory.command),
        Command::Verify(verify) => cli::verify(&verify),
        Command::Exec(exec) => cli::exec(&exec),
        Command::Diagnose(diagnose) => match diagnose.command {
            DiagnoseCommand::Route(route) => cli::diagnose_route(&route),
        },
    };
    done.map_or_else(report, |()| ExitCode::SUCCESS)
}

/// Says what went wrong, and ends with the code that stands for its kind.
fn report(exit: Exit) -> ExitCode {
    // With standard error closed there is nobody left to tell.
    let _ = writeln!(std::io::stderr(), "mesh: {exit}");
    exit.into()
}

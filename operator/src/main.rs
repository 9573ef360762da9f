//! The operator: three controllers, render, and leader election.

mod node;
mod render;

use std::{process::ExitCode, time::SystemTime};

use clap::{Parser, Subcommand};

/// The operator of Interconn.
#[derive(Debug, Parser)]
#[command(name = "mesh-operator", version)]
struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Write what the operator would write, from files and into directories, without a cluster
    Render(render::Arguments),
}

fn main() -> ExitCode {
    match Command::parse().verb {
        Verb::Render(arguments) => render::run(&arguments, SystemTime::now()),
    }
}

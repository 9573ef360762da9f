//! The operator: three controllers, render, and leader election.
//!
//! In a cluster it needs these rights, in the namespaces that it watches unless another is named:
//!
//! | resources | verbs |
//! |---|---|
//! | `meshnodes`, `meshroutes`, `serviceregistrations` (interconn.dev) | get, list, watch; `meshnodes` also patch |
//! | their `/status` | patch |
//! | `meshnodes/finalizers` | update |
//! | `secrets` | get, list, watch (each by name: field selector `metadata.name`), create, patch |
//! | `configmaps`, `services` | get, list, watch, create, patch; `configmaps` also delete |
//! | `pods` | list, patch |
//! | `events` (events.k8s.io) | create, patch |
//! | `leases` (coordination.k8s.io), in its own namespace | get, create, update |
//! | `secrets`, in its own namespace | get, create, patch, delete |

mod admin;
mod cluster;
mod controllers;
mod lease;
mod metrics;
mod node;
mod render;
mod run;

use std::{process::ExitCode, str::FromStr as _, time::SystemTime};

use clap::{Parser, Subcommand};
use tracing_subscriber::{filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Turns MeshNode, MeshRoute and ServiceRegistration into certificates and configuration.
#[derive(Parser)]
#[command(name = "mesh-operator", version, about)]
struct Cli {
    /// How much is logged, such as `info` or `info,mesh_operator=debug`.
    #[arg(long, env = "LOG_LEVEL", default_value = "info", value_parser = Targets::from_str, global = true)]
    log_level: Targets,
    /// One JSON object a line instead of text.
    #[arg(long, env = "LOG_JSON", global = true)]
    log_json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs in a cluster.
    Run(run::RunArgs),
    /// Writes what the operator would write, from files and into directories, without a cluster.
    Render(render::Arguments),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    log(cli.log_level, cli.log_json);
    let done = match cli.command {
        Command::Run(args) => in_runtime(run::run(args)),
        Command::Render(arguments) => return render::run(&arguments, SystemTime::now()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn in_runtime(task: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    // Process-wide, because kube picks the default provider; the only one in the graph is ring (deny.toml).
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a TLS provider was installed before"))?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(task)
}

fn log(level: Targets, as_json: bool) {
    let registry = tracing_subscriber::registry().with(level);
    if as_json {
        registry.with(fmt::layer().json().with_writer(std::io::stderr)).init();
    } else {
        registry.with(fmt::layer().with_writer(std::io::stderr)).init();
    }
}

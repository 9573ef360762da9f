//! The operator: three controllers, the webhook, render, check, and leader election.
//!
//! In a cluster it needs these rights, in the namespaces that it watches unless another is named:
//!
//! | resources | verbs |
//! |---|---|
//! | `meshnodes`, `meshroutes`, `serviceregistrations` (interconn.dev) | get, list, watch; `meshnodes` also patch; `meshroutes` also create, patch, delete |
//! | their `/status` | patch |
//! | `meshnodes/finalizers` | update |
//! | `secrets` | get, list, watch (each by name: field selector `metadata.name`), create, patch |
//! | `configmaps`, `services` | get, list, watch, create, patch; `configmaps` also delete |
//! | `statefulsets` (apps), `serviceaccounts`, `networkpolicies` (networking.k8s.io), `poddisruptionbudgets` (policy) | get, list, watch, create, patch, delete |
//! | `persistentvolumeclaims` | list |
//! | `tlsroutes` (gateway.networking.k8s.io) | get, list, watch, create, patch, delete |
//! | `certificaterequests` (cert-manager.io) | get, list, create, patch, delete |
//! | `pods` | get, list, watch, patch |
//! | `events` (events.k8s.io) | create, patch |
//! | `leases` (coordination.k8s.io), in its own namespace | get, create, update |
//! | `secrets`, in its own namespace | get, create, patch, delete; the webhook's also list, watch (by name) |
//! | `services`, in its own namespace, the intake's by name | get |
//! | `tokenreviews` (authentication.k8s.io), `subjectaccessreviews` (authorization.k8s.io), of the cluster | create |
//! | `mutatingwebhookconfigurations` (admissionregistration.k8s.io), of the cluster, the webhook's by name | get, list, watch, patch |

mod admin;
mod check;
mod cluster;
mod controllers;
mod crowd;
mod inject;
mod intake;
mod lease;
mod lines;
mod metrics;
mod node;
mod node_metrics;
mod places;
mod port;
mod render;
mod run;
mod thread;

use std::{process::ExitCode, str::FromStr as _, time::SystemTime};

use clap::{Parser, Subcommand, ValueEnum};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// Turns MeshNode, MeshRoute and ServiceRegistration into certificates and configuration.
#[derive(Parser)]
#[command(name = "mesh-operator", version, about)]
struct Cli {
    /// How much is logged, such as `info` or `info,mesh_operator=debug`.
    #[arg(long, env = "MESH_OPERATOR_LOG", value_name = "LEVELS", default_value = "info", value_parser = levels, global = true)]
    log: Targets,
    /// The form of the log.
    #[arg(long, env = "MESH_OPERATOR_LOG_FORMAT", value_enum, default_value = "text", global = true)]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Subcommand)]
enum Command {
    /// Runs in a cluster.
    Run(Box<run::RunArgs>),
    /// Writes what the operator would write, from files and into directories, without a cluster.
    Render(render::Arguments),
    /// Looks at a cluster before an installation, or at an installation, and says what is wrong and what to do.
    Check(check::Arguments),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    log(cli.log, cli.log_format);
    let done = match cli.command {
        Command::Run(args) => in_runtime(async { Box::pin(run::run(*args)).await.map(|()| ExitCode::SUCCESS) }),
        Command::Render(arguments) => return render::run(&arguments, SystemTime::now()),
        Command::Check(arguments) => in_runtime(check::run(arguments)),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn in_runtime(task: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    // Process-wide, because kube picks the default provider; the only one in the graph is ring (deny.toml).
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a TLS provider was installed before"))?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(task)
}

/// Both programs log alike.
fn log(levels: Targets, format: LogFormat) {
    let registry = tracing_subscriber::registry().with(levels);
    let lines = fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).init(),
        LogFormat::Text => registry.with(lines.with_ansi(false)).init(),
    }
}

/// As `MESH_LOG` of `mesh`: a word alone must be a level, where the filter itself would take it for a crate's name and log
/// nothing else.
fn levels(text: &str) -> Result<Targets, String> {
    let is_plain = |part: &str| part.contains('=') || LevelFilter::from_str(part.trim()).is_ok();
    let levels = text.split(',').all(is_plain).then(|| Targets::from_str(text).ok()).flatten();
    levels
        .ok_or_else(|| "write off, error, warn, info, debug or trace, or pairs such as info,mesh_operator=debug".into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_its_variables_have_one_prefix() {
        Cli::command().debug_assert();
        let mut commands = vec![Cli::command()];
        while let Some(command) = commands.pop() {
            for argument in command.get_arguments() {
                let variable = argument.get_env().map(|name| name.to_string_lossy().into_owned());
                assert!(variable.is_none_or(|name| name.starts_with("MESH_OPERATOR_")), "{argument:?}");
            }
            commands.extend(command.get_subcommands().cloned());
        }
    }

    #[test]
    fn a_level_that_cannot_be_read_is_refused() {
        for good in ["off", "warn", "info,mesh_operator=debug"] {
            assert!(levels(good).is_ok(), "{good}");
        }
        for bad in ["verbose", "mesh_operator=loud"] {
            assert!(levels(bad).is_err(), "{bad}");
        }
    }
}

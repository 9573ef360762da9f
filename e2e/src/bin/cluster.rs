//! A Kubernetes for tests, for as long as this process lives.
//!
//! `cluster api` starts etcd and an API server, prints its kubeconfig and stays until its standard input ends or a signal
//! comes; tests start it so. `cluster node -- COMMAND` starts a whole node, runs the command in its network with
//! `KUBECONFIG` set, and ends with the command's exit code; without a command it stays like `api`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::{env, fs};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use e2e::cluster::launch::Launcher;
use e2e::cluster::state::{self, State};
use e2e::cluster::{control_plane, node, policies, teardown};
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(about = "A Kubernetes for tests, for as long as this process lives")]
struct Args {
    #[command(subcommand)]
    tier: Tier,
    /// Where the logs of the programs, and what was in the cluster, are kept when it has ended.
    #[arg(long, global = true, env = "E2E_LOGS", default_value = "target/e2e-logs")]
    logs: PathBuf,
}

#[derive(Subcommand)]
enum Tier {
    /// etcd and the API server, on free ports of 127.0.0.1.
    Api {
        /// The folder for its logs below LOGS.
        #[arg(long, default_value = "api")]
        name: String,
    },
    /// A whole node, in a network namespace.
    Node {
        /// The folder with the image archives that the node is to have.
        #[arg(long, default_value = "target/images")]
        images: PathBuf,
        /// What to run in its network.
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Clears what killed runs left.
    Clear,
    /// Enforces the NetworkPolicies of a cluster, in whose network it runs.
    #[command(hide = true)]
    Policies { kubeconfig: PathBuf },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let Args { tier, logs } = Args::parse();
    if let Tier::Policies { kubeconfig } = &tier {
        return policies::enforce(kubeconfig).await.map(|()| ExitCode::SUCCESS);
    }
    let _turn = match &tier {
        Tier::Node { .. } => Some(state::turn().await?),
        Tier::Api { .. } | Tier::Clear | Tier::Policies { .. } => None,
    };
    teardown::leftovers().await?;
    let (name, netns) = match &tier {
        Tier::Api { name } => (name.clone(), None),
        Tier::Node { .. } => ("node".to_owned(), Some(node::NETNS)),
        Tier::Clear | Tier::Policies { .. } => return Ok(ExitCode::SUCCESS),
    };
    let state = State::create(&name)?;
    let result = tokio::select! {
        result = run(&tier, state.clone(), netns) => result,
        name = ended() => {
            e2e::say(&format!("{name}: taking the cluster down"));
            Ok(ExitCode::FAILURE)
        }
    };
    let kept = keep(&state, &logs.join(&name));
    teardown::down(&state).await?;
    kept?;
    result
}

async fn run(tier: &Tier, state: State, netns: Option<&str>) -> Result<ExitCode> {
    let mut launcher = Launcher::new(state, netns)?;
    let kubeconfig = launcher.state.text("etc/admin.kubeconfig");
    let command = match tier {
        Tier::Node { images, command } => {
            node::start(&mut launcher, images).await?;
            command
        }
        Tier::Api { .. } | Tier::Clear | Tier::Policies { .. } => {
            let place = control_plane::Place::loopback()?;
            let authority = control_plane::start(&mut launcher, place).await?;
            // The operator's own user: tests see that its rights suffice, and find its writes in the audit log.
            authority.client(&place.server(), "operator", Some("system:serviceaccounts"), e2e::operator::USER)?;
            &Vec::new()
        }
    };
    println!("KUBECONFIG={kubeconfig}");
    let Some((program, args)) = command.split_first() else {
        input_ended().await?;
        return Ok(ExitCode::SUCCESS);
    };
    let mut command = tokio::process::Command::from(launcher.command(program));
    // The kubectl that was built with the servers comes before the machine's.
    let path = format!("{}:{}", launcher.state.text("bin"), env::var("PATH").unwrap_or_default());
    command.env("KUBECONFIG", &kubeconfig).env("PATH", path);
    if let Tier::Node { images, .. } = tier {
        // For who brings images to it as people do: where they are, and where the `ctr` of whoever runs it finds the runtime.
        let images = images.canonicalize().with_context(|| images.display().to_string())?;
        command.env("E2E_IMAGES", images).env("CONTAINERD_ADDRESS", launcher.state.text("run/containerd.sock"));
    }
    let status = command.args(args).kill_on_drop(true).status().await;
    let status = status.with_context(|| format!("cannot run {program}"))?;
    inventory(&launcher)?;
    Ok(status.code().and_then(|c| u8::try_from(c).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Whoever started us holds the other end of our input; it closes however that process ends.
async fn input_ended() -> Result<()> {
    let mut rest = Vec::new();
    tokio::io::stdin().read_to_end(&mut rest).await.context("cannot read the standard input")?;
    Ok(())
}

async fn ended() -> &'static str {
    let kinds =
        [("SIGINT", SignalKind::interrupt()), ("SIGTERM", SignalKind::terminate()), ("SIGHUP", SignalKind::hangup())];
    let waits = kinds.into_iter().map(|(name, kind)| {
        Box::pin(async move {
            match signal(kind) {
                Ok(mut signals) => signals.recv().await,
                Err(_) => std::future::pending().await,
            };
            name
        })
    });
    futures::future::select_all(waits).await.0
}

/// What was in the cluster at the end, beside the logs.
fn inventory(launcher: &Launcher) -> Result<()> {
    let kinds = "nodes,pods,deployments,services,configmaps,serviceaccounts,leases,customresourcedefinitions";
    let all = launcher.kubectl(&["get", "-A", "-o", "yaml", kinds])?;
    launcher.state.write("log/objects.yaml", &all)?;
    let events = launcher.kubectl(&["get", "-A", "events", "--sort-by=.lastTimestamp"])?;
    launcher.state.write("log/events.txt", &events)?;
    // Not there when the test failed before it installed the CRDs.
    if let Ok(ours) = launcher.kubectl(&["get", "-A", "-o", "yaml", "meshnodes,meshroutes,serviceregistrations"]) {
        launcher.state.write("log/interconn.yaml", &ours)?;
    }
    Ok(())
}

/// Keeps the logs of this run in place of those of the run before.
fn keep(state: &State, kept: &Path) -> Result<()> {
    match fs::remove_dir_all(kept) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e).context("cannot remove the logs of the last run"),
        _ => {}
    }
    fs::create_dir_all(kept).with_context(|| format!("cannot create {}", kept.display()))?;
    let from = state.path("log").join(".");
    let status = std::process::Command::new("cp").arg("-rL").arg(from).arg(kept).stderr(Stdio::inherit()).status()?;
    anyhow::ensure!(status.success(), "cannot copy the logs to {}", kept.display());
    let here = env::current_dir().unwrap_or_default();
    e2e::say(&format!("logs of the cluster: {}", here.join(kept).display()));
    Ok(())
}

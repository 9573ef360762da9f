//! Enforces NetworkPolicies on the test cluster's node, as a network plugin does: all that is said is looked up again and again, and
//! becomes rules of iptables ([`rules`]). Runs in the cluster's network namespace, in a process of its own.
//!
//! What the node itself sends is always let in, as everywhere: probes come from there.

pub mod rules;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, ListParams, VersionMatch};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, ResourceExt};
use rules::{Said, Subject};

/// A pod that has just got its address is open for so long. The API server answers from memory, which costs it next to nothing.
const LOOK: Duration = Duration::from_millis(300);
/// Packets between two pods on one bridge pass iptables only where this says so.
const BRIDGED: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";
/// Where packets pass on their way between pods, and from pods to the node.
const HOOKS: [&str; 2] = ["FORWARD", "INPUT"];

/// Enforces until the process ends. An API server that is away changes nothing, nor do rules that are not taken: kube-proxy writes
/// rules too, and may have been faster. Both are tried again.
///
/// # Errors
/// When the cluster cannot be asked for want of a kubeconfig, or a policy says what is not translated here.
pub async fn enforce(kubeconfig: &Path) -> Result<()> {
    let config = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    let client = Client::try_from(config)?;
    std::fs::write(BRIDGED, "1").with_context(|| format!("cannot write {BRIDGED}"))?;
    let mut last = String::new();
    loop {
        match said(&client).await {
            Ok(said) => {
                let rules = rules::translate(&said)?;
                if rules != last {
                    match take(&rules) {
                        Ok(()) => last = rules,
                        Err(e) => crate::say(&format!("policies are not enforced yet: {e:#}")),
                    }
                }
            }
            Err(e) => crate::say(&format!("policies stay as they are: {e:#}")),
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Puts rules in the place of those before, and sees that packets pass them.
fn take(rules: &str) -> Result<()> {
    iptables("iptables-restore", &["--noflush"], rules)?;
    for hook in HOOKS {
        if iptables("iptables", &["-C", hook, "-j", rules::CHAIN], "").is_err() {
            iptables("iptables", &["-I", hook, "-j", rules::CHAIN], "")?;
        }
    }
    Ok(())
}

async fn said(client: &Client) -> Result<Said> {
    let known = ListParams { resource_version: Some("0".into()), ..ListParams::default() };
    let known = known.matching(VersionMatch::NotOlderThan);
    let pods = Api::<Pod>::all(client.clone()).list(&known).await?.items;
    let namespaces = Api::<Namespace>::all(client.clone()).list(&known).await?.items;
    let policies = Api::<NetworkPolicy>::all(client.clone()).list(&known).await?.items;
    Ok(Said {
        pods: pods.iter().filter_map(subject).collect(),
        namespaces: namespaces.iter().map(|n| (n.name_any(), n.labels().clone())).collect(),
        policies: policies.into_iter().filter_map(|p| Some((p.namespace()?, p.spec?))).collect(),
    })
}

/// A pod with an address of its own, while it has it.
fn subject(pod: &Pod) -> Option<Subject> {
    let (spec, status) = (pod.spec.as_ref()?, pod.status.as_ref()?);
    let is_over = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    if spec.host_network == Some(true) || is_over {
        return None;
    }
    let address = status.pod_ip.as_deref()?.parse().ok()?;
    Some(Subject { namespace: pod.namespace()?, labels: pod.labels().clone(), address })
}

fn iptables(program: &str, args: &[&str], input: &str) -> Result<()> {
    let mut command = Command::new(program);
    command.arg("-w").args(args).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot run {program}"))?;
    child.stdin.take().context("it has no input")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {}: {}\n{input}", args.join(" "), said.trim());
    Ok(())
}

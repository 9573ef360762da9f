//! The main job on a real kubelet: two institutions exchange messages under steady load while certificates are renewed, the
//! operator and a sidecar are killed, and a route is switched off and on. No call fails but those that must.
//!
//! The kubelet keeps its usual sync of a minute. A change that must arrive within [`NUDGED`] arrives only by the nudge.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::institution::{self, A, B, Institution};
use e2e::kubectl::{apply, kubectl};
use e2e::ledger::{Failure, now};
use e2e::{definitions, loss, wait};
use kube::Client;

/// Below the minute that the kubelet would take by itself.
const NUDGED: Duration = Duration::from_secs(30);
/// Pods and programs start within seconds; a machine under load gets this long.
const STARTED: Duration = Duration::from_secs(300);
/// The lease of a killed operator has to run out first.
const RESTARTED: Duration = Duration::from_secs(90);
/// What a route that is switched off answers (PTP section 13).
const DISABLED: &str = "E0000000606";
/// So many calls at 20 per second show that the load runs.
const STRETCH: u64 = 40;

/// A time in which calls that are under way may fail, and with what.
struct Window {
    from: u64,
    to: u64,
    said: &'static str,
}

struct World {
    client: Client,
    windows: Vec<Window>,
}

#[tokio::test]
async fn two_institutions_exchange_messages_through_every_disturbance() -> Result<()> {
    let client = Client::try_default().await.context("KUBECONFIG names no cluster: run it by `make test`")?;
    let mut world = World { client, windows: Vec::new() };
    definitions::install(&world.client).await?;
    apply(include_str!("../manifests/operator.yaml"))?;
    rolled_out("interconn-system", "mesh-operator")?;
    for (us, partner) in [(A, B), (B, A)] {
        apply(&us.manifest(&partner))?;
    }
    world.exchange_roots().await?;
    for bank in [A, B] {
        rolled_out(bank.bank, bank.bank)?;
        condition(&bank, "meshnode/node", "Ready")?;
        condition(&bank, "meshroute/partner", "Ready")?;
    }
    world.progress("the start").await.context("no load after the start")?;
    // Until both nodes know each other, calls fail; what counts begins here.
    world.windows.push(Window { from: 0, to: now(), said: "" });

    world.renew_leaf().await.context("while a leaf is renewed")?;
    world.kill_operator().await.context("while the operator is killed")?;
    world.kill_sidecar().await.context("while a sidecar is killed")?;
    world.switch_route().await.context("while a route is switched off and on")?;

    world.progress("the end").await?;
    world.all_arrived().await?;
    world.only_what_must_failed().await?;
    nothing_is_left_but_the_root(&A)
}

fn rolled_out(namespace: &str, deployment: &str) -> Result<()> {
    let limit = format!("--timeout={}s", STARTED.as_secs());
    kubectl(&["-n", namespace, "rollout", "status", &format!("deployment/{deployment}"), &limit], "")?;
    Ok(())
}

fn condition(bank: &Institution, object: &str, kind: &str) -> Result<()> {
    let (wanted, limit) = (format!("--for=condition={kind}"), format!("--timeout={}s", STARTED.as_secs()));
    kubectl(&["-n", bank.bank, "wait", object, &wanted, &limit], "")?;
    Ok(())
}

fn patch(bank: &Institution, object: &str, patch: &str) -> Result<()> {
    kubectl(&["-n", bank.bank, "patch", object, "--type=merge", "-p", patch], "")?;
    Ok(())
}

fn read(bank: &Institution, object: &str, path: &str) -> Result<String> {
    kubectl(&["-n", bank.bank, "get", object, "-o", &format!("jsonpath={path}")], "")
}

/// Kubernetes collects what the node owned; the root's key, and with it the identity, stays.
fn nothing_is_left_but_the_root(bank: &Institution) -> Result<()> {
    kubectl(&["-n", bank.bank, "delete", "meshnode/node", "meshroute/partner"], "")?;
    let limit = format!("--timeout={}s", STARTED.as_secs());
    let objects = "secrets,configmaps,services";
    kubectl(&["-n", bank.bank, "wait", objects, "-l", "interconn.dev/node=node", "--for=delete", &limit], "")?;
    kubectl(&["-n", "interconn-system", "get", "secret", &format!("mesh-root.{}.node", bank.bank)], "")?;
    Ok(())
}

impl World {
    /// Carries each institution's public root over to the other one.
    async fn exchange_roots(&self) -> Result<()> {
        for (from, to) in [(A, B), (B, A)] {
            let root = wait::until("the ConfigMap node-root", STARTED, || async move {
                let root = read(&from, "configmap/node-root", r"{.data.ca\.crt}")?;
                ensure!(root.contains("BEGIN CERTIFICATE"), "no certificate in it");
                Ok(root)
            });
            let root = root.await?;
            let made = ["create", "configmap", "partner-root", "--dry-run=client", "-o", "yaml"];
            let literal = format!("--from-literal=ca.crt={root}");
            apply(&kubectl(&[["-n", to.bank].as_slice(), &made, &[&literal]].concat(), "")?)?;
        }
        Ok(())
    }

    /// Waits until both applications have done a stretch of work, so that a load that stands still is seen.
    async fn progress(&self, when: &str) -> Result<()> {
        for bank in [A, B] {
            let before = bank.ledger(&self.client).await.map_or(0, |l| l.done);
            wait::until(&format!("{} to work at {when}", bank.bank), STARTED, || async move {
                let ledger = bank.ledger(&self.client).await?;
                let done = ledger.done.saturating_sub(before);
                ensure!(done >= STRETCH, "{done} calls done; failed: {:?}", ledger.failed);
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// A shorter life makes the leaf one that lives too long: the operator issues another, and the sidecar shows it.
    async fn renew_leaf(&self) -> Result<()> {
        for bank in [A, B] {
            let before = self.leaf_end(&bank).await?;
            patch(&bank, "meshnode/node", r#"{"spec": {"certificates": {"leafLifetime": "24h"}}}"#)?;
            wait::until("a new leaf in force", NUDGED, || async {
                let end = self.leaf_end(&bank).await?;
                ensure!(end != before, "{}: the leaf still ends at {end}", bank.bank);
                Ok(())
            })
            .await?;
        }
        self.progress("the renewal").await
    }

    /// When the leaf that a sidecar works with ends, as it says itself.
    async fn leaf_end(&self, bank: &Institution) -> Result<String> {
        let metrics = bank.get(&self.client, 7305, "metrics").await?;
        let line = metrics.lines().find(|l| !l.starts_with('#') && l.contains("leaf_not_after_seconds"));
        let (_, value) = line.and_then(|l| l.rsplit_once(' ')).context("no metric of the leaf's end")?;
        Ok(value.to_owned())
    }

    async fn kill_operator(&self) -> Result<()> {
        let name = "jsonpath={.items[0].metadata.name}";
        let pod = kubectl(&["-n", "interconn-system", "get", "pods", "-o", name], "")?;
        institution::kill(&pod, "/bin/mesh-operator run")?;
        self.progress("the operator's death").await?;
        wait::until("the operator to be ready again", RESTARTED, || async {
            let ready = "jsonpath={.items[0].status.containerStatuses[0]['restartCount','ready']}";
            let said = kubectl(&["-n", "interconn-system", "get", "pods", "-o", ready], "")?;
            ensure!(said == "1 true", "restarts and readiness: {said}");
            Ok(())
        })
        .await
    }

    /// The calls of the moment fail, and those until it is back.
    async fn kill_sidecar(&mut self) -> Result<()> {
        let from = now();
        let pod = A.pod(&self.client).await?;
        let failed = A.ledger(&self.client).await?.failed_total();
        institution::kill(&pod, "/bin/mesh start")?;
        wait::until("the application to notice", STARTED, || async {
            let ledger = A.ledger(&self.client).await?;
            ensure!(ledger.failed_total() > failed, "no call has failed yet");
            Ok(())
        })
        .await?;
        self.progress("the sidecar's return").await?;
        self.windows.push(Window { from, to: now(), said: "connection" });
        Ok(())
    }

    /// Refused within seconds, and taken again within seconds.
    async fn switch_route(&mut self) -> Result<()> {
        let from = now();
        let before = A.ledger(&self.client).await?.failed.get(DISABLED).copied().unwrap_or_default();
        patch(&A, "meshroute/partner", r#"{"spec": {"disabled": true}}"#)?;
        wait::until("calls to be refused", NUDGED, || async {
            let failed = A.ledger(&self.client).await?.failed;
            let refused = failed.get(DISABLED).copied().unwrap_or_default();
            ensure!(refused > before + 5, "{refused} refused so far: {failed:?}");
            Ok(())
        })
        .await?;
        let done = A.ledger(&self.client).await?.done;
        patch(&A, "meshroute/partner", r#"{"spec": {"disabled": false}}"#)?;
        wait::until("calls to be taken again", NUDGED, || async {
            let now_done = A.ledger(&self.client).await?.done;
            ensure!(now_done > done, "{now_done} done, as before");
            Ok(())
        })
        .await?;
        self.windows.push(Window { from, to: now(), said: DISABLED });
        Ok(())
    }

    /// What was answered with success is at the partner's application.
    async fn all_arrived(&self) -> Result<()> {
        let pushed = A.ledger(&self.client).await?.seen;
        wait::until("every message to arrive", STARTED, || async {
            let arrived = B.ledger(&self.client).await?.seen;
            let missing: Vec<&u64> = pushed.difference(&arrived).take(20).collect();
            loss::none_unless(missing.is_empty(), || {
                format!("of {} messages these are missing: {missing:?}", pushed.len())
            })
        })
        .await
    }

    async fn only_what_must_failed(&self) -> Result<()> {
        let must = |failure: &Failure| {
            let within = |w: &&Window| failure.begun <= w.to && failure.at >= w.from;
            self.windows.iter().filter(within).any(|w| failure.said.contains(w.said))
        };
        for bank in [A, B] {
            let ledger = bank.ledger(&self.client).await?;
            let wrong: Vec<Failure> = ledger.failures.into_iter().filter(|f| !must(f)).collect();
            loss::none_unless(wrong.is_empty(), || format!("{}: calls failed that must not: {wrong:?}", bank.bank))?;
        }
        Ok(())
    }
}

//! The API server is away for a minute: nothing that runs notices, and what changed meanwhile is caught up with.

use std::path::Path;

use anyhow::bail;
use e2e::cluster::process::{self, Process};
use e2e::wait;

use super::pair::{Pair, institution};
use super::*;

/// As long as an upgrade of a control plane of one machine takes.
const AWAY: Duration = Duration::from_secs(60);

/// The API server's process, stopped for as long as this lives. One that hangs is worse than one that refuses.
struct Stopped(Process);

impl Stopped {
    fn stop() -> Result<Self> {
        let all: Vec<Process> = process::called_with("kube-apiserver --")?;
        // Others run tests on this machine too: ours works in the folder of its kubeconfig, or is the only one.
        let config = std::env::var("KUBECONFIG").unwrap_or_default();
        let folder = Path::new(&config).ancestors().nth(2).map(|p| p.display().to_string()).unwrap_or_default();
        let is_ours = |p: &&Process| {
            let line = std::fs::read_to_string(format!("/proc/{}/cmdline", p.pid)).unwrap_or_default();
            folder.len() > 1 && line.contains(&folder)
        };
        let ours: Vec<Process> = all.iter().filter(is_ours).copied().collect();
        let found = if ours.is_empty() { all } else { ours };
        let [server] = found.as_slice() else {
            bail!(
                "{} API servers are to be seen, and it is not clear which is ours: this needs root on its machine",
                found.len()
            );
        };
        server.signal("STOP");
        Ok(Self(*server))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.0.signal("CONT");
    }
}

#[tokio::test]
async fn an_api_server_that_is_away_for_a_minute_costs_no_call_and_changes_go_on_after_it() -> Result<()> {
    let _alone = ALONE.write().await;
    let (x, y) =
        (institution("outage-x", "LX0000010000285", "push", 1), institution("outage-y", "LX0000010000275", "pop", 1));
    let pair = Pair::start(x, y).await?;
    let before = pair.accounts().await?;
    let stopped = Stopped::stop()?;
    tokio::time::sleep(AWAY).await;
    drop(stopped);
    let after = wait::until("the API server to answer", STARTED, || pair.accounts()).await?;
    let done = |books: &[e2e::ledger::Ledger]| books.iter().map(|book| book.done).sum::<u64>();
    let (pushed, popped) = (done(&after.pushes) - done(&before.pushes), done(&after.pops) - done(&before.pops));
    // Twenty a second were asked for; half of them show that the work never stood still.
    let least = AWAY.as_secs() * 10;
    ensure!(pushed >= least && popped >= least, "{pushed} pushes and {popped} pops in {AWAY:?}");

    pair.nothing_failed_and_nothing_is_lost().await?;

    rolled_out(SYSTEM, "deployment/interconn-operator")?;
    let off = r#"{"spec": {"disabled": true}}"#;
    kubectl(&["-n", x.bank, "patch", "meshroute/partner", "--type=merge", "-p", off], "")?;
    let on = r#"{"spec": {"disabled": false}}"#;
    pair.only_that_failed("E0000000606").await?;
    kubectl(&["-n", x.bank, "patch", "meshroute/partner", "--type=merge", "-p", on], "")?;
    pair.progress("the API server's return").await?;
    pair.nothing_is_lost().await?;
    pair.end()
}

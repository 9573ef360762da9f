//! Certificates under steady load: a leaf is renewed, a root rolls while partners follow, and no call notices.

use base64::{Engine, prelude::BASE64_STANDARD};
use e2e::institution::Institution;
use e2e::wait;
use serde_json::Value;

use super::pair::{Pair, institution};
use super::*;

fn get(us: &Institution, object: &str, path: &str) -> Result<String> {
    kubectl(&["-n", us.bank, "get", object, "-o", &format!("jsonpath={path}")], "")
}

/// When the leaf ends that the gateway shows, as it says itself.
async fn leaf_end(pair: &Pair, us: &Institution) -> Result<String> {
    metric(pair, us, "mesh_config_leaf_not_after_seconds").await
}

async fn metric(pair: &Pair, us: &Institution, name: &str) -> Result<String> {
    let metrics = us.get_from(&pair.client, "mesh-node-0", 7305, "metrics").await?;
    let found = metrics.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
    found.map(str::to_owned).with_context(|| format!("no {name}"))
}

#[tokio::test]
async fn three_pods_of_each_institution_exchange_while_leaves_are_renewed_and_a_root_rolls() -> Result<()> {
    let _beside = ALONE.read().await;
    let (x, y) = (
        institution("identity-x", "LX0000010000282", "push", 3),
        institution("identity-y", "LX0000010000272", "pop", 3),
    );
    let pair = Pair::start(x, y).await?;
    let accounts = pair.accounts().await?;
    ensure!(accounts.pushes.len() == 3 && accounts.pops.len() == 3, "not three pods each");
    ensure!(accounts.pushes.iter().all(|book| book.done > 0), "not all three push");

    for us in [x, y] {
        let before = leaf_end(&pair, &us).await?;
        let shorter = r#"{"spec": {"certificates": {"leafLifetime": "24h"}}}"#;
        kubectl(&["-n", us.bank, "patch", "meshnode/node", "--type=merge", "-p", shorter], "")?;
        wait::until("the gateway to show its new leaf", STARTED, || async {
            ensure!(leaf_end(&pair, &us).await? != before, "the leaf still ends at {before}");
            Ok(())
        })
        .await?;
    }
    pair.progress("the renewal").await?;

    roll(&pair, &x, &y).await?;
    pair.progress("the roll").await?;
    pair.nothing_failed_and_nothing_is_lost().await?;
    no_key_is_in_the_logs(&[x.bank, y.bank, SYSTEM])?;
    pair.end()
}

/// Of the keys of these namespaces, roots and new leaves among them, none is in what their pods said.
fn no_key_is_in_the_logs(namespaces: &[&str]) -> Result<()> {
    let (mut keys, mut said) = (Vec::new(), String::new());
    for namespace in namespaces {
        let secrets: Value = serde_json::from_str(&kubectl(&["-n", namespace, "get", "secrets", "-o", "json"], "")?)?;
        for secret in secrets["items"].as_array().into_iter().flatten() {
            let files = secret["data"].as_object().into_iter().flatten();
            keys.extend(files.filter(|(file, _)| file.ends_with(".key")).map(|(_, key)| key.clone()));
        }
        for pod in kubectl(&["-n", namespace, "get", "pods", "-o", "name"], "")?.lines() {
            // A pod that ends meanwhile has no log any more.
            let log = kubectl(&["-n", namespace, "logs", pod, "--all-containers", "--tail=-1"], "");
            said.push_str(&log.unwrap_or_default());
        }
    }
    ensure!(keys.len() >= 6 && said.contains("mesh::start"), "nothing was looked at: {} keys", keys.len());
    for key in &keys {
        let encoded = key.as_str().context("no key")?;
        let key = String::from_utf8(BASE64_STANDARD.decode(encoded)?)?;
        let body = key.lines().find(|line| !line.starts_with("-----")).context("an empty key")?;
        ensure!(!said.contains(encoded) && !said.contains(body), "a key is in a log");
    }
    Ok(())
}

/// As `docs/identity.md` tells people to.
async fn roll(pair: &Pair, us: &Institution, partner: &Institution) -> Result<()> {
    let roots = || get(us, "configmap/node-root", r"{.data.ca\.crt}");
    let old = roots()?;
    kubectl(&["-n", us.bank, "annotate", "meshnode/node", "interconn.dev/roll-root=1"], "")?;
    let pending = ["meshnode/node", "--for=condition=RootRollPending"];
    kubectl(&[["-n", us.bank, "wait"].as_slice(), &pending, &[&limit()]].concat(), "")?;
    let both = wait::until("both roots to be published", STARTED, || async {
        let both = roots()?;
        ensure!(both.matches("BEGIN CERTIFICATE").count() == 2, "{both}");
        Ok(both)
    })
    .await?;
    // The partner knows the old one only, and takes what is shown by its cross certificate.
    pair.progress("the beginning of the roll").await?;
    partner.introduce(us, STARTED).await?;
    pair.progress("the partner's taking both").await?;
    let new = get(us, "meshnode/node", "{.status.rootCertificates[0].sha256}")?;
    kubectl(&["-n", us.bank, "annotate", "meshroute/partner", &format!("interconn.dev/trusts-root={new}")], "")?;
    let last = wait::until("the old root to go", STARTED, || async {
        let last = roots()?;
        ensure!(last.matches("BEGIN CERTIFICATE").count() == 1, "there are two");
        Ok(last)
    })
    .await?;
    ensure!(last != old && both.contains(last.trim()), "the wrong one went");
    partner.introduce(us, STARTED).await
}

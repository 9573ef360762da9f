//! An institution is lost with its cluster and comes back from a backup, as `docs/install.md` tells people to: its partner trusts it as
//! before.

use e2e::kubectl::apply;
use e2e::wait;
use serde_json::Value;

use super::pair::{Pair, institution};
use super::*;

/// What the backup keeps of an object: nothing that the old cluster gave it.
fn kept(namespace: &str, object: &str) -> Result<String> {
    let mut value: Value = serde_json::from_str(&kubectl(&["-n", namespace, "get", object, "-o", "json"], "")?)?;
    let metadata = value["metadata"].as_object_mut().context("no metadata")?;
    for theirs in ["uid", "resourceVersion", "creationTimestamp", "managedFields", "ownerReferences"] {
        metadata.remove(theirs);
    }
    Ok(value.to_string())
}

fn read(namespace: &str, object: &str, path: &str) -> Result<String> {
    kubectl(&["-n", namespace, "get", object, "-o", &format!("jsonpath={path}")], "")
}

#[tokio::test]
async fn an_institution_that_is_restored_from_its_backup_exchanges_with_a_partner_that_changed_no_trust() -> Result<()>
{
    let _beside = ALONE.read().await;
    let (x, y) = (
        institution("restored-x", "LX0000010000291", "push", 1),
        institution("restored-y", "LX0000010000261", "pop", 1),
    );
    let pair = Pair::start(x, y).await?;
    let (uid, root) =
        (read(x.bank, "meshnode/node", "{.metadata.uid}")?, read(x.bank, "configmap/node-root", r"{.data.ca\.crt}")?);
    let secrets = ["mesh-root", "mesh-member-root"].map(|kind| format!("secret/{kind}.{}.node", x.bank));
    let roots = secrets.iter().map(|secret| kept(SYSTEM, secret)).collect::<Result<Vec<_>>>()?;
    let resources = ["meshnode/node", "meshroute/partner"].map(|object| kept(x.bank, object));

    kubectl(&["delete", "namespace", x.bank, "--wait", &limit()], "")?;
    for secret in &secrets {
        kubectl(&["-n", SYSTEM, "delete", secret], "")?;
    }
    let labels = "{interconn.dev/inject: enabled, pod-security.kubernetes.io/enforce: restricted}";
    apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {}, labels: {labels}}}}}", x.bank))?;
    for object in roots.into_iter().chain(resources.into_iter().collect::<Result<Vec<_>>>()?) {
        apply(&object)?;
    }
    let workload = x.injected_manifest(&y);
    apply(workload.rsplit("---").next().context("no Deployment")?)?;

    // There are no names in the test cluster: what partners know as one stands at another address now, under the root of before.
    let ip = wait::until("the Service", STARTED, || async {
        let ip = read(x.bank, "service/mesh-node", "{.spec.clusterIP}")?;
        ensure!(!ip.is_empty(), "no address");
        Ok(ip)
    })
    .await?;
    y.route(&x, &format!("{ip}:7304"), &root)?;
    rolled_out(x.bank, &format!("deployment/{}", x.bank))?;
    pair.progress("the restore").await?;
    ensure!(read(x.bank, "meshnode/node", "{.metadata.uid}")? != uid, "it is the old object: this test proves nothing");
    same("the published root", &read(x.bank, "configmap/node-root", r"{.data.ca\.crt}")?, &root)?;
    pair.end()
}

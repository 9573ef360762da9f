//! What a MeshNode leaves behind when somebody deletes it: by default its gateway's volume and its roots, so that it is the same when
//! it comes again; nothing at all where both of its policies say `Delete`.

use e2e::kubectl::apply;
use e2e::wait;
use serde_json::json;

use super::volumes::Volumes;
use super::*;

const NAMESPACE: &str = "deleted";
/// A class of volumes of its own.
const CLASS: &str = "interconn-e2e-deleted";
/// What the operator and Kubernetes make of a node with a gateway.
const KINDS: &str =
    "statefulset,pod,service,serviceaccount,secret,configmap,networkpolicy,poddisruptionbudget,persistentvolumeclaim";
/// Both are kept where a node says nothing else.
const KEPT: &str = "kept";
const GONE: &str = "gone";

fn node(name: &str, policies: Option<&str>) -> Result<()> {
    let mut storage = json!({"mode": "Persistent", "size": "1Gi", "storageClassName": CLASS});
    let mut certificates = json!({});
    if let Some(policy) = policies {
        storage["deletionPolicy"] = json!(policy);
        certificates["rootDeletionPolicy"] = json!(policy);
    }
    let node = json!({"apiVersion": "interconn.dev/v1alpha1", "kind": "MeshNode",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"nodeId": format!("LX-{name}"), "instId": "JG0100002800000000", "address": "127.0.0.1:7304",
            "certificates": certificates, "gateway": {"storage": storage}, "transport": {"store": "Disk"}}});
    apply(&node.to_string())
}

fn is_up(name: &str) -> Result<()> {
    kubectl(&["-n", NAMESPACE, "wait", &format!("meshnode/{name}"), "--for=condition=Ready", &limit()], "")?;
    rolled_out(NAMESPACE, &format!("statefulset/mesh-{name}"))
}

/// What `mesh` says in the gateway's pod.
fn mesh(node: &str, args: &[&str], input: &str) -> Result<String> {
    let pod = format!("mesh-{node}-0");
    let exec: &[&str] = &["-n", NAMESPACE, "exec", "-i", &pod, "--", "/bin/mesh"];
    Ok(kubectl(&[exec, args].concat(), input)?.trim().to_owned())
}

/// What there is of the node in its namespace.
fn of(node: &str) -> Result<Vec<String>> {
    let label = format!("interconn.dev/node={node}");
    names(&["-n", NAMESPACE, "get", KINDS, "-l", &label, "-o", "name"])
}

/// What there is of it in the operator's.
fn roots(node: &str) -> Result<Vec<String>> {
    let mut roots = names(&["-n", SYSTEM, "get", "secrets", "-o", "name"])?;
    roots.retain(|name| name.ends_with(&format!(".{NAMESPACE}.{node}")));
    Ok(roots)
}

fn names(args: &[&str]) -> Result<Vec<String>> {
    Ok(kubectl(args, "")?.lines().map(str::to_owned).collect())
}

fn claim(node: &str) -> String {
    format!("persistentvolumeclaim/mesh-home-mesh-{node}-0")
}

fn read(object: &str, path: &str) -> Result<String> {
    kubectl(&["-n", NAMESPACE, "get", object, "-o", &format!("jsonpath={path}")], "")
}

fn kept_roots(node: &str) -> [String; 2] {
    ["member-root", "root"].map(|kind| format!("secret/mesh-{kind}.{NAMESPACE}.{node}"))
}

#[tokio::test]
async fn a_node_that_is_deleted_leaves_its_volume_and_its_roots_unless_it_says_otherwise() -> Result<()> {
    let _beside = ALONE.read().await;
    installed().await?;
    let volumes = Volumes::make(CLASS, 2)?;
    apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}).to_string())?;
    node(KEPT, None)?;
    node(GONE, Some("Delete"))?;
    for name in [KEPT, GONE] {
        is_up(name)?;
        mesh(name, &["push", "t", "-", "--session", "s"], name)?;
        let there = of(name)?;
        for object in [format!("secret/mesh-{name}-leaf"), format!("secret/mesh-{name}-member"), claim(name)] {
            ensure!(there.contains(&object), "no {object}: {there:?}");
        }
        ensure!(roots(name)? == kept_roots(name), "the roots: {:?}", roots(name)?);
    }
    let root = read("configmap/kept-root", r"{.data.ca\.crt}")?;
    let volume = read(&claim(GONE), "{.spec.volumeName}")?;

    kubectl(&["-n", NAMESPACE, "delete", "meshnode", KEPT, GONE, "--wait", &limit()], "")?;
    wait::until("all but what is kept to be gone", STARTED, || async {
        let (kept, gone) = (of(KEPT)?, of(GONE)?);
        ensure!(gone.is_empty() && kept.len() <= 1, "left: {gone:?} {kept:?}");
        Ok(())
    })
    .await?;
    ensure!(of(KEPT)? == [claim(KEPT)], "the claim is not kept: {:?}", of(KEPT)?);
    // Neither is it about to go, nor goes it with anybody.
    same("who takes the claim along", &read(&claim(KEPT), "{.metadata['deletionTimestamp','ownerReferences']}")?, "")?;
    ensure!(roots(KEPT)? == kept_roots(KEPT), "the roots are not kept: {:?}", roots(KEPT)?);
    ensure!(roots(GONE)?.is_empty(), "roots are left: {:?}", roots(GONE)?);
    same("the volume of the one", &read(&format!("persistentvolume/{volume}"), "{.status.phase}")?, "Released")?;

    node(KEPT, None)?;
    is_up(KEPT)?;
    same("the root", &read("configmap/kept-root", r"{.data.ca\.crt}")?, &root)?;
    let popped = mesh(KEPT, &["pop", "t", "--session", "s", "--timeout", "60s"], "")?;
    same("the message that was there", &popped, KEPT)?;
    kubectl(&["delete", "namespace", NAMESPACE, "--wait", &limit()], "")?;
    volumes.remove()
}

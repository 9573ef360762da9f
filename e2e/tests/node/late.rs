//! Pods whose sidecar cannot serve yet, on a real kubelet: they start late and not in vain, say why, and leave their applications
//! alone.

use e2e::institution::{self, Institution};
use e2e::kubectl::apply;
use e2e::wait;

use super::away::Gone;
use super::pair::institution;
use super::*;

/// What a pod of this institution's application says, by jsonpath below `.items[0]`.
fn pod_says(us: &Institution, path: &str) -> Result<String> {
    let (of_it, path) = (format!("app={}", us.bank), format!("jsonpath={{.items[0]{path}}}"));
    kubectl(&["-n", us.bank, "get", "pods", "-l", &of_it, "-o", &path], "")
}

/// Waits for an Event about its pod.
async fn event(us: &Institution, reason: &str, wanted: &str) -> Result<()> {
    wait::until(&format!("the Event {reason}"), STARTED, || async {
        let pod = pod_says(us, ".metadata.name")?;
        let of_it = format!("involvedObject.name={pod},reason={reason}");
        let messages = "jsonpath={.items[*].message}";
        let said = kubectl(&["-n", us.bank, "get", "events", "--field-selector", &of_it, "-o", messages], "")?;
        ensure!(said.contains(wanted), "said is {said:?}");
        Ok(())
    })
    .await
}

/// An institution without partner, whose application waits.
fn alone(us: &Institution) -> String {
    us.injected_manifest(us).replace(&format!("[idle, --target, {}]", us.id), "[idle]")
}

#[tokio::test]
async fn a_pod_whose_node_is_not_ready_says_so_and_starts_when_it_is() -> Result<()> {
    let _beside = ALONE.read().await;
    installed().await?;
    let us = institution("late", "LX0000010000291", "idle", 1);
    let missing = "displayName: late\n  certificates: {rootSecretRef: {name: our-root}}";
    apply(&alone(&us).replace("displayName: late", missing))?;
    // The kubelet names what it waits for, and the node says what to do.
    event(&us, "FailedMount", "mesh-node").await?;
    wait::until("the node to say why", STARTED, || async {
        let why = r#"jsonpath={.status.conditions[?(@.type=="Ready")].reason}"#;
        same("the reason", &kubectl(&["-n", us.bank, "get", "meshnode/node", "-o", why], "")?, "MissingReference")
    })
    .await?;
    same("the pod's phase", &pod_says(&us, ".status.phase")?, "Pending")?;
    let issued = r#"{"spec": {"certificates": {"rootSecretRef": null}}}"#;
    kubectl(&["-n", us.bank, "patch", "meshnode/node", "--type=merge", "-p", issued], "")?;
    rolled_out(us.bank, "deployment/late")?;
    let restarts = ".status['initContainerStatuses','containerStatuses'][*].restartCount";
    same("the restarts of sidecar and application", &pod_says(&us, restarts)?, "0 0")?;
    end(us.bank)
}

#[tokio::test]
async fn a_sidecar_that_cannot_become_ready_is_tried_again_with_pauses_and_its_application_runs_on() -> Result<()> {
    let _alone = ALONE.write().await;
    let client = installed().await?;
    let us = institution("unready", "LX0000010000292", "idle", 1);
    apply(&alone(&us))?;
    rolled_out(us.bank, "deployment/unready")?;
    let gone = Gone::scaled_down().await?;
    // Nobody repairs it now, and parts that do not belong together are not taken.
    let broken = r#"{"data": {"manifest.json": "{}"}}"#;
    kubectl(&["-n", us.bank, "patch", "configmap/mesh-node", "--type=merge", "-p", broken], "")?;
    let pod = pod_says(&us, ".metadata.name")?;
    // A change of the pod has its kubelet look at the volume; until it is there the sidecar would start on what was there before.
    kubectl(&["-n", us.bank, "annotate", "pod", &pod, "e2e/look=now"], "")?;
    wait::until("the broken configuration to reach the pod", STARTED, || async {
        let metrics = us.get_from(&client, &pod, 7305, "metrics").await?;
        ensure!(metrics.lines().any(|line| line == "mesh_config_healthy 0"), "it is healthy");
        Ok(())
    })
    .await?;
    institution::kill(&pod, "/bin/mesh start")?;
    event(&us, "FailedPostStartHook", "PostStartHook failed").await?;
    // The kubelet waits longer and longer between two tries.
    event(&us, "BackOff", "Back-off restarting failed container mesh").await?;
    wait::until("the sidecar's last words", STARTED, || async {
        let said = pod_says(&us, ".status.initContainerStatuses[0].lastState.terminated.message")?;
        ensure!(said.contains("manifest.json"), "{said:?}");
        Ok(())
    })
    .await?;
    same("the application's restarts", &pod_says(&us, ".status.containerStatuses[0].restartCount")?, "0")?;
    gone.bring_back()?;
    rolled_out(us.bank, "deployment/unready")?;
    same("the application's restarts", &pod_says(&us, ".status.containerStatuses[0].restartCount")?, "0")?;
    end(us.bank)
}

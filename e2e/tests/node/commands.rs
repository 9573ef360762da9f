//! The README's two commands, on a cluster that has nothing of ours: what `make install` does when its images are built, as the tier
//! had `make image` do it, and the test of the release.

use std::env;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use super::*;

/// Both, one after the other, as they stand there. What they made is gone again when it returns.
pub(crate) fn from_nothing_to_a_first_push() -> Result<()> {
    install()?;
    pushes_and_pops("interconn")?;
    Helm::on(None).run(&["uninstall", "interconn", "--namespace", SYSTEM, "--wait", &limit()])?;
    kubectl(&["delete", "crd", "-l", OF_RELEASE], "").map(drop)
}

/// `helm test` makes a push and a pop, and shows what the pop printed: the message, which is the name of the pod that pushed it.
pub(crate) fn pushes_and_pops(release: &str) -> Result<()> {
    let test = ["test", release, "-n", SYSTEM, &limit()];
    let (printed, said) = Helm::on(None).run_aloud(&test).context("helm test")?;
    ensure!(printed.contains("Succeeded"), "helm test says nothing of a success: {printed}");
    let message = if release == "interconn" { "interconn-test" } else { "tenants-interconn-test" };
    ensure!(said.contains(message), "what the pod said is not shown, {message}: {said}");
    Ok(())
}

/// The script behind `make install`, on the cluster and with the images of this run.
fn install() -> Result<()> {
    let Some(images) = env::var_os("E2E_IMAGES") else {
        // On a cluster of others images are what its owner brought there: the script would look for them on this machine.
        println!("not run here: charts/install.sh, for E2E_IMAGES names no images that may be brought to this cluster");
        return release("interconn", SYSTEM, "install", &["--create-namespace"]);
    };
    let programs = tempfile::tempdir()?;
    if let Some(helm) = env::var_os("HELM") {
        symlink(helm, programs.path().join("helm"))?;
    }
    let path = format!("{}:{}", programs.path().display(), env::var("PATH").unwrap_or_default());
    // The node of the local cluster is this machine under another name: the script is run where it has that name.
    let node = kubectl(&["get", "nodes", "-o", r"jsonpath={.items[0].metadata.labels.kubernetes\.io/hostname}"], "")?;
    let renamed = r#"printf %s "$1" >/proc/sys/kernel/hostname; shift; exec "$@""#;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let done = Command::new("unshare")
        .args(["--uts", "sh", "-c", renamed, "sh", &node])
        .arg(root.join("charts/install.sh"))
        .arg(images)
        .arg("e2e")
        .env("PATH", path)
        .env("HELM_FLAGS", limit())
        .output()?;
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    ensure!(done.status.success(), "charts/install.sh: {said}");
    // It shows what it does: both images went in, and the chart.
    for shown in ["/mesh.tar", "/mesh-operator.tar", "+ helm upgrade --install interconn "] {
        ensure!(said.contains(shown), "nothing of {shown}: {said}");
    }
    Ok(())
}

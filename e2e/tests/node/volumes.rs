//! Volumes on the node's own disk, as somebody without a provisioner has them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use e2e::kubectl::apply;
use serde_json::json;

use super::*;

/// Some of one class, which nobody else asks for: there is no storage class behind it, claims find them by the name alone.
pub(crate) struct Volumes {
    names: Vec<String>,
}

impl Volumes {
    pub(crate) fn make(class: &str, count: usize) -> Result<Self> {
        let names: Vec<String> = (0..count).map(|n| format!("{class}-{}-{n}", std::process::id())).collect();
        for name in &names {
            let folder = folder(name);
            fs::create_dir_all(&folder)?;
            // Kubernetes gives a folder of the machine to nobody: its user is whoever may write there.
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o777))?;
            let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
                "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": class,
                    "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": folder}}});
            apply(&volume.to_string())?;
        }
        Ok(Self { names })
    }

    /// Takes them away: only after the gateways that write to them.
    pub(crate) fn remove(self) -> Result<()> {
        for name in self.names {
            kubectl(&["delete", "persistentvolume", &name, &limit()], "")?;
            fs::remove_dir_all(folder(&name))?;
        }
        Ok(())
    }
}

/// Where one's folder is; `e2e/cluster/kind.sh` shows it to a node of kind.
fn folder(name: &str) -> PathBuf {
    std::env::temp_dir().join("interconn-e2e-volumes").join(name)
}

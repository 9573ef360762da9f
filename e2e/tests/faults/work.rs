//! What the operator is in the middle of when it dies: how the room is brought there, and what there is when it is done.

use e2e::signer;
use tokio::task::JoinSet;

use super::*;

/// What the operator is in the middle of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Work {
    /// A node with a gateway and a route, from nothing.
    Making,
    /// The gateway goes, and a second route comes.
    Changing,
    /// The node goes, and takes its roots along.
    Removing,
    /// The root rolls, the leaf gets another life, and tunnel and directory get the keys that they have for ever.
    Renewing,
    /// Every partner trusts the new root: the old one goes.
    Following,
    /// The leaf comes from an issuer of cert-manager's kind, in place of the issued root's.
    Issuing,
}

/// What there is of a node with a gateway.
const MADE: [&str; 11] = [
    "ConfigMap/a-root",
    "ConfigMap/mesh-a",
    "ConfigMap/mesh-a-routes-0",
    "NetworkPolicy/mesh-a",
    "Secret/mesh-a-leaf",
    "Secret/mesh-a-member",
    "Service/mesh-a",
    "ServiceAccount/mesh-a",
    "StatefulSet/mesh-a",
    "mesh-member-root",
    "mesh-root",
];

impl Work {
    /// Brings the room to where the work begins.
    pub(super) async fn prepare(self, room: &Room) -> Result<()> {
        room.node(true).await?;
        room.route("r").await?;
        if matches!(self, Self::Making) {
            return Ok(());
        }
        let mut operator = room.operator("prepares").await?;
        Self::Making.done(room).await?;
        if matches!(self, Self::Following) {
            room.change("MeshNode", "a", roll()).await?;
            room.condition("MeshNode", "a", "RootRollPending", "True").await?;
        }
        operator.kill()?;
        match self {
            Self::Making => Ok(()),
            Self::Changing => {
                room.node(false).await?;
                room.route("s").await
            }
            Self::Removing => {
                ours(&room.client, "MeshNode", &room.name).delete("a", &DeleteParams::default()).await?;
                Ok(())
            }
            Self::Renewing => {
                let mut change = roll();
                change["spec"] = json!({"certificates": {"leafLifetime": "240h"}, "directory": {},
                    "tunnel": {"advertise": "203.0.113.7"}});
                room.change("MeshNode", "a", change).await
            }
            Self::Following => {
                let node = ours(&room.client, "MeshNode", &room.name).get("a").await?;
                let newest = &node.data["status"]["rootCertificates"][0]["sha256"];
                let follows = json!({"metadata": {"annotations": {"interconn.dev/trusts-root": newest}}});
                room.change("MeshRoute", "r", follows).await
            }
            Self::Issuing => {
                let issuer =
                    json!({"spec": {"certificates": {"rootDeletionPolicy": null, "issuerRef": {"name": "ca"}}}});
                room.change("MeshNode", "a", issuer).await
            }
        }
    }

    /// Waits until the work is done, and done well.
    pub(super) async fn done(self, room: &Room) -> Result<()> {
        let mut wanted = BTreeSet::from(MADE.map(str::to_owned));
        match self {
            Self::Making => room.condition("MeshRoute", "r", "Ready", "True").await?,
            Self::Changing => {
                for gone in ["NetworkPolicy/mesh-a", "ServiceAccount/mesh-a", "StatefulSet/mesh-a"] {
                    wanted.remove(gone);
                }
                room.condition("MeshNode", "a", "Ready", "True").await?;
                room.condition("MeshRoute", "s", "Ready", "True").await?;
            }
            Self::Removing => {
                let nodes = ours(&room.client, "MeshNode", &room.name);
                return wait::until("the node and its roots to be gone", LATE, || async {
                    ensure!(nodes.get_opt("a").await?.is_none(), "its finalizer holds it");
                    let left: Vec<_> = room.written().await?.into_iter().filter(|name| !name.contains('/')).collect();
                    ensure!(left.is_empty(), "left: {left:?}");
                    Ok(())
                })
                .await;
            }
            Self::Renewing => {
                wanted.insert("mesh-rooms".to_owned());
                room.condition("MeshNode", "a", "RootRollPending", "True").await?;
            }
            Self::Following => {}
            Self::Issuing => drop(wanted.insert("Secret/mesh-a-issued".to_owned())),
        }
        if !matches!(self, Self::Changing) {
            // Nobody runs its pod here.
            room.condition("MeshNode", "a", "GatewayReady", "Unknown").await?;
        }
        wait::until("all that belongs to the node, and nothing else", LATE, || async {
            let written = room.written().await?;
            ensure!(written == wanted, "{written:?}");
            self.has_its_certificates(room).await?;
            room.is_whole().await
        })
        .await
    }

    async fn has_its_certificates(self, room: &Room) -> Result<()> {
        let (published, kept) = (room.published().await?, room.kept("mesh-root").await?);
        let leaf = room.secret(&room.name, "mesh-a-leaf").await?;
        let chain = leaf.get("tls.crt").map(|chain| chain.matches("BEGIN CERTIFICATE").count());
        match self {
            Self::Renewing => {
                ensure!(
                    published.len() == 2 && chain == Some(2),
                    "{} roots, and in the chain {chain:?}",
                    published.len()
                );
                let rooms = room.kept("mesh-rooms").await?;
                ensure!(rooms.len() == 5, "keys: {:?}", rooms.keys());
                ensure!(rooms.iter().all(|(file, key)| leaf.get(file) == Some(key)), "the gateway lacks keys");
            }
            Self::Following => {
                ensure!(published.len() == 1 && !kept.contains_key("retired.crt"), "the old root is there");
            }
            Self::Issuing => {
                let own = published.iter().any(|root| kept.values().any(|file| file.contains(root)));
                ensure!(!own && published.len() == 1, "its own root is published");
                let requests = room.requests().list(&ListParams::default()).await?;
                ensure!(requests.items.is_empty(), "a request is left");
            }
            Self::Making | Self::Changing | Self::Removing => ensure!(published.len() == 1, "{published:?}"),
        }
        Ok(())
    }
}

/// What people ask for a new root with.
fn roll() -> Value {
    json!({"metadata": {"annotations": {"interconn.dev/roll-root": "2026-11"}}})
}

impl Room {
    async fn change(&self, kind: &str, name: &str, change: Value) -> Result<()> {
        let api = ours(&self.client, kind, &self.name);
        api.patch(name, &PatchParams::default(), &Patch::Merge(&change)).await?;
        Ok(())
    }

    fn requests(&self) -> Api<DynamicObject> {
        endpoint(&self.client, "cert-manager.io/v1", "CertificateRequest", &self.name)
    }

    /// Signs what is asked for in this room, for as long as what is answered lives.
    pub(super) async fn signs(&self) -> Result<JoinSet<()>> {
        signer::install(&self.client).await?;
        let (requests, mut signer) = (self.requests(), JoinSet::new());
        signer.spawn(async move {
            loop {
                if let Err(error) = sign_all(&requests).await {
                    println!("signed later: {error:#}");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        Ok(signer)
    }
}

async fn sign_all(requests: &Api<DynamicObject>) -> Result<()> {
    for request in requests.list(&ListParams::default()).await?.items {
        if request.data["status"]["certificate"].is_null() {
            let name = request.metadata.name.as_deref().unwrap_or_default();
            let status = json!({"status": signer::sign(&request, time::Duration::hours(1))?});
            requests.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await?;
        }
    }
    Ok(())
}

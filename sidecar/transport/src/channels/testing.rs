//! Channels for the tests of this crate, with small budgets.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

#[cfg(not(feature = "shuttle"))]
use super::{Channels, Purse, Wait};
#[cfg(not(feature = "shuttle"))]
use crate::Origin;
use crds::snapshot::NodeConfig;
#[cfg(not(feature = "shuttle"))]
use mesh_core::SessionId;
use mesh_core::{Live, Parts, Snapshot};
use mesh_pki::{Algorithm, Identity, LeafRequest, Root};

/// A snapshot with these bounds of a session and of all.
pub(crate) fn live(session_bytes: u64, total_bytes: u64) -> Arc<Live> {
    snapshot(&serde_json::json!({"sessionBytes": session_bytes.to_string(), "totalBytes": total_bytes.to_string()}))
}

/// One whose messages are kept on disk.
#[cfg(not(feature = "shuttle"))]
pub(crate) fn live_on_disk() -> Arc<Live> {
    snapshot(&serde_json::json!({"store": "Disk"}))
}

fn snapshot(transport: &serde_json::Value) -> Arc<Live> {
    static PEMS: OnceLock<[String; 3]> = OnceLock::new();
    let [roots_pem, leaf_pem, key_pem] = PEMS.get_or_init(certificates).clone();
    let node = serde_json::json!({
        "nodeId": "LX0000010000280", "instId": "JG0100002800000000",
        "transport": transport,
    });
    let node: NodeConfig = serde_json::from_value(node).unwrap();
    let parts = Parts {
        hash: String::new(),
        origin: mesh_core::Origin::Standalone,
        role: mesh_core::Role::Gateway,
        node,
        routes: Vec::new(),
        registrations: Vec::new(),
        roots_pem,
        leaf_pem,
        key_pem,
        members_pem: String::new(),
        client_pairs: Default::default(),
        grid: Default::default(),
        room_keys: Default::default(),
    };
    Arc::new(Live::new(Snapshot::assemble(parts).unwrap()))
}

fn certificates() -> [String; 3] {
    let identity = Identity { node_id: "LX0000010000280".into(), name: "X".into() };
    let (now, day) = (SystemTime::now(), Duration::from_secs(86_400));
    let root = Root::generate(&identity, Algorithm::EcdsaP256, day, now).unwrap();
    let request = LeafRequest {
        identity,
        algorithm: Algorithm::EcdsaP256,
        lifetime: day / 2,
        extra_dns: Vec::new(),
        extra_ips: Vec::new(),
    };
    let leaf = root.issue(&request, now).unwrap();
    [root.certificate_pem().to_owned(), leaf.chain_pem.clone(), leaf.key.expose().to_owned()]
}

#[cfg(not(feature = "shuttle"))]
/// Channels whom nobody keeps, with so much room.
pub(crate) fn channels(total: u64) -> Arc<Channels> {
    Channels::unswept(live(total, total))
}

#[cfg(not(feature = "shuttle"))]
/// What pays for a body of an application that waits no longer than `patience`.
pub(crate) fn purse(channels: &Arc<Channels>, patience: Duration) -> Purse<'_> {
    static SESSION: OnceLock<SessionId> = OnceLock::new();
    let session = SESSION.get_or_init(|| SessionId::new("s"));
    channels.purse(session, &Origin::Application, None, Wait { left: patience, until: None })
}

//! Gates and handshakes.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crds::Listener;
use mesh_core::{Live, Parts, Snapshot};
use mesh_network::{
    NameCheck, Outside,
    dial::{Egress, Given, Proxy, WayOut},
    listen::OwnAddresses,
};
use serde_json::{Value, json};

pub(super) use super::{
    server::{Server, response},
    signer::{Signer, base64},
};
use crate::{
    Context,
    auth::{AuthError, Gate, Identity, Known, Outward, Subject},
    wire::Offer,
};

/// When it is in these tests, in seconds since 1970.
pub(super) const NOW: u64 = 1_800_000_000;

pub(super) fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

/// Asks servers of this machine.
pub(in crate::auth) fn outward() -> Outward {
    outward_but(OwnAddresses::default())
}

pub(super) fn outward_but(own: OwnAddresses) -> Outward {
    outward_through(own, &[])
}

/// Through these proxies, where the server is not near.
pub(super) fn outward_through(own: OwnAddresses, proxies: &[&str]) -> Outward {
    let egress = Egress::default();
    egress.set(proxies.iter().map(|url| (Proxy::parse(url).unwrap(), Given::ByOperator)).collect());
    let identity = mesh_pki::Identity { node_id: "JG0100000100000000".into(), name: "A".into() };
    let (lifetime, algorithm) = (Duration::from_secs(86_400), mesh_pki::Algorithm::EcdsaP256);
    let root = mesh_pki::Root::generate(&identity, algorithm, lifetime, SystemTime::now()).unwrap();
    let (extra_dns, extra_ips) = (Vec::new(), Vec::new());
    let request = mesh_pki::LeafRequest { identity, algorithm, lifetime, extra_dns, extra_ips };
    let pair = root.issue(&request, SystemTime::now()).unwrap();
    let parts = Parts {
        hash: String::new(),
        origin: mesh_core::Origin::Standalone,
        role: mesh_core::Role::Gateway,
        node: serde_json::from_value(json!({"nodeId": "JG0100000100000000", "instId": "JG0100000100"})).unwrap(),
        routes: Vec::new(),
        registrations: Vec::new(),
        roots_pem: root.certificate_pem().to_owned(),
        leaf_pem: pair.chain_pem,
        key_pem: pair.key.expose().to_owned(),
        members_pem: String::new(),
        client_pairs: std::collections::HashMap::new(),
        grid: Default::default(),
        room_keys: Default::default(),
    };
    let live = Arc::new(Live::new(Snapshot::assemble(parts).unwrap()));
    Outward::new(WayOut::new(own, egress, Arc::new(Outside::new(live, NameCheck::Required))))
}

/// A listener with that `auth`.
pub(super) fn listener(auth: &Value) -> Listener {
    serde_json::from_value(json!({"name": "chat", "path": "/chat", "auth": auth})).unwrap()
}

/// A gate by tokens, with keys in a Secret.
pub(super) fn gate(jwt: &Value, keys: &str) -> Result<Gate, AuthError> {
    let mut all = json!({"jwks": {"secretRef": {"name": "keys"}}});
    all.as_object_mut().unwrap().extend(jwt.as_object().unwrap().clone());
    let gate = Gate::compile(&listener(&json!({"jwt": all})), Some(keys.as_bytes()), &outward(), None);
    gate.map(Option::unwrap)
}

pub(super) fn offer(uri: &str, headers: &[(&str, &str)]) -> Offer {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let text = format!(
        "GET {uri} HTTP/1.1\r\nHost: grid\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
    );
    Offer::read(text.as_bytes()).unwrap().unwrap().0
}

/// Comes with a token in its header.
pub(super) async fn comes_with(gate: &Gate, token: &str) -> Result<Identity, AuthError> {
    comes(gate, &offer("/chat", &[("Authorization", &format!("Bearer {token}"))])).await
}

pub(super) async fn comes(gate: &Gate, offer: &Offer) -> Result<Identity, AuthError> {
    gate.admit(offer, "203.0.113.7".parse().unwrap(), now()).await
}

/// A token that a client brings later, without a context.
pub(super) async fn renews(gate: &Gate, subject: &Subject, token: &str) -> Result<Identity, AuthError> {
    let remote = "203.0.113.7".parse().unwrap();
    gate.renew(Known { subject, remote, context: &Context::default() }, token, now()).await
}

pub(super) fn context(identity: &Identity) -> String {
    serde_json::to_string(&identity.context).unwrap()
}

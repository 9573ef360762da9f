//! The KMS MPIs (PTP section 12.2): identity and certificates, never a key.

use std::{sync::Arc, time::SystemTime};

use mesh_core::mpi::{Answer, Call};
use mesh_pki::{CertificateInfo, CertificateRequest, encode_certificate};
use serde_json::{Value, json};

use super::{
    super::{Control, ControlError, identity, permit},
    object, text,
};

impl Control {
    /// `kms.store.reset`: as node/refresh.
    pub(super) async fn reset(self: Arc<Self>, call: Call) -> Answer {
        permit(&call.caller, "kms.store.reset")?;
        let identity = identity::read(&object(&call, "env")?)?;
        self.keeper.set_identity(identity).await?;
        Ok(None)
    }

    /// `kms.crt.store.list`: the node's root and leaf, and those that it shows partners. `cno` keeps the certificates that it
    /// names by fingerprint, serial number or kind.
    pub(super) fn certificates(&self, call: &Call) -> Answer {
        let wanted = text(call, "cno")?;
        let snapshot = self.keeper.live().load();
        let node = &snapshot.node;
        let mut all = Vec::new();
        for root in mesh_pki::parse_certificates(&node.roots_pem).unwrap_or_default() {
            all.extend(shown("root", &root, node.node_id.as_str()));
        }
        all.extend(node.leaf.chain.first().and_then(|leaf| shown("leaf", leaf, node.node_id.as_str())));
        for route in snapshot.routes() {
            let leaf = route.client_pair.as_ref().and_then(|pair| pair.chain.first());
            all.extend(leaf.and_then(|leaf| shown("guest", leaf, route.node_id.as_str())));
        }
        if let Some(wanted) = wanted {
            let names = ["cno", "sha256", "kind"];
            all.retain(|one| {
                names.iter().any(|name| one[*name].as_str().is_some_and(|n| n.eq_ignore_ascii_case(wanted)))
            });
        }
        Ok(Some(all.into()))
    }

    /// `kms.crt.apply.root`: the node's root, which it has from its first start on. A root for somebody else is not made:
    /// nobody could be given its key.
    pub(super) fn apply_root(&self, call: &Call) -> Answer {
        let snapshot = self.keeper.live().load();
        let own = mesh_pki::node_dns_name(snapshot.node.node_id.as_str());
        let asked = match call.arguments.get("csr") {
            Some(Value::Object(_)) => object(call, "csr")?.text("domain")?.map(str::to_owned),
            _ => None,
        };
        if asked.is_some_and(|domain| !domain.eq_ignore_ascii_case(&own) && domain != snapshot.node.node_id.as_str()) {
            return Err(ControlError::OtherRoot { node: snapshot.node.node_id.clone() }.into());
        }
        let roots = mesh_pki::parse_certificates(&snapshot.node.roots_pem).unwrap_or_default();
        let roots: Vec<Value> =
            roots.iter().filter_map(|root| shown("root", root, snapshot.node.node_id.as_str())).collect();
        Ok(Some(roots.into()))
    }

    /// `kms.crt.apply.issue`: a leaf under the node's root for the key of a certificate request, which stays with its owner.
    pub(super) async fn apply_issue(self: Arc<Self>, call: Call) -> Answer {
        let asked = match call.arguments.get("csr") {
            Some(Value::String(pem)) => pem.clone(),
            Some(Value::Object(_)) => {
                let csr = object(&call, "csr")?;
                csr.text("csr")?.ok_or(ControlError::NoRequest)?.to_owned()
            }
            _ => return Err(ControlError::NoRequest.into()),
        };
        let wrong = |problem| ControlError::Certificate { member: "csr", problem };
        let request = CertificateRequest::from_pem(&asked).map_err(wrong)?;
        let node = request.identity.node_id.clone();
        let chain = self.keeper.certify(request).await?;
        let leaf = mesh_pki::parse_certificates(&chain).map_err(wrong)?;
        let mut shown = leaf.first().and_then(|leaf| shown("issued", leaf, &node)).unwrap_or_default();
        shown["crt"] = chain.into();
        Ok(Some(vec![shown].into()))
    }
}

fn shown(kind: &str, der: &mesh_pki::CertificateDer<'_>, node: &str) -> Option<Value> {
    let info = CertificateInfo::from_der(der).ok()?;
    Some(json!({
        "cno": info.serial,
        "kind": kind,
        "node_id": node,
        "subject": info.subject,
        "issuer": info.issuer,
        "crt": encode_certificate(der),
        "sha256": info.sha256,
        "not_before": stamp(info.not_before),
        "expire_at": stamp(info.not_after),
    }))
}

fn stamp(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

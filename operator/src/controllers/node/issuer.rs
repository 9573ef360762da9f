//! The leaf of a node whose certificates come from an issuer of cert-manager's kind: a CertificateRequest is sent, and what
//! comes of it kept in a Secret of ours. What to do is decided in `node/issue.rs`.

use std::{collections::BTreeMap, time::SystemTime};

use crds::{IssuerRef, MeshNode};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, ResourceExt,
    api::ListParams,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use mesh_pki::{Pair, PrivateKeyPem};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Step, World, objects::metadata, owner, unfetched};
use crate::{
    cluster::objects::{Ours, WriteError, Written, apply, apply_dynamic, remove_dynamic},
    node::{
        FoundIssuer, Keys, Problem,
        build::hex,
        issue::{Answer, Asked, Kept, LOOK_LAST, Turn, ask_again, decide, next_look},
        names::{issued_name, part_name},
    },
};

const NAME_CONFLICT: &str = "NameConflict";
const REQUEST: &str = "CertificateRequest";

/// The keys of the Secret beside those of a user's leaf.
const NEXT_KEY: &str = "next.key";
const NEXT_CSR: &str = "next.csr";
const NEXT_WISH: &str = "next.wish";

/// Goes one step on with the issuer; `None` where the node has none.
pub(super) async fn settle(world: &World, node: &MeshNode, now: SystemTime) -> Step<Option<FoundIssuer>> {
    let Some(reference) = &node.spec.certificates.issuer_ref else { return Ok(None) };
    if crds::validate::node(&node.spec).is_err() {
        return Ok(Some(FoundIssuer::default()));
    }
    let desk = Desk::of(world, node, reference);
    match desk.go_on(now).await {
        Err((NAME_CONFLICT, why)) => {
            Ok(Some(FoundIssuer { keys: None, problem: Some(desk.refused(why)), again: Some(now + LOOK_LAST) }))
        }
        done => done.map(Some),
    }
}

/// Where one node's dealings with its issuer lie.
struct Desk<'d> {
    world: &'d World,
    node: &'d MeshNode,
    reference: &'d IssuerRef,
    requests: Api<DynamicObject>,
    ours: Ours,
}

/// cert-manager's kind; issuers of other groups answer it too.
fn request_kind() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("cert-manager.io", "v1", REQUEST))
}

impl<'d> Desk<'d> {
    fn of(world: &'d World, node: &'d MeshNode, reference: &'d IssuerRef) -> Self {
        let namespace = node.namespace().unwrap_or_default();
        let requests = Api::namespaced_with(world.client.clone(), &namespace, &request_kind());
        Self { world, node, reference, requests, ours: Ours::Owner(owner(node)) }
    }

    async fn go_on(&self, now: SystemTime) -> Step<FoundIssuer> {
        let mut kept = self.kept().await?;
        let (answer, asked_at) = self.answer(kept.asked.as_ref(), now).await?;
        let turn = decide(&self.node.spec, &kept, (&answer, asked_at), now);
        let mut again = None;
        let problem = match turn.map_err(|error| ("NotIssued", error.to_string()))? {
            Turn::Rest => {
                // Who was here before may have died between keeping the leaf and withdrawing its request.
                self.withdraw_others("").await?;
                None
            }
            Turn::Ask(asked) => {
                kept.asked = Some(asked);
                self.keep(&kept).await?;
                let problem = self.send(kept.asked.as_ref()).await?;
                again = Some(after_sending(problem.as_ref(), now, now));
                problem
            }
            Turn::Wait => {
                let problem = self.send(kept.asked.as_ref()).await?;
                again = Some(after_sending(problem.as_ref(), asked_at, now));
                problem
            }
            Turn::Refused(why) => {
                again = Some(ask_again(asked_at));
                Some(self.refused(why))
            }
            Turn::Take(pair, ca_pem) => {
                kept = Kept { pair: Some(pair), ca_pem, asked: None };
                self.keep(&kept).await?;
                self.withdraw_others("").await?;
                None
            }
        };
        let keys = kept.pair.is_some().then(|| Keys(texts(&Kept { asked: None, ..kept })));
        Ok(FoundIssuer { keys, problem, again })
    }

    async fn kept(&self) -> Step<Kept> {
        let namespace = self.node.namespace().unwrap_or_default();
        let secrets: Api<Secret> = Api::namespaced(self.world.client.clone(), &namespace);
        let secret =
            secrets.get_opt(&issued_name(&self.node.name_any())).await.map_err(|error| fetch_failed(&error))?;
        let data = secret.filter(|secret| self.ours.is(secret)).and_then(|secret| secret.data).unwrap_or_default();
        let keys = Keys(data.into_iter().map(|(key, value)| (key, value.0)).collect());
        let text = |key| keys.text(key).map(str::to_owned);
        let secret_text = |key| text(key).map(PrivateKeyPem::new);
        let pair = text("tls.crt").zip(secret_text("tls.key")).map(|(chain_pem, key)| Pair { chain_pem, key });
        let asked = text(NEXT_CSR).zip(secret_text(NEXT_KEY)).map(|(request_pem, key)| Asked {
            request_pem,
            key,
            wish: text(NEXT_WISH).unwrap_or_default(),
        });
        Ok(Kept { pair, ca_pem: text("ca.crt").unwrap_or_default(), asked })
    }

    async fn keep(&self, kept: &Kept) -> Step<()> {
        let secret = Secret {
            metadata: metadata(self.node, issued_name(&self.node.name_any())),
            data: Some(texts(kept).into_iter().map(|(key, bytes)| (key, ByteString(bytes))).collect()),
            type_: Some("Opaque".into()),
            ..Secret::default()
        };
        let written = apply(&self.world.client, &secret, &self.ours).await.map_err(|error| not_written(&error))?;
        if written.written == Written::Object {
            self.world.metrics.wrote("Secret");
        }
        Ok(())
    }

    /// What was answered to a request, and when that was sent.
    async fn answer(&self, asked: Option<&Asked>, now: SystemTime) -> Step<(Answer, SystemTime)> {
        let Some(asked) = asked else { return Ok((Answer::None, now)) };
        let request = self.requests.get_opt(&self.name(asked)).await.map_err(|error| fetch_failed(&error))?;
        Ok(request.map_or((Answer::None, now), |request| {
            let sent = request.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0.into());
            (read(&request.data["status"]), sent)
        }))
    }

    /// Sends the request, if it was not sent. Answers what is awaited, or why it cannot be sent.
    async fn send(&self, asked: Option<&Asked>) -> Step<Option<Problem>> {
        let Some(asked) = asked else { return Ok(None) };
        let name = self.name(asked);
        let mut request = DynamicObject::new(&name, &request_kind());
        request.metadata = metadata(self.node, name.clone());
        request.data = json!({"spec": {
            "request": ByteString(asked.request_pem.clone().into_bytes()),
            "issuerRef": self.reference,
            "duration": self.node.spec.certificates.leaf_lifetime,
            "usages": ["digital signature", "key encipherment", "server auth", "client auth"],
        }});
        match apply_dynamic(&self.requests, REQUEST, &request, &self.ours).await {
            Ok(_) => self.withdraw_others(&name).await?,
            Err(WriteError::Api { source, .. }) if is_unknown_kind(&source) => {
                let why = "the cluster knows no CertificateRequest of cert-manager.io: install cert-manager or a signer of its kind";
                return Ok(Some(self.refused(why.into())));
            }
            Err(error) => return Err(not_written(&error)),
        }
        Ok(Some(Problem::IssuerPending { issuer: self.issuer(), request: name }))
    }

    /// Requests that nobody waits for any more.
    async fn withdraw_others(&self, name: &str) -> Step<()> {
        let labelled = ListParams::default().labels(&format!("{}={}", crds::NODE_LABEL, self.node.name_any()));
        let sent = match self.requests.list_metadata(&labelled).await {
            // Who takes the kind away takes the requests along.
            Err(error) if is_unknown_kind(&error) => return Ok(()),
            sent => sent.map_err(|error| fetch_failed(&error))?,
        };
        for request in sent {
            let other = request.name_any();
            if other != name {
                remove_dynamic(&self.requests, REQUEST, &other, &self.ours)
                    .await
                    .map_err(|error| not_written(&error))?;
            }
        }
        Ok(())
    }

    /// A name for each request: a spec of cert-manager's cannot be changed.
    fn name(&self, asked: &Asked) -> String {
        let sum = hex(&Sha256::digest(&asked.request_pem));
        part_name(&self.node.name_any(), &sum[..10])
    }

    fn issuer(&self) -> String {
        format!("{} {}", self.reference.kind, self.reference.name)
    }

    fn refused(&self, why: String) -> Problem {
        Problem::IssuerRefused { issuer: self.issuer(), why }
    }
}

fn texts(kept: &Kept) -> BTreeMap<String, Vec<u8>> {
    let pair = kept.pair.as_ref();
    let asked = kept.asked.as_ref();
    let all = [
        ("tls.crt", pair.map(|pair| pair.chain_pem.as_str())),
        ("tls.key", pair.map(|pair| pair.key.expose())),
        ("ca.crt", pair.map(|_| kept.ca_pem.as_str())),
        (NEXT_CSR, asked.map(|asked| asked.request_pem.as_str())),
        (NEXT_KEY, asked.map(|asked| asked.key.expose())),
        (NEXT_WISH, asked.map(|asked| asked.wish.as_str())),
    ];
    let given = all.into_iter().filter_map(|(key, text)| Some((key.to_owned(), text?.as_bytes().to_vec())));
    given.collect()
}

/// A request that could not be sent waits for a definition or a right, which somebody installs; one that was sent for its answer.
fn after_sending(problem: Option<&Problem>, asked_at: SystemTime, now: SystemTime) -> SystemTime {
    match problem {
        Some(Problem::IssuerPending { .. }) => next_look(asked_at, now),
        _ => now + LOOK_LAST,
    }
}

/// The status of a CertificateRequest.
fn read(status: &Value) -> Answer {
    let text = |member: &str| -> String {
        let bytes: Option<ByteString> = serde_json::from_value(status[member].clone()).ok();
        bytes.and_then(|bytes| String::from_utf8(bytes.0).ok()).unwrap_or_default()
    };
    let conditions = || status["conditions"].as_array().into_iter().flatten();
    let refusal = conditions().find(|c| {
        let is_denied = (c["type"] == "Denied" || c["type"] == "InvalidRequest") && c["status"] == "True";
        is_denied
            || c["type"] == "Ready" && c["status"] == "False" && (c["reason"] == "Failed" || c["reason"] == "Denied")
    });
    if let Some(refusal) = refusal {
        return Answer::Refused(
            refusal["message"].as_str().filter(|text| !text.is_empty()).unwrap_or("no reason given").into(),
        );
    }
    let chain_pem = text("certificate");
    let is_ready = conditions().any(|c| c["type"] == "Ready" && c["status"] == "True");
    if is_ready && !chain_pem.is_empty() { Answer::Issued { chain_pem, ca_pem: text("ca") } } else { Answer::None }
}

/// "Not found" where something is to be made is said of the kind.
fn is_unknown_kind(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(refusal) if refusal.code == 404)
}

fn fetch_failed(error: &kube::Error) -> (&'static str, String) {
    unfetched("what the issuer answered cannot be fetched", error)
}

fn not_written(error: &WriteError) -> (&'static str, String) {
    let reason = match error {
        WriteError::NameConflict { .. } => NAME_CONFLICT,
        WriteError::Api { .. } | WriteError::Overtaken { .. } => "WriteFailed",
    };
    (reason, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_off_the_status() {
        let condition = |kind: &str, status: &str, reason: &str| json!([{"type": kind, "status": status, "reason": reason, "message": "words"}]);
        let refused = Answer::Refused("words".into());
        let issued = Answer::Issued { chain_pem: "leaf".into(), ca_pem: "root".into() };
        for (status, wanted) in [
            (Value::Null, Answer::None),
            (json!({"conditions": condition("Ready", "False", "Pending")}), Answer::None),
            (json!({"conditions": condition("Ready", "True", "Issued")}), Answer::None),
            (json!({"conditions": condition("Denied", "True", "Policy")}), refused.clone()),
            (json!({"conditions": condition("Ready", "False", "Failed")}), refused),
            (
                json!({"conditions": condition("Ready", "True", "Issued"), "certificate": "bGVhZg==", "ca": "cm9vdA=="}),
                issued,
            ),
        ] {
            assert_eq!(read(&status), wanted, "{status}");
        }
    }
}

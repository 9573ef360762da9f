//! An issuer of cert-manager's kind, played by the test: it approves and signs what a CertificateRequest asks for.

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::Client;
use kube::api::DynamicObject;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use serde_json::{Value, json};

use crate::definitions;

/// Has the API server know CertificateRequests.
///
/// # Errors
/// When the definition is refused or not served in time.
pub async fn install(client: &Client) -> Result<()> {
    definitions::add(client, "cert-manager.io_certificaterequests").await
}

/// What cert-manager's approver says of a request before a signer may look at it.
#[must_use]
pub fn approved() -> Value {
    json!({"type": "Approved", "status": "True", "reason": "Policy", "message": "by the test"})
}

/// The status of a request that was signed as cert-manager's CA issuer does, by an authority of its own; of the leaf's thirty days
/// so many are over.
///
/// # Errors
/// When the request holds no CSR that can be signed.
pub fn sign(request: &DynamicObject, over: time::Duration) -> Result<Value> {
    let encoded = request.data["spec"]["request"].as_str().context("no request in it")?;
    let mut csr = CertificateSigningRequestParams::from_pem(&String::from_utf8(STANDARD.decode(encoded)?)?)?;
    csr.params.not_before = time::OffsetDateTime::now_utc() - over;
    csr.params.not_after = csr.params.not_before + time::Duration::days(30);
    csr.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate()?;
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let root_pem = root.self_signed(&key)?.pem();
    let leaf = csr.signed_by(&Issuer::new(root, key))?.pem();
    let ready = json!([approved(), {"type": "Ready", "status": "True", "reason": "Issued", "message": "signed"}]);
    Ok(json!({"certificate": STANDARD.encode(leaf), "ca": STANDARD.encode(root_pem), "conditions": ready}))
}

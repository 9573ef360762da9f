//! What a node proves itself with: an issued root, the user's root, or the user's leaf (design section 3, `certificates`).

use std::{collections::BTreeMap, time::SystemTime};

use crds::{LocalRef, MeshNodeSpec};
use mesh_pki::{
    CertificateInfo, Pair, PkiError, Role, Root, TrustAnchors, check_pair, encode_certificate, parse_certificates,
};

use super::{
    Turns,
    roots::{in_force, moment},
};
use crate::node::{FoundIssuer, Issued, Keys, Object, Problem};

/// The keys of a Secret of type `kubernetes.io/tls`, and the roots beside them.
const CRT: &str = "tls.crt";
const KEY: &str = "tls.key";
const CA: &str = "ca.crt";

const ROOT_REF: &str = "spec.certificates.rootSecretRef";
const LEAF_REF: &str = "spec.certificates.leafSecretRef";
const ISSUER_REF: &str = "spec.certificates.issuerRef";

/// What a node proves itself with.
#[derive(Debug)]
pub(crate) enum Credentials {
    /// A root of our own making; `None` when it has yet to be made.
    Issued(Option<Root>),
    /// The user's root, and what partners are to trust.
    Root {
        /// It issues the leaves.
        root: Root,
        /// What partners are to trust, PEM.
        roots_pem: String,
    },
    /// The user's leaf.
    Leaf {
        /// Leaf, chain and key.
        pair: Pair,
        /// What partners are to trust, PEM.
        roots_pem: String,
    },
}

/// Decides by the spec and holds what it refers to against `now`.
pub(crate) fn credentials(
    spec: &MeshNodeSpec,
    secrets: &BTreeMap<String, Keys>,
    issued: Option<&Issued>,
    issuer: Option<&FoundIssuer>,
    turns: &mut Turns,
    remarks: &mut Vec<Problem>,
) -> Result<Credentials, Problem> {
    let given = &spec.certificates;
    if given.issuer_ref.is_some() {
        return issuers_leaf(spec, issuer, turns, remarks);
    }
    if let Some(secret) = &given.leaf_secret_ref {
        let keys = keys(LEAF_REF, secret, secrets)?;
        return users_leaf(spec, (LEAF_REF, secret), keys, turns, remarks);
    }
    if let Some(secret) = &given.root_secret_ref {
        return users_root(secret, secrets, turns);
    }
    let root = issued.map(|kept| Root::from_pem(&kept.pair.chain_pem, kept.pair.key.expose(), turns.now)).transpose();
    let root = root.map_err(|e| unfit("the root that was issued for this node", &e))?;
    if let Some(root) = &root {
        turns.at(root.info().not_after);
        if !root.info().names_node(&spec.node_id) {
            return Err(Problem::ForeignRoot { node_id: spec.node_id.clone() });
        }
    }
    Ok(Credentials::Issued(root))
}

/// What partners are to trust of a node: the content of ConfigMap `<name>-root`. `None` while there is nothing good.
pub(crate) fn published_roots(
    spec: &MeshNodeSpec,
    secrets: &BTreeMap<String, Keys>,
    issued: Option<&Issued>,
    issuer: Option<&FoundIssuer>,
    now: SystemTime,
) -> Option<String> {
    match credentials(spec, secrets, issued, issuer, &mut Turns { now, next: None }, &mut Vec::new()).ok()? {
        Credentials::Issued(root) => root.map(|root| with_retired(&root, issued)),
        Credentials::Root { roots_pem, .. } | Credentials::Leaf { roots_pem, .. } => Some(roots_pem),
    }
}

/// A root and those that it took over from.
pub(crate) fn with_retired(root: &Root, kept: Option<&Issued>) -> String {
    let retired = kept.map(|kept| kept.retired_pem.as_str()).unwrap_or_default();
    format!("{}{retired}", root.certificate_pem())
}

fn users_root(secret: &LocalRef, secrets: &BTreeMap<String, Keys>, turns: &mut Turns) -> Result<Credentials, Problem> {
    let keys = keys(ROOT_REF, secret, secrets)?;
    let (crt, key) = (text(ROOT_REF, secret, keys, CRT)?, text(ROOT_REF, secret, keys, KEY)?);
    let root = Root::from_pem(crt, key, turns.now).map_err(|e| unfit(ROOT_REF, &e))?;
    turns.at(root.info().not_after);
    // An intermediate signs here, and partners trust the root above it: ca.crt says which.
    let roots_pem = trusted_roots(ROOT_REF, keys.text(CA).unwrap_or(root.certificate_pem()), turns)?;
    Ok(Credentials::Root { root, roots_pem })
}

/// A leaf from an issuer goes on while a newer one is awaited.
fn issuers_leaf(
    spec: &MeshNodeSpec,
    issuer: Option<&FoundIssuer>,
    turns: &mut Turns,
    remarks: &mut Vec<Problem>,
) -> Result<Credentials, Problem> {
    let Some(FoundIssuer { keys, problem, .. }) = issuer else {
        let remedy = "an issuer is asked in a cluster only: give rootSecretRef or leafSecretRef, or nothing to have a root issued";
        return Err(Problem::NotYet { field: ISSUER_REF, remedy });
    };
    match (keys, problem) {
        (None, Some(problem)) => Err(problem.clone()),
        (None, None) => Err(bad_pair(ISSUER_REF, "there is no leaf yet".into())),
        (Some(keys), problem) => {
            remarks.extend(problem.clone());
            users_leaf(spec, (ISSUER_REF, &LocalRef { name: String::new() }), keys, turns, remarks)
        }
    }
}

fn users_leaf(
    spec: &MeshNodeSpec,
    (field, secret): (&'static str, &LocalRef),
    keys: &Keys,
    turns: &mut Turns,
    remarks: &mut Vec<Problem>,
) -> Result<Credentials, Problem> {
    let (crt, key) = (text(field, secret, keys, CRT)?, text(field, secret, keys, KEY)?);
    let roots_pem = public(field, text(field, secret, keys, CA)?)?;
    let chain = check_pair(crt, key).map_err(|e| unfit(field, &e))?;
    let anchors = TrustAnchors::from_pems(&[&roots_pem]).map_err(|e| bad_pair(field, format!("{CA}: {e}")))?;
    if let Some(leaf) = chain.first() {
        leads_to(&anchors, crt, leaf, turns.now)?;
        turns.at(leaf.not_before);
        turns.at(leaf.not_after);
        remarks.extend(about_leaf(spec, leaf, turns.now));
    }
    let pair = Pair { chain_pem: crt.to_owned(), key: mesh_pki::PrivateKeyPem::new(key.to_owned()) };
    Ok(Credentials::Leaf { pair, roots_pem })
}

/// The chain must end in `ca.crt`. Asked at a moment of the leaf's own life: that it has ended is said by a remark, and the
/// rest of the node's configuration (a route that is disabled, say) still reaches its sidecars.
fn leads_to(anchors: &TrustAnchors, crt: &str, leaf: &CertificateInfo, now: SystemTime) -> Result<(), Problem> {
    let chain = parse_certificates(crt).map_err(|e| unfit(LEAF_REF, &e))?;
    let at = now.max(leaf.not_before).min(leaf.not_after);
    anchors
        .verify(&chain, Role::Server, at)
        .map_err(|problem| bad_pair(LEAF_REF, format!("the chain in {CRT} does not lead to {CA}: {problem}")))
}

fn about_leaf(spec: &MeshNodeSpec, leaf: &CertificateInfo, now: SystemTime) -> Vec<Problem> {
    let mut remarks = Vec::new();
    if now > leaf.not_after {
        let remedy = "partners refuse it; put a new leaf and key into the Secret";
        remarks.push(Problem::Expired { field: LEAF_REF.into(), at: moment(leaf.not_after), remedy });
    }
    if !leaf.names_node(&spec.node_id) {
        let why = format!(
            "the leaf does not name {}: partners that check the name refuse it; have it issued with that name",
            mesh_pki::node_dns_name(&spec.node_id)
        );
        remarks.push(bad_pair(LEAF_REF, why));
    }
    remarks
}

/// The roots that partners are to trust, of which one must be valid now.
fn trusted_roots(field: &str, pem: &str, turns: &mut Turns) -> Result<String, Problem> {
    let pem = public(field, pem)?;
    let anchors = TrustAnchors::from_pems(&[&pem]).map_err(|e| bad_pair(field, format!("{CA}: {e}")))?;
    match in_force(anchors.roots(), turns) {
        0 => Err(bad_pair(field, format!("no certificate of {CA} is valid now: replace it"))),
        _ => Ok(pem),
    }
}

/// The certificates of a text and nothing else of it: they are published, and what stands between them is not for all eyes.
fn public(field: &str, pem: &str) -> Result<String, Problem> {
    let ders = parse_certificates(pem).map_err(|e| bad_pair(field, format!("{CA}: {e}")))?;
    Ok(ders.iter().map(|der| encode_certificate(der)).collect())
}

pub(super) fn keys<'s>(
    field: &'static str,
    secret: &LocalRef,
    secrets: &'s BTreeMap<String, Keys>,
) -> Result<&'s Keys, Problem> {
    let missing = || Problem::MissingReference { field, object: Object::Secret, name: secret.name.clone(), key: None };
    secrets.get(&secret.name).ok_or_else(missing)
}

pub(super) fn text<'k>(field: &'static str, secret: &LocalRef, keys: &'k Keys, key: &str) -> Result<&'k str, Problem> {
    let missing = || Problem::MissingReference {
        field,
        object: Object::Secret,
        name: secret.name.clone(),
        key: Some(key.into()),
    };
    keys.text(key).ok_or_else(missing)
}

/// A pair that cannot be used: its time is past, or it does not fit.
pub(super) fn unfit(field: &str, error: &PkiError) -> Problem {
    match error {
        PkiError::Expired { not_after, .. } => {
            Problem::Expired { field: field.into(), at: moment(*not_after), remedy: "replace it" }
        }
        other => bad_pair(field, other.to_string()),
    }
}

pub(super) fn bad_pair(field: &str, why: String) -> Problem {
    Problem::BadPair { field: field.into(), why }
}

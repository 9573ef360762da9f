//! The directory's keys as part of the node's key hierarchy (contract section 7): the node says under the key of its certificate which
//! keys sign its log, its entries and as a witness. Who knows the node's root needs to be told no key.
//!
//! The statement has no time: it holds for as long as the certificate does, and is made anew with it.

use std::{str::FromStr, time::SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mesh_core::Leaf;
use mesh_pki::{
    Role, TrustAnchors, encode_certificate, parse_certificates, require_name, require_signed, sign_statement,
};
use serde_json::{Value, json};

use crate::{entry::PublicKey, json as reader, log::Verifier};

/// The first line.
const TITLE: &str = "datanet identity 1";

/// What a node says of its directory's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stated {
    /// The node's id.
    pub node: String,
    /// Who signs checkpoints; its name is the log's.
    pub log: Verifier,
    /// Who signs entries for holders of tokens.
    pub directory: PublicKey,
    /// Who signs checkpoints of other logs.
    pub witness: Verifier,
}

impl Stated {
    /// The words that are signed: one line each, in this order.
    fn text(&self) -> String {
        let Self { node, log, directory, witness } = self;
        format!("{TITLE}\nnode {node}\nlogKey {log}\ndirectoryKey {directory}\nwitnessKey {witness}\n")
    }

    /// Reads the words, and no others.
    fn read(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let first = lines.next()?;
        let mut next = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let stated = Self {
            node: next("node")?.to_owned(),
            log: parsed(next("logKey")?)?,
            directory: parsed(next("directoryKey")?)?,
            witness: parsed(next("witnessKey")?)?,
        };
        (first == TITLE && stated.text() == text).then_some(stated)
    }
}

fn parsed<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

/// A statement that was made, and of what.
#[derive(Debug)]
pub(crate) struct Vouched {
    keys: Stated,
    /// The certificate's SHA-256.
    certificate: String,
    said: Option<Value>,
}

impl Vouched {
    /// Signs `keys` with the node's key. Where that cannot be, nothing is said until the certificate is another, and the log says why.
    pub(crate) fn by(keys: Stated, leaf: &Leaf) -> Self {
        let text = keys.text();
        let signature = sign_statement(&leaf.key, text.as_bytes())
            .inspect_err(|e| tracing::warn!("the directory's keys are not signed by the node's certificate: {e}"));
        let chain = || leaf.chain.iter().map(|der| encode_certificate(der)).collect::<String>();
        let said = signature
            .ok()
            .map(|signature| json!({"statement": text, "signature": STANDARD.encode(signature), "chain": chain()}));
        Self { keys, certificate: leaf.info.sha256.clone(), said }
    }

    /// Whether it is of these keys and this certificate.
    pub(crate) fn is_of(&self, keys: &Stated, leaf: &Leaf) -> bool {
        self.keys == *keys && self.certificate == leaf.info.sha256
    }

    /// As `GET /datanet/v1` shows it.
    pub(crate) const fn said(&self) -> Option<&Value> {
        self.said.as_ref()
    }
}

/// The keys that the answer of `GET /datanet/v1` has under the certificate of `node`, which `roots` lead to at `now`. The node is the
/// caller's to say: below one root there may be many, and each may write any log's name.
///
/// # Errors
/// In words, what does not hold.
pub fn verified(about: &[u8], node: &str, roots: &TrustAnchors, now: SystemTime) -> Result<Stated, String> {
    let about = reader::read(about).map_err(|e| format!("it is no JSON: {e}"))?;
    let identity = about.get("identity").ok_or("it has no identity: it is not what GET /datanet/v1 answers")?;
    let text = |name: &str| identity[name].as_str().ok_or_else(|| format!("the identity has no {name}"));
    let (statement, chain) = (text("statement")?, text("chain")?);
    let signature = STANDARD.decode(text("signature")?).map_err(|e| format!("the signature is no base64: {e}"))?;
    let stated = Stated::read(statement).ok_or("the statement is not one of a directory's keys")?;
    let chain = parse_certificates(chain).map_err(|e| e.to_string())?;
    let leaf = chain.first().ok_or("the identity has no certificate")?;
    roots.verify(&chain, Role::Server, now).map_err(|e| e.to_string())?;
    if stated.node != node {
        return Err(format!("it is the statement of node {}", stated.node));
    }
    require_name(leaf, node, None).map_err(|e| e.to_string())?;
    require_signed(leaf, statement.as_bytes(), &signature).map_err(|e| e.to_string())?;
    Ok(stated)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mesh_pki::{Algorithm, Identity, LeafRequest, Root};
    use ring::rand::SystemRandom;

    use super::*;
    use crate::{keys::Keys, log::KeyName};

    const LIFE: Duration = Duration::from_secs(3600);

    fn stated(node: &str) -> Stated {
        let keys = Keys::make(KeyName::new("LX1/datanet").unwrap(), &SystemRandom::new()).unwrap();
        Stated {
            node: node.to_owned(),
            log: keys.signer().unwrap().verifier().clone(),
            directory: keys.custodian().unwrap().public(),
            witness: keys.witness(None).unwrap().verifier().clone(),
        }
    }

    /// A node's root as partners have it, and its certificate.
    fn node(id: &str, now: SystemTime) -> (TrustAnchors, Leaf) {
        let root = Root::generate(&identity(id), Algorithm::EcdsaP256, 2 * LIFE, now).unwrap();
        (TrustAnchors::from_pems(&[root.certificate_pem()]).unwrap(), leaf(&root, id, now))
    }

    fn identity(id: &str) -> Identity {
        Identity { node_id: id.to_owned(), name: "one".to_owned() }
    }

    fn leaf(root: &Root, id: &str, now: SystemTime) -> Leaf {
        let (extra_dns, extra_ips) = Default::default();
        let algorithm = Algorithm::EcdsaP256;
        let request = LeafRequest { identity: identity(id), algorithm, lifetime: LIFE, extra_dns, extra_ips };
        let pair = root.issue(&request, now).unwrap();
        Leaf::from_pem(&pair.chain_pem, pair.key.expose()).unwrap()
    }

    fn about(keys: Stated, leaf: &Leaf) -> Value {
        json!({"identity": Vouched::by(keys, leaf).said().unwrap()})
    }

    fn verdict(about: &Value, roots: &TrustAnchors, now: SystemTime) -> Result<Stated, String> {
        verified(about.to_string().as_bytes(), "LX1", roots, now)
    }

    #[test]
    fn keys_are_believed_of_the_node_that_the_root_leads_to_and_of_nobody_else() {
        let now = SystemTime::now();
        let root = Root::generate(&identity("LX1"), Algorithm::EcdsaP256, 2 * LIFE, now).unwrap();
        let roots = TrustAnchors::from_pems(&[root.certificate_pem()]).unwrap();
        let keys = stated("LX1");
        let own = about(keys.clone(), &leaf(&root, "LX1", now));
        assert_eq!(verdict(&own, &roots, now), Ok(keys.clone()));

        let (others_roots, stranger) = node("LX1", now);
        let refused = |about: &Value, roots, now, word: &str| {
            let said = verdict(about, roots, now).unwrap_err();
            assert!(said.contains(word), "{word}: {said}");
        };
        refused(&about(keys.clone(), &stranger), &roots, now, "root");
        refused(&own, &others_roots, now, "root");
        // Another node below the same root, for itself and for this one.
        let two = leaf(&root, "LX2", now);
        refused(&about(stated("LX2"), &two), &roots, now, "the statement of node LX2");
        refused(&about(stated("LX1"), &two), &roots, now, "speaks for");
        refused(&own, &roots, now + LIFE + LIFE / 2, "expired");
        // The words of a stranger under a certificate that anybody may show.
        let mut forged = about(stated("LX1"), &stranger);
        forged["identity"]["chain"] = own["identity"]["chain"].clone();
        refused(&forged, &roots, now, "not signed");
        let mut changed = own.clone();
        changed["identity"]["statement"] = json!(stated("LX1").text());
        refused(&changed, &roots, now, "not signed");
        let mut longer = own.clone();
        longer["identity"]["statement"] = json!(format!("{}more\n", keys.text()));
        refused(&longer, &roots, now, "statement");
        for part in ["statement", "signature", "chain"] {
            let mut without = own.clone();
            without["identity"].as_object_mut().unwrap().remove(part);
            refused(&without, &roots, now, part);
        }
        refused(&json!({}), &roots, now, "no identity");
    }

    #[test]
    fn another_certificate_is_another_statement() {
        let now = SystemTime::now();
        let ((_, first), (_, renewed), keys) = (node("LX1", now), node("LX1", now), stated("LX1"));
        let vouched = Vouched::by(keys.clone(), &first);
        assert!(vouched.is_of(&keys, &first) && !vouched.is_of(&keys, &renewed));
        assert!(!vouched.is_of(&stated("LX1"), &first));
    }
}

//! What a document says of a partner beside where it is: roots and pairs, names, and what is kept only to be read back.

use crds::snapshot::RouteConfig;
use mesh_core::config::ApiRoute;
use mesh_pki::{Pair, parse_certificates};
use serde_json::{Map, Value};

use crate::control::{ControlError, document::Document, identity::pair};

/// What is kept only to be read back, each member: people describe partners, they store nothing here.
const LONGEST_MEMBER: usize = 4096;
/// What the partner called itself; not shown, `inst_name` says it.
pub(in crate::control) const SAID_NAME: &str = "said_name";
/// Why whoever answered is not taken for the partner.
pub(in crate::control) const MISMATCH: &str = "mismatch";

/// The members that are kept to be read back as they were given. No key is among them; the addresses and the proxy, which may
/// hold a login, are read back from the route.
const RECORDED: [&str; 14] = [
    "describe",
    "auth_code",
    "extra",
    "create_at",
    "update_at",
    "create_by",
    "update_by",
    "group",
    "upstream",
    "downstream",
    "static_ip",
    "concurrency",
    "name",
    "inst_name",
];

/// The record of what is known, with what the document says laid over it.
pub(super) fn record(document: &Document, before: Option<&ApiRoute>) -> Result<Map<String, Value>, ControlError> {
    let mut record = before.map(|before| before.record.clone()).unwrap_or_default();
    for member in RECORDED {
        match document.0.get(member) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) if text.is_empty() => {}
            Some(value) if value.to_string().len() > LONGEST_MEMBER => {
                return Err(ControlError::Kind { member, expected: "4096 bytes at most" });
            }
            Some(value) => {
                record.insert(member.to_owned(), value.clone());
            }
        }
    }
    Ok(record)
}

/// The partner's CA (`guest_root`) and that of its server where it has another (`host_root`): each stays until a document
/// gives it anew. They are kept apart in `record`; a certificate that ends in either is the partner's.
pub(super) fn roots(
    document: &Document,
    old: Option<&RouteConfig>,
    record: &mut Map<String, Value>,
) -> Result<Vec<String>, ControlError> {
    let members = ["guest_root", "host_root"];
    let mut is_news = false;
    for member in members {
        let Some(pem) = document.text(member)? else { continue };
        parse_certificates(pem).map_err(|problem| ControlError::Certificate { member, problem })?;
        if !is_news && !members.iter().any(|known| record.contains_key(*known)) {
            // What somebody else said of it, a file or an earlier version.
            let known = old.map(|old| old.roots.join("\n")).filter(|known| !known.is_empty());
            record.extend(known.map(|known| ("guest_root".to_owned(), known.into())));
        }
        record.insert(member.to_owned(), pem.into());
        is_news = true;
    }
    if !is_news {
        return Ok(old.map(|old| old.roots.clone()).unwrap_or_default());
    }
    let mut roots: Vec<String> = Vec::new();
    for pem in members.iter().filter_map(|member| record.get(*member)?.as_str()) {
        if !roots.iter().any(|known| known == pem) {
            roots.push(pem.to_owned());
        }
    }
    Ok(roots)
}

/// What is shown to the partner instead of our leaf.
pub(super) fn client_pair(document: &Document, before: Option<&ApiRoute>) -> Result<Option<Pair>, ControlError> {
    let old = before.and_then(|before| before.client_pair.as_ref());
    let (certificate, key) = (document.text("guest_crt")?, document.text("guest_key")?);
    if certificate.is_none() && key.is_none() {
        return Ok(old.cloned());
    }
    let certificate = certificate.or(old.map(|old| old.chain_pem.as_str()));
    let key = key.or(old.map(|old| old.key.expose()));
    pair(("guest_crt", certificate), ("guest_key", key))
}

/// `host_crt` and `host_key`, checked. The certificate is kept to be read back; the key is not, since this node shows its own
/// leaf as a server: it learns who calls only after that.
pub(super) fn host_pair(document: &Document, record: &mut Map<String, Value>) -> Result<(), ControlError> {
    let (certificate, key) = (document.text("host_crt")?, document.text("host_key")?);
    let known = record.get("host_crt").and_then(Value::as_str);
    if key.is_none() && certificate.is_some() && certificate == known {
        return Ok(());
    }
    if let Some(pair) = pair(("host_crt", certificate), ("host_key", key))? {
        record.insert("host_crt".to_owned(), pair.chain_pem.into());
    }
    Ok(())
}

/// What people call the partner: as it calls itself, or else as a document does.
pub(super) fn display_name(
    document: &Document,
    old: Option<&RouteConfig>,
    record: &Map<String, Value>,
) -> Result<String, ControlError> {
    let said = record.get(SAID_NAME).and_then(Value::as_str);
    let given = document.text("name")?.or(document.text("inst_name")?);
    Ok(said.or(given).or(old.map(|old| old.peer.display_name.as_str())).unwrap_or_default().to_owned())
}

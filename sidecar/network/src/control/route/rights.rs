//! What a route grants and asks for beyond PTP section 11.1: the keys of `MeshRoute.spec` that net/refresh knows too, under names
//! of its own style, by the resource's own rules.

use crds::{ByteSize, ClientCertificate, MeshRoute, snapshot::RouteConfig};
use serde_json::{Value, json};

use crate::control::{ControlError, document::Document};

/// Members of net/refresh, and the keys of `MeshRoute.spec`.
const MEMBERS: [(&str, &str); 3] =
    [("exports", "exports"), ("client_certificate", "clientCertificate"), ("max_queued_bytes", "maxQueuedBytes")];

/// What is granted.
#[derive(Debug)]
pub(super) struct Rights {
    pub(super) exports: Vec<String>,
    pub(super) client_certificate: ClientCertificate,
    pub(super) max_queued_bytes: Option<ByteSize>,
    /// The name asked for in TLS at all addresses; `None`: as before.
    pub(super) server_name: Option<String>,
}

/// What the document says, laid over what is known. An empty list of exports takes them back; other empty members say nothing.
pub(super) fn read(document: &Document, old: Option<&RouteConfig>) -> Result<Rights, ControlError> {
    let mut spec = json!({"nodeRef": {"name": "this"}, "peer": {"nodeId": "this"}, "trust": {"rootPEMs": ["-"]}});
    let is_said = |value: &&Value| !value.is_null() && value.as_str() != Some("");
    for (member, key) in MEMBERS {
        if let Some(value) = document.0.get(member).filter(is_said) {
            spec[key] = value.clone();
        }
    }
    for export in spec.get_mut("exports").and_then(Value::as_array_mut).into_iter().flatten() {
        // A service of the SDKs is named without a slash.
        if let Some(name) = export.as_str().filter(|name| !name.is_empty() && !name.starts_with('/')) {
            *export = format!("/{name}").into();
        }
    }
    let server_name = document.text("server_name")?.map(str::to_owned);
    if let Some(name) = &server_name {
        spec["addresses"] = json!([{"address": "this:1", "serverName": name}]);
    }
    let is_given = |key: &str| spec.get(key).is_some();
    let given = (is_given("exports"), is_given("clientCertificate"), is_given("maxQueuedBytes"));
    let version = format!("{}/{}", crds::GROUP, crds::VERSION);
    let resource = json!({"apiVersion": version, "kind": "MeshRoute", "metadata": {"name": "this"}, "spec": spec});
    let read: MeshRoute = crds::read::resource(resource).map_err(|broken| ControlError::Rule {
        broken: broken.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
    })?;
    let spec = read.spec;
    Ok(Rights {
        exports: match old {
            Some(old) if !given.0 => old.exports.clone(),
            _ => spec.exports,
        },
        client_certificate: match old {
            Some(old) if !given.1 => old.client_certificate,
            _ => spec.client_certificate,
        },
        max_queued_bytes: match old {
            Some(old) if !given.2 => old.max_queued_bytes,
            _ => spec.max_queued_bytes,
        },
        server_name,
    })
}

//! From the wire to a checked [`Registration`]: what must be there, what must fit, and how much of it there may be.
//!
//! Keeps PTP sections 3.1 (what `register` needs), 10.1 and 10.3. Unknown members are ignored. Decides nothing about who
//! registers; `permit.rs` does.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::{Address, Content, Kind, Registration, RegistryError, Service, egress, lenient, offer, path};

/// 1024 services of 512 bytes each, and as much again for their other members.
pub(crate) const LONGEST_DOCUMENT: usize = 1 << 20;
/// A Python SDK registers each of its MPIs, a few hundred.
const MOST_SERVICES: usize = 1024;
/// As the resource has it; a key lives in memory and in metrics of nobody.
const LONGEST_NAME: usize = 256;
/// As the resource has it for attributes, and generous for every other text.
const LONGEST_TEXT: usize = 1024;
/// As the resource has it.
const MOST_ATTRS: usize = 32;
/// The SDKs send a handful.
const MOST_ATTACHMENTS: usize = 64;
/// One call of `mesh.registry.puts`; SDKs send one or two.
const MOST_REGISTRATIONS: usize = 1000;

/// How a registration came: over HTTP every member is required, over an MPI an empty address takes the instance's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Front {
    /// `POST /v1/interconn/registry/register`.
    Http,
    /// `mesh.registry.*`.
    Mpi,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    #[serde(deserialize_with = "lenient::text")]
    instance_id: String,
    #[serde(deserialize_with = "lenient::text")]
    name: String,
    #[serde(deserialize_with = "lenient::text")]
    kind: String,
    #[serde(deserialize_with = "lenient::text")]
    address: String,
    content: Option<Lists>,
    #[serde(deserialize_with = "lenient::number")]
    timestamp: i64,
    #[serde(deserialize_with = "lenient::texts")]
    attachments: BTreeMap<String, String>,
}

/// The content as it came; what is in which list is not yet believed.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Lists {
    #[serde(deserialize_with = "lenient::list")]
    references: Vec<Service>,
    #[serde(deserialize_with = "lenient::list")]
    services: Vec<Service>,
}

impl Lists {
    /// The head Python SDK puts its services into `references` and what it calls into `services`; 0.0.47.1 has them
    /// right (PTP section 10.1). Only a service has a `kind`.
    fn sorted(self) -> Content {
        let is_service = |record: &Service| !record.kind.is_empty();
        let are_swapped = self.references.iter().any(is_service) && !self.services.iter().any(is_service);
        let (services, references) =
            if are_swapped { (self.references, self.services) } else { (self.services, self.references) };
        Content { services, references: references.into_iter().map(Into::into).collect() }
    }
}

/// Reads the document of `register`.
///
/// # Errors
/// `E0000000400` naming the member that is missing or wrong, `E0000000619` for an address that cannot be parsed.
pub(crate) fn document(bytes: &[u8]) -> Result<Registration, RegistryError> {
    if bytes.len() > LONGEST_DOCUMENT {
        return Err(RegistryError::Unreadable(format!("it is longer than {LONGEST_DOCUMENT} bytes")));
    }
    let wire: Wire = mesh_core::json::forgiving(bytes).map_err(|e| RegistryError::Unreadable(e.to_string()))?;
    checked(wire, Front::Http)
}

/// Reads the argument of `mesh.registry.put`.
///
/// # Errors
/// As [`document`].
pub(crate) fn argument(value: Value) -> Result<Registration, RegistryError> {
    checked(wire(value)?, Front::Mpi)
}

/// Reads the argument of `mesh.registry.puts`.
///
/// # Errors
/// As [`document`], for the first one that is wrong.
pub(crate) fn arguments(value: Value) -> Result<Vec<Registration>, RegistryError> {
    let Value::Array(values) = value else { return Err(RegistryError::Missing("registrations")) };
    if values.len() > MOST_REGISTRATIONS {
        return Err(RegistryError::invalid("registrations", format!("more than {MOST_REGISTRATIONS} in one call")));
    }
    values.into_iter().map(argument).collect()
}

/// Reads the argument of `mesh.registry.remove`: only the key counts, SDKs send the rest empty.
///
/// # Errors
/// `E0000000400` naming the member of the key that is missing.
pub(crate) fn key(value: Value) -> Result<crate::Key, RegistryError> {
    let wire = wire(value)?;
    let kind = required_key(&wire)?;
    Ok(crate::Key { kind, name: wire.name, instance_id: wire.instance_id })
}

fn wire(value: Value) -> Result<Wire, RegistryError> {
    // The items of a list would fill the members in the order of their declaration.
    if !value.is_object() {
        return Err(RegistryError::Unreadable("it is no object".into()));
    }
    serde_json::from_value(value).map_err(|e| RegistryError::Unreadable(e.to_string()))
}

fn required_key(wire: &Wire) -> Result<Kind, RegistryError> {
    for (member, value) in [("instance_id", &wire.instance_id), ("name", &wire.name), ("kind", &wire.kind)] {
        if value.is_empty() {
            return Err(RegistryError::Missing(member));
        }
        let plain = value.len() <= LONGEST_NAME && !value.chars().any(char::is_control);
        if !plain {
            return Err(RegistryError::invalid(member, "must be at most 256 bytes without control characters"));
        }
    }
    Kind::parse(&wire.kind)
        .ok_or_else(|| RegistryError::invalid("kind", "must be one of complex, metadata, server and proxy"))
}

fn checked(mut wire: Wire, front: Front) -> Result<Registration, RegistryError> {
    let kind = required_key(&wire)?;
    if wire.address.is_empty() {
        if front == Front::Http {
            return Err(RegistryError::Missing("address"));
        }
        wire.address.clone_from(&wire.instance_id);
    }
    let content = wire.content.ok_or(RegistryError::Missing("content"))?.sorted();
    attributes("attachments", &wire.attachments, MOST_ATTACHMENTS)?;
    let registration = Registration {
        instance_id: wire.instance_id,
        name: wire.name,
        kind,
        address: wire.address,
        content,
        timestamp: wire.timestamp,
        attachments: wire.attachments,
    };
    check(&registration)?;
    Ok(registration)
}

/// The rules that hold for a registration wherever it comes from.
///
/// # Errors
/// The first rule that it breaks.
pub(crate) fn check(registration: &Registration) -> Result<(), RegistryError> {
    match registration.kind {
        Kind::Proxy => drop(egress::read(&registration.address)?),
        _ => address("address", &registration.address)?,
    }
    let content = &registration.content;
    if content.services.len() > MOST_SERVICES || content.references.len() > MOST_SERVICES {
        let rule = format!("more than {MOST_SERVICES} services or references in one registration");
        return Err(RegistryError::invalid("content", rule));
    }
    for (n, reference) in content.references.iter().enumerate() {
        texts("references", n, reference.texts(), &reference.attrs)?;
    }
    for (n, service) in content.services.iter().enumerate() {
        texts("services", n, service.texts(), &service.attrs)?;
        match registration.kind {
            Kind::Complex => routable(n, service)?,
            Kind::Metadata | Kind::Server => own_address(n, service)?,
            Kind::Proxy if !service.address.is_empty() => drop(egress::read(&service.address)?),
            Kind::Proxy => {}
        }
    }
    Ok(())
}

/// What a service that is routed by path must be.
fn routable(n: usize, service: &Service) -> Result<(), RegistryError> {
    path::prefix_of(&service.urn)?;
    own_address(n, service)?;
    offer::proto(service).ok_or_else(|| {
        RegistryError::invalid(format!("services[{n}].proto"), "must be http or grpc to be routed by path")
    })?;
    offer::weight(service).ok_or_else(|| {
        RegistryError::invalid(format!("services[{n}].attrs.weight"), "must be a number from 0 to 1000")
    })?;
    Ok(())
}

/// Where the service is, if not where its instance is.
fn own_address(n: usize, service: &Service) -> Result<(), RegistryError> {
    if service.address.is_empty() { Ok(()) } else { address(&format!("services[{n}].address"), &service.address) }
}

fn address(member: &str, text: &str) -> Result<(), RegistryError> {
    let wrong = || RegistryError::Address { member: member.to_owned(), address: path::shown(text) };
    Address::parse(text).map(drop).ok_or_else(wrong)
}

fn texts<'a>(
    list: &str,
    n: usize,
    mut texts: impl Iterator<Item = (&'static str, &'a str)>,
    attrs: &BTreeMap<String, String>,
) -> Result<(), RegistryError> {
    if let Some((member, _)) = texts.find(|(_, text)| text.len() > LONGEST_TEXT) {
        return Err(RegistryError::invalid(
            format!("{list}[{n}].{member}"),
            format!("longer than {LONGEST_TEXT} bytes"),
        ));
    }
    attributes(&format!("{list}[{n}].attrs"), attrs, MOST_ATTRS)
}

fn attributes(member: &str, map: &BTreeMap<String, String>, most: usize) -> Result<(), RegistryError> {
    if map.len() > most {
        return Err(RegistryError::invalid(member, format!("more than {most} of them")));
    }
    if map.iter().any(|(key, value)| key.len() > LONGEST_NAME || value.len() > LONGEST_TEXT) {
        let rule = format!("a key longer than {LONGEST_NAME} or a value longer than {LONGEST_TEXT} bytes");
        return Err(RegistryError::invalid(member, rule));
    }
    Ok(())
}

#[cfg(test)]
mod tests;

//! Answers: the seed's literal keys, and beside them those of ours (contract section 2).

use serde_json::{Map, Value, json};

use super::read::Ask;
use crate::{
    directory::ProtocolNames,
    error::{Code, DirectoryError},
    lenient::{Strictness, Used, warning},
    names::fold_name,
    state::{CentralSystem, Class, DataSystem, State},
};

/// What a write is answered with.
#[must_use]
pub fn done(revision: u64, used: &Used) -> Value {
    envelope(Map::new(), revision, used)
}

/// What a refusal at this revision is answered with: `message` accompanies every code but 200 (leniency 16).
#[must_use]
pub fn refused(error: &DirectoryError, revision: u64) -> Value {
    json!({ "code": error.code.number(), "message": error.message, "revision": revision })
}

/// Answers a retrieval or a search; `None` for a write, which needs more than a state. What it took beside reading it is added to `used`.
///
/// # Errors
/// What is not there, and a search's cursor that is not one; 7300 for a leniency that a strict directory refuses.
pub fn retrieve(
    state: &State,
    ask: &Ask,
    used: &mut Used,
    near: bool,
    strictness: Strictness,
    names: ProtocolNames,
) -> Result<Option<Value>, DirectoryError> {
    let payload = match ask {
        Ask::Write { .. } => return Ok(None),
        Ask::CentralSystem(csid) => payload("centralsystem", central_system(state, state.central_system(csid)?)),
        Ask::AdapterClass(name) => payload("adapterClass", adapter_class(state.class(name)?, names)),
        Ask::DataSystem(address) => payload("dataSystem", data_system(state.data_system(address)?)),
        Ask::CentralSystems { class, wanted } => {
            let found = state.search_systems(class, near, wanted)?;
            used.extend(&found.used);
            let line = |system: &&CentralSystem| json!({ "id": system.csid, "endpoint": system.endpoint });
            let mut payload = payload("centralsystems", found.page.items.iter().map(line).collect());
            beside(&mut payload, found.page.cursor, found.suggestions);
            payload
        }
        Ask::List { list, wanted } => {
            let (mut payload, cursor) = list.answer(state, wanted, names)?;
            beside(&mut payload, cursor, Vec::new());
            payload
        }
        Ask::AdapterClasses { protocol, version, wanted } => {
            let found = state.search_classes(protocol.as_deref(), version.as_deref(), wanted)?;
            used.extend(&found.used);
            let (mut labels, classes): (Vec<String>, Vec<String>) = found.page.items.into_iter().unzip();
            labels.dedup();
            let mut payload = payload("adapterClasses", labels.into());
            payload.insert("adapterClassNames".to_owned(), classes.into());
            beside(&mut payload, found.page.cursor, found.suggestions);
            payload
        }
    };
    strictness.judge(used)?;
    Ok(Some(envelope(payload, state.revision(), used)))
}

fn payload(key: &str, value: Value) -> Map<String, Value> {
    Map::from_iter([(key.to_owned(), value)])
}

fn beside(payload: &mut Map<String, Value>, cursor: Option<String>, suggestions: Vec<String>) {
    payload.extend(cursor.map(|cursor| ("cursor".to_owned(), cursor.into())));
    let suggestions = Some(suggestions).filter(|names| !names.is_empty());
    payload.extend(suggestions.map(|names| ("suggestions".to_owned(), names.into())));
}

fn envelope(payload: Map<String, Value>, revision: u64, used: &Used) -> Value {
    let mut answer = Map::from_iter([("code".to_owned(), Value::from(Code::Success.number()))]);
    answer.extend(payload);
    answer.insert("revision".to_owned(), revision.into());
    if !used.is_empty() {
        answer.insert("warnings".to_owned(), used.iter().copied().map(warning).collect());
    }
    Value::Object(answer)
}

/// A member where there is something to say.
pub(super) fn present<T: Into<Value>>(value: &mut Value, key: &str, member: Option<T>) {
    if let (Some(members), Some(member)) = (value.as_object_mut(), member) {
        members.insert(key.to_owned(), member.into());
    }
}

fn central_system(state: &State, system: &CentralSystem) -> Value {
    let (labels, names) = state.offered_by(system);
    let mut value = json!({ "csid": system.csid, "endpoint": system.endpoint });
    present(&mut value, "desc", system.desc.clone());
    present(&mut value, "adapterClasses", Some(labels));
    present(&mut value, "adapterClassNames", Some(names));
    value
}

fn adapter_class(class: &Class, names: ProtocolNames) -> Value {
    let mut value = definition(class, names);
    present(&mut value, "params", class.definition().and_then(|offer| offer.params.clone()));
    value
}

/// A class without its parameters.
pub(super) fn definition(class: &Class, names: ProtocolNames) -> Value {
    let Some(offer) = class.definition() else { return Value::Null };
    let name = match names {
        ProtocolNames::AsRegistered => offer.protocol.name.clone(),
        ProtocolNames::LowerCase => fold_name(&offer.protocol.name),
    };
    let protocol = json!({ "name": name, "version": offer.protocol.version });
    let mut value = json!({ "className": offer.class_name, "protocol": protocol });
    present(&mut value, "desc", offer.desc.clone());
    value
}

fn data_system((data, offered): (&DataSystem, bool)) -> Value {
    let mut value = registration((data, offered));
    present(&mut value, "params", data.params.as_deref().cloned());
    value
}

/// A data system without its parameters.
pub(super) fn registration((data, offered): (&DataSystem, bool)) -> Value {
    let mut value = json!({
        "dataAddress": data.data_address,
        "name": data.name,
        "endpoint": data.endpoint,
        "adapterClass": data.adapter_class,
    });
    present(&mut value, "desc", data.desc.as_deref());
    // D-5: its class was withdrawn, or never there.
    present(&mut value, "dangling", (!offered).then_some(true));
    value
}

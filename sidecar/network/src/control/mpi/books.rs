//! What is kept to be read back and has no effect on calls: domains by kind, institutions (PTP section 11.2).

use std::{collections::BTreeMap, sync::Arc};

use mesh_core::{
    mpi::{Answer, Call},
    store::{Store, StoreError},
};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use super::{
    super::{Control, ControlError},
    page::{self, Page},
    text,
};

const DOMAINS: &str = "domains";
const INSTITUTIONS: &str = "institutions";
/// Kinds of domains; the SDKs know a handful.
const MOST_KINDS: usize = 32;
/// Domains of one kind, institutions of one call.
const MOST_ENTRIES: usize = 1024;
/// Institutions in all: every partner that a node may have, twice.
const MOST_INSTITUTIONS: usize = 4096;
/// An entry is a name or two and an address.
const LONGEST_ENTRY: usize = 4096;

/// The books, and the store that keeps them.
pub(in crate::control) struct Books {
    store: Arc<Store>,
    domains: Mutex<BTreeMap<String, Vec<Value>>>,
    institutions: Mutex<BTreeMap<String, Value>>,
}

impl Books {
    /// What the store kept.
    pub(in crate::control) fn open(store: Arc<Store>) -> Self {
        let unreadable = |e: &StoreError| tracing::error!("{e}");
        let domains = store.all(DOMAINS).inspect_err(unreadable).unwrap_or_default();
        let institutions = store.all(INSTITUTIONS).inspect_err(unreadable).unwrap_or_default();
        Self {
            store,
            domains: Mutex::new(domains.into_iter().collect()),
            institutions: Mutex::new(institutions.into_iter().collect()),
        }
    }

    async fn keep<T>(&self, table: &'static str, key: String, value: T) -> Result<(), ControlError>
    where
        T: serde::Serialize + Send + 'static,
    {
        let kept = self.store.run(move |store| store.put(table, &key, &value)).await;
        kept.map_err(|e| ControlError::NotKept { reason: e.to_string() })
    }
}

impl Control {
    pub(super) fn domains(&self, call: &Call) -> Answer {
        let domains = self.books.domains.lock();
        let found = match text(call, "kind")? {
            Some(kind) => domains.get(kind).cloned().unwrap_or_default(),
            None => domains.values().flatten().cloned().collect(),
        };
        Ok(Some(found.into()))
    }

    /// Puts the domains of a kind in place of those before.
    pub(super) async fn resolve(self: Arc<Self>, call: Call) -> Answer {
        let kind = text(&call, "kind")?.unwrap_or_default().to_owned();
        let entries = entries(&call, "domains")?;
        let _turn = self.changing.lock().await;
        {
            let domains = self.books.domains.lock();
            if kind.len() > 64 || (!domains.contains_key(&kind) && domains.len() >= MOST_KINDS) {
                return Err(ControlError::TooMany { member: "kind", limit: MOST_KINDS }.into());
            }
        }
        self.books.keep(DOMAINS, kind.clone(), entries.clone()).await?;
        self.books.domains.lock().insert(kind, entries);
        Ok(None)
    }

    /// The institutions that were put, and those of the routes, in pages.
    pub(super) fn instx(&self, call: &Call) -> Answer {
        let page = Page::read(call)?;
        let mut all = self.books.institutions.lock().clone();
        for route in self.keeper.live().load().routes() {
            let peer = &route.config.peer;
            all.entry(key(&peer.node_id)).or_insert_with(
                || json!({"node_id": peer.node_id, "inst_id": peer.inst_id, "inst_name": peer.display_name}),
            );
        }
        Ok(Some(page::of(&page, all.into_values().collect())))
    }

    /// Puts institutions; one of the same node id is replaced.
    pub(super) async fn instr(self: Arc<Self>, call: Call) -> Answer {
        let given = entries(&call, "institutions")?;
        let named = given.into_iter().map(|entry| {
            let id = entry.get("node_id").or(entry.get("inst_id")).and_then(Value::as_str).unwrap_or_default();
            if id.is_empty() { Err(ControlError::Missing { member: "node_id" }) } else { Ok((key(id), entry)) }
        });
        let named = named.collect::<Result<Vec<_>, _>>()?;
        let _turn = self.changing.lock().await;
        let is_new = |(key, _): &&(String, Value)| !self.books.institutions.lock().contains_key(key);
        let new = named.iter().filter(is_new).count();
        if self.books.institutions.lock().len() + new > MOST_INSTITUTIONS {
            return Err(ControlError::TooMany { member: "institutions", limit: MOST_INSTITUTIONS }.into());
        }
        for (key, entry) in named {
            self.books.keep(INSTITUTIONS, key.clone(), entry.clone()).await?;
            self.books.institutions.lock().insert(key, entry);
        }
        Ok(None)
    }
}

/// A list of small objects, without anything that looks like a key.
fn entries(call: &Call, member: &'static str) -> Result<Vec<Value>, ControlError> {
    let Some(Value::Array(given)) = call.arguments.get(member) else {
        return Err(ControlError::Kind { member, expected: "a list of objects" });
    };
    if given.len() > MOST_ENTRIES {
        return Err(ControlError::TooMany { member, limit: MOST_ENTRIES });
    }
    let small = |entry: &Value| match entry {
        Value::Object(members) if entry.to_string().len() <= LONGEST_ENTRY && !has_key(members) => Ok(entry.clone()),
        _ => Err(ControlError::Kind { member, expected: "objects of 4096 bytes at most, without keys" }),
    };
    given.iter().map(small).collect()
}

fn has_key(members: &Map<String, Value>) -> bool {
    Value::Object(members.clone()).to_string().contains("PRIVATE KEY")
}

fn key(node_id: &str) -> String {
    node_id.to_ascii_lowercase()
}

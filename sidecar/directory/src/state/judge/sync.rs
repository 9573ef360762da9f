//! Snapshots: the whole of one kind of a central system is replaced at once (D-3 to D-5).

use std::{collections::BTreeMap, sync::Arc};

use super::{Case, Verdict};
use crate::{
    error::{Code, DirectoryError, Why},
    names::{fold, fold_name},
    state::{
        act::NewClass,
        find::Named,
        record::{CentralSystem, Change, Class, DataSystem, Kind, Offer, Record},
    },
};

fn class_error(why: Why, text: String) -> DirectoryError {
    DirectoryError::new(Code::InvalidClass, why, text)
}

fn data_error(why: Why, text: String) -> DirectoryError {
    DirectoryError::new(Code::InvalidDataSystem, why, text)
}

impl Case<'_> {
    pub(super) fn data_systems(&self, list: &[DataSystem]) -> Verdict {
        let system = self.connected()?;
        self.unchanged_since(system.data_revision)?;
        let mut wanted = BTreeMap::new();
        for data in list {
            self.admits(system, data)?;
            if wanted.insert(fold(&data.data_address), data).is_some() {
                return Err(data_error(Why::Malformed, format!("{} comes twice", data.data_address)));
            }
        }
        let known: BTreeMap<&str, (&Arc<str>, &DataSystem)> =
            self.state.addresses_of(&self.csid).map(|(key, data)| (key.as_ref(), (key, data))).collect();
        let gone: Vec<Change> = known
            .iter()
            .filter(|(key, _)| !wanted.contains_key(**key))
            .map(|(_, (key, _))| Change { kind: Kind::Address, key: Arc::clone(key), record: None })
            .collect();
        self.withdraws(gone.len(), known.len())?;
        let new =
            wanted.iter().filter(|(key, data)| known.get(key.as_str()).is_none_or(|(_, known)| !known.says(data)));
        let revision = self.revision();
        let record = |data: &&DataSystem| Record::Address(Arc::new(DataSystem { revision, ..(*data).clone() }));
        let key =
            |key: &String| known.get(key.as_str()).map_or_else(|| key.as_str().into(), |(key, _)| Arc::clone(key));
        let new = new.map(|(name, data)| Change::put(key(name), record(data)));
        let changes: Vec<Change> = new.chain(gone).collect();
        Ok(self.with_system(changes, CentralSystem { data_revision: revision, ..system.clone() }))
    }

    /// D-4.
    fn admits(&self, system: &CentralSystem, data: &DataSystem) -> Result<(), DirectoryError> {
        let host = data.data_address.split('.').next().unwrap_or_default();
        if fold(host) != self.csid {
            let text = format!(
                "the address {} is not the caller's: it must begin with \"{}.\"",
                data.data_address, system.csid
            );
            return Err(data_error(Why::Conflict, text));
        }
        let allowed = self.policy.pending || self.guard.pending;
        if !allowed && matches!(self.state.named(&data.adapter_class), Named::Nothing) {
            let text = format!(
                "{} uses the class {}, which nobody offers: sync the classes first, or say pending",
                data.data_address, data.adapter_class
            );
            return Err(data_error(Why::Malformed, text));
        }
        Ok(())
    }

    pub(super) fn classes(&self, list: &[NewClass]) -> Verdict {
        let system = self.connected()?;
        self.unchanged_since(system.classes_revision)?;
        let mut wanted = BTreeMap::new();
        for class in list {
            let key = fold_name(&class.name);
            self.defines(&key, class)?;
            if wanted.insert(key, class).is_some() {
                return Err(class_error(Why::Malformed, format!("the class {} comes twice", class.name)));
            }
        }
        let gone: Vec<&String> = system.classes.iter().filter(|key| !wanted.contains_key(*key)).collect();
        self.withdraws(gone.len(), system.classes.len())?;
        let gone = gone.into_iter().filter_map(|key| self.without_offer(key));
        let changes: Vec<Change> =
            wanted.iter().filter_map(|(key, class)| self.offered(key, class)).chain(gone).collect();
        let classes = wanted.into_keys().collect();
        Ok(self.with_system(changes, CentralSystem { classes, classes_revision: self.revision(), ..system.clone() }))
    }

    /// D-5: a name that others offer has their definition.
    fn defines(&self, key: &str, class: &NewClass) -> Result<(), DirectoryError> {
        let known = self.state.classes.get(key);
        let mut others = known.into_iter().flat_map(|known| &known.offers).filter(|(csid, _)| **csid != self.csid);
        let Some((other, (_, offer))) = others.find(|(_, (_, offer))| !offer.protocol.is(&class.protocol)) else {
            return Ok(());
        };
        let text = format!(
            "{} offers the class {} for {}, not for {}: take another name",
            other,
            offer.class_name,
            offer.protocol.label(),
            class.protocol.label()
        );
        Err(class_error(Why::Conflict, text))
    }

    /// The class with this offer; `None` when it is so already.
    fn offered(&self, key: &str, class: &NewClass) -> Option<Change> {
        let offer = Offer {
            class_name: class.name.clone(),
            protocol: class.protocol.clone(),
            desc: class.desc.clone(),
            params: class.params.clone(),
        };
        let mut record = self.state.classes.get(key).cloned().unwrap_or_default();
        let known = record.offers.get(&self.csid);
        if known.is_some_and(|(_, known)| *known == offer) {
            return None;
        }
        let since = known.map_or(self.revision(), |(since, _)| *since);
        record.offers.insert(self.csid.clone(), (since, offer));
        Some(self.class(key, record))
    }

    /// The class without this central system's offer; it goes with its last one.
    pub(super) fn without_offer(&self, key: &str) -> Option<Change> {
        let mut record = self.state.classes.get(key)?.clone();
        record.offers.remove(&self.csid)?;
        if record.offers.is_empty() {
            return Some(Change { kind: Kind::Class, key: key.into(), record: None });
        }
        Some(self.class(key, record))
    }

    fn class(&self, key: &str, record: Class) -> Change {
        let record = Class { revision: self.revision(), ..record };
        Change::put(key.into(), Record::Class(record))
    }

    /// The changes and the record of the central system that made them; none of an equal snapshot.
    fn with_system(&self, mut changes: Vec<Change>, system: CentralSystem) -> Option<Vec<Change>> {
        if changes.is_empty() {
            return None;
        }
        changes.push(self.noted(system));
        Some(changes)
    }

    /// The guard `baseRevision`.
    fn unchanged_since(&self, changed: u64) -> Result<(), DirectoryError> {
        let Some(base) = self.guard.base.filter(|base| *base < changed || *base > self.state.revision) else {
            return Ok(());
        };
        let text = format!(
            "conflict: the snapshot is based on revision {base}, and what it replaces is of revision {changed}"
        );
        Err(DirectoryError::new(Code::BadRequest, Why::Conflict, text))
    }

    /// The guard against a snapshot that is empty by mistake.
    fn withdraws(&self, gone: usize, known: usize) -> Result<(), DirectoryError> {
        let most = usize::from(self.policy.most_withdrawn);
        if self.guard.force || gone.saturating_mul(100) <= known.saturating_mul(most) {
            return Ok(());
        }
        let text = format!("the snapshot withdraws {gone} of {known}, more than {most} %: say force if that is meant");
        Err(DirectoryError::new(Code::BadRequest, Why::Conflict, text))
    }
}

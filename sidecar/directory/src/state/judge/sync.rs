//! Snapshots: the whole of one kind of a central system is replaced at once, or by a delta some of it (D-3 to D-5).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Case, Verdict};
use crate::{
    error::{Code, DirectoryError, Why},
    names::{fold, fold_name},
    state::{
        act::{NewClass, Which},
        record::{CentralSystem, Change, Class, DataSystem, Kind, Offer, Record},
        shared::Shared,
    },
};

/// Data systems of a message, by their keys.
type Data<'a> = BTreeMap<String, &'a DataSystem>;

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
        let wanted = self.wanted_data(system, list)?;
        let known = self.state.addresses_of(&self.csid).map(|(key, _)| key);
        let gone = known.filter(|key| !wanted.contains_key(&***key)).map(Arc::clone).collect();
        self.data_changes(system, &wanted, gone)
    }

    /// A delta: what it does not name stays. What it withdraws and is not there is gone already.
    pub(super) fn data_delta(&self, which: &Which<DataSystem>) -> Verdict {
        let system = self.connected()?;
        self.unchanged_since(system.data_revision)?;
        let wanted = self.wanted_data(system, &which.changed)?;
        let mut gone = BTreeSet::new();
        for address in &which.withdrawn {
            let key = fold(address);
            self.is_own(system, address)?;
            if wanted.contains_key(&key) {
                return Err(data_error(Why::Malformed, format!("{address} is changed and withdrawn")));
            }
            gone.extend(self.state.addresses.get_key_value(key.as_str()).map(|(key, _)| Arc::clone(key)));
        }
        let new = wanted.keys().filter(|key| !self.state.addresses.contains_key(key.as_str())).count();
        self.adds(new, gone.len(), || self.state.addresses_of(&self.csid).count())?;
        self.data_changes(system, &wanted, gone.into_iter().collect())
    }

    /// Whether there is room for the data systems that a delta adds.
    fn adds(&self, new: usize, gone: usize, known: impl FnOnce() -> usize) -> Result<(), DirectoryError> {
        let most = self.policy.most_data;
        if new <= gone || most == usize::MAX {
            return Ok(());
        }
        if known().saturating_add(new - gone) <= most {
            return Ok(());
        }
        Err(data_error(
            Why::TooLarge,
            format!("with this delta there would be more than {most} of them: withdraw others"),
        ))
    }

    /// The data systems of a message by their keys, each of which may come once.
    fn wanted_data<'a>(&self, system: &CentralSystem, list: &'a [DataSystem]) -> Result<Data<'a>, DirectoryError> {
        let mut wanted = Data::new();
        for data in list {
            self.admits(system, data)?;
            if wanted.insert(fold(&data.data_address), data).is_some() {
                return Err(data_error(Why::Malformed, format!("{} comes twice", data.data_address)));
            }
        }
        Ok(wanted)
    }

    fn data_changes(&self, system: &CentralSystem, wanted: &Data<'_>, gone: Vec<Arc<str>>) -> Verdict {
        self.withdraws(gone.len(), || self.state.addresses_of(&self.csid).count())?;
        let known = |key: &str| self.state.addresses.get_key_value(key);
        let new = wanted.iter().filter(|(key, data)| known(key).is_none_or(|(_, known)| !known.says(data)));
        let revision = self.revision();
        let mut shared = Shared::default();
        let mut put = |(key, data): (&String, &&DataSystem)| {
            let key = known(key).map_or_else(|| key.as_str().into(), |(key, _)| Arc::clone(key));
            let mut data = DataSystem { revision, ..(*data).clone() };
            shared.share(&key, &mut data);
            Change::put(key, Record::Address(Arc::new(data)))
        };
        let new = new.map(&mut put);
        let gone = gone.into_iter().map(|key| Change { kind: Kind::Address, key, record: None });
        let changes: Vec<Change> = new.chain(gone).collect();
        Ok(self.with_system(changes, CentralSystem { data_revision: revision, ..system.clone() }))
    }

    fn is_own(&self, system: &CentralSystem, address: &str) -> Result<(), DirectoryError> {
        let host = address.split('.').next().unwrap_or_default();
        if fold(host) == self.csid {
            return Ok(());
        }
        let text = format!("the address {address} is not the caller's: it must begin with \"{}.\"", system.csid);
        Err(data_error(Why::Conflict, text))
    }

    /// D-4.
    fn admits(&self, system: &CentralSystem, data: &DataSystem) -> Result<(), DirectoryError> {
        self.is_own(system, &data.data_address)?;
        let allowed = self.policy.pending || self.guard.pending;
        if !allowed && !self.state.is_named(&data.adapter_class) {
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
        let wanted = self.wanted_classes(list)?;
        let gone = system.classes.iter().filter(|key| !wanted.contains_key(*key)).cloned().collect();
        self.class_changes(system, &wanted, &gone)
    }

    /// A delta: what it does not name stays. What it withdraws and is not offered is gone already.
    pub(super) fn class_delta(&self, which: &Which<NewClass>) -> Verdict {
        let system = self.connected()?;
        self.unchanged_since(system.classes_revision)?;
        let wanted = self.wanted_classes(&which.changed)?;
        let withdrawn: BTreeSet<String> = which.withdrawn.iter().map(|name| fold_name(name)).collect();
        if let Some(both) = withdrawn.iter().find(|key| wanted.contains_key(*key)) {
            return Err(class_error(Why::Malformed, format!("the class {both} is changed and withdrawn")));
        }
        let gone: BTreeSet<String> = withdrawn.intersection(&system.classes).cloned().collect();
        self.class_changes(system, &wanted, &gone)
    }

    /// The classes of a message by their keys, each of which may come once.
    fn wanted_classes<'a>(&self, list: &'a [NewClass]) -> Result<BTreeMap<String, &'a NewClass>, DirectoryError> {
        let mut wanted = BTreeMap::new();
        for class in list {
            let key = fold_name(&class.name);
            self.defines(&key, class)?;
            if wanted.insert(key, class).is_some() {
                return Err(class_error(Why::Malformed, format!("the class {} comes twice", class.name)));
            }
        }
        Ok(wanted)
    }

    fn class_changes(
        &self,
        system: &CentralSystem,
        wanted: &BTreeMap<String, &NewClass>,
        gone: &BTreeSet<String>,
    ) -> Verdict {
        self.withdraws(gone.len(), || system.classes.len())?;
        let withdrawn = gone.iter().filter_map(|key| self.without_offer(key));
        let offered = wanted.iter().filter_map(|(key, class)| self.offered(key, class));
        let changes: Vec<Change> = offered.chain(withdrawn).collect();
        let kept = system.classes.iter().chain(wanted.keys()).filter(|key| !gone.contains(*key));
        let classes: BTreeSet<String> = kept.cloned().collect();
        let most = self.policy.most_classes;
        // One that has more from before may still have fewer.
        if classes.len() > most.max(system.classes.len()) {
            return Err(class_error(Why::TooLarge, format!("a central system offers at most {most} classes")));
        }
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
    fn withdraws(&self, gone: usize, known: impl FnOnce() -> usize) -> Result<(), DirectoryError> {
        let most = usize::from(self.policy.most_withdrawn);
        if self.guard.force || gone == 0 || most >= 100 {
            return Ok(());
        }
        let known = known();
        if gone.saturating_mul(100) <= known.saturating_mul(most) {
            return Ok(());
        }
        let text = format!("the snapshot withdraws {gone} of {known}, more than {most} %: say force if that is meant");
        Err(DirectoryError::new(Code::BadRequest, Why::Conflict, text))
    }
}

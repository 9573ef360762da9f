//! Keeps the routing table in step with the catalogue: from the offers of each registration to the groups of each
//! prefix, and the instances that they share.
//!
//! A plain structure; `registry.rs` owns it under its lock and publishes [`Routes::table`] after each change.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use crds::ServiceProto;
use mesh_network::dial::Given;

use crate::{
    Address, Key,
    balance::{Group, Member},
    dial::Dialer,
    instance::Instance,
    offer::{Offer, Priority},
    table::{Leaf, Table},
};

/// Whether an offer comes from the configuration or from the API; the later variant wins a urn that both have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Source {
    /// From the API.
    Live,
    /// From the configuration.
    Permanent,
}

/// All offers, and the table that they make.
#[derive(Debug)]
pub(crate) struct Routes {
    dialer: Dialer,
    most_calls: usize,
    table: Table,
    by_prefix: HashMap<Arc<str>, Vec<Placed>>,
    by_key: HashMap<Key, BTreeSet<Arc<str>>>,
    instances: HashMap<Named, (Arc<Instance>, usize)>,
}

/// An address, and who named it: what the configuration may dial the API may not.
type Named = (Address, Source);

#[derive(Debug)]
struct Placed {
    key: Key,
    source: Source,
    offer: Offer,
    instance: Arc<Instance>,
}

impl Routes {
    /// No offers yet. Instances are connected to by `dialer`, and take `most_calls` at once.
    #[must_use]
    pub(crate) fn new(dialer: Dialer, most_calls: usize) -> Self {
        Self {
            dialer,
            most_calls,
            table: Table::default(),
            by_prefix: HashMap::new(),
            by_key: HashMap::new(),
            instances: HashMap::new(),
        }
    }

    /// The table as it is now.
    #[must_use]
    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    /// The instances that the table leads to.
    #[must_use]
    pub(crate) fn instances(&self) -> Vec<Arc<Instance>> {
        self.instances.values().map(|(instance, _)| instance.clone()).collect()
    }

    /// The instances, each with the prefixes that it takes calls for.
    #[must_use]
    pub(crate) fn placed(&self) -> Vec<(Arc<Instance>, Vec<Arc<str>>)> {
        let mut prefixes: HashMap<Named, BTreeSet<Arc<str>>> = HashMap::new();
        for placed in self.by_prefix.values().flatten() {
            prefixes.entry(placed.named()).or_default().insert(placed.offer.prefix.clone());
        }
        let of = |named| prefixes.get(named).into_iter().flatten().cloned().collect();
        self.instances.iter().map(|(named, (instance, _))| (instance.clone(), of(named))).collect()
    }

    /// Replaces what `key` offers; no offers take it out.
    pub(crate) fn set(&mut self, key: &Key, source: Source, offers: Vec<Offer>) {
        let (mut touched, left) = self.take_out(key);
        for offer in offers {
            touched.insert(offer.prefix.clone());
            self.by_key.entry(key.clone()).or_default().insert(offer.prefix.clone());
            let instance = self.instance(&offer.address, source);
            let placed = Placed { key: key.clone(), source, instance, offer };
            self.by_prefix.entry(placed.offer.prefix.clone()).or_default().push(placed);
        }
        for named in left {
            if self.instances.get(&named).is_some_and(|(_, users)| *users == 0) {
                self.instances.remove(&named);
            }
        }
        for prefix in touched {
            self.compile(&prefix);
        }
    }

    /// The prefixes and the addresses that the key had.
    fn take_out(&mut self, key: &Key) -> (BTreeSet<Arc<str>>, Vec<Named>) {
        let mut left = Vec::new();
        let prefixes = self.by_key.remove(key).unwrap_or_default();
        for prefix in &prefixes {
            let Some(placed) = self.by_prefix.get_mut(prefix) else { continue };
            for gone in placed.extract_if(.., |p| p.key == *key) {
                if let Some((_, users)) = self.instances.get_mut(&gone.named()) {
                    *users -= 1;
                }
                left.push(gone.named());
            }
        }
        (prefixes, left)
    }

    fn instance(&mut self, address: &Address, source: Source) -> Arc<Instance> {
        let (dialer, most) = (&self.dialer, self.most_calls);
        let given = match source {
            Source::Live => Given::ByApi,
            Source::Permanent => Given::ByOperator,
        };
        let new = || (Arc::new(Instance::new(address.clone(), given, dialer.clone(), most)), 0);
        let (instance, users) = self.instances.entry((address.clone(), source)).or_insert_with(new);
        *users += 1;
        instance.clone()
    }

    fn compile(&mut self, prefix: &Arc<str>) {
        let placed = self.by_prefix.get(prefix).map_or(&[][..], Vec::as_slice);
        let leaf = Leaf { http: group(placed, ServiceProto::Http), grpc: group(placed, ServiceProto::Grpc) };
        if placed.is_empty() {
            self.by_prefix.remove(prefix);
        }
        self.table.set(prefix, leaf);
    }
}

impl Placed {
    fn named(&self) -> Named {
        (self.offer.address.clone(), self.source)
    }
}

/// The group of the registration name that wins the urn: by priority, then the configuration's before the API's, then
/// the first by name, so that the same registrations always give the same routes.
fn group(placed: &[Placed], proto: ServiceProto) -> Option<Group> {
    let offered = || placed.iter().filter(move |p| p.offer.proto == proto);
    let rank = |p: &&Placed| -> (Priority, Source, Reverse<Arc<str>>) {
        (p.offer.priority, p.source, Reverse(p.offer.name.clone()))
    };
    let winner = offered().max_by_key(rank)?.offer.name.clone();
    let mut members: Vec<&Placed> = offered().filter(|p| p.offer.name == winner).collect();
    members.sort_by(|a, b| a.key.cmp(&b.key));
    Some(Group::new(winner, members.into_iter().map(member).collect()))
}

fn member(placed: &Placed) -> Member {
    let Placed { offer, instance, .. } = placed;
    Member {
        instance: instance.clone(),
        weight: offer.weight,
        subset: offer.subset.clone(),
        timeout: offer.timeout,
        retries: offer.retries,
    }
}

#[cfg(test)]
mod tests;

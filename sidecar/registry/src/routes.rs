//! Keeps the routing table in step with the catalogue: from the offers of each registration to the groups of each
//! place, which is a path prefix or a name, and the instances that they share.
//!
//! A plain structure; `registry.rs` owns it under its lock and publishes [`Routes::table`] after each change.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use crds::ServiceProto;
use mesh_network::dial::Given;

use crate::{
    Address, Key,
    balance::{Group, Member},
    dial::Dialer,
    instance::Instance,
    load::Most,
    offer::{Offer, Priority},
    table::{Leaf, Table},
};

/// A call looks at each instance of its place, and a change compiles them anew: this keeps both within microseconds.
/// More than a thousand instances behind one path are the business of a balancer.
pub(crate) const MOST_IN_ONE_PLACE: usize = 1024;

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
    most_calls: Most,
    table: Table,
    by_place: HashMap<Arc<str>, BTreeMap<(Key, usize), Placed>>,
    by_key: HashMap<Key, BTreeSet<Arc<str>>>,
    instances: HashMap<Named, (Arc<Instance>, usize)>,
    /// The instances as a list, until one comes or goes: whoever checks them looks twice a second.
    listed: Option<Arc<[Arc<Instance>]>>,
}

/// An address, and who named it: what the configuration may dial the API may not.
type Named = (Address, Source);

#[derive(Debug)]
struct Placed {
    source: Source,
    offer: Offer,
    instance: Arc<Instance>,
}

impl Routes {
    /// No offers yet. Instances are connected to by `dialer`, and take `most_calls` at once.
    #[must_use]
    pub(crate) fn new(dialer: Dialer, most_calls: impl Into<Most>) -> Self {
        Self {
            dialer,
            most_calls: most_calls.into(),
            table: Table::default(),
            by_place: HashMap::new(),
            by_key: HashMap::new(),
            instances: HashMap::new(),
            listed: None,
        }
    }

    /// The table as it is now.
    #[must_use]
    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    /// The instances that the table leads to.
    #[must_use]
    pub(crate) fn instances(&mut self) -> Arc<[Arc<Instance>]> {
        let all = || self.instances.values().map(|(instance, _)| instance.clone()).collect();
        self.listed.get_or_insert_with(all).clone()
    }

    /// The instance at an address that one of them named.
    #[must_use]
    pub(crate) fn instance_at(&self, address: &Address, source: Source) -> Option<&Arc<Instance>> {
        self.instances.get(&(address.clone(), source)).map(|(instance, _)| instance)
    }

    /// The instances, each with the places that it takes calls for.
    #[must_use]
    pub(crate) fn placed(&self) -> Vec<(Arc<Instance>, Vec<Arc<str>>)> {
        let mut places: HashMap<Named, BTreeSet<Arc<str>>> = HashMap::new();
        for placed in self.by_place.values().flat_map(BTreeMap::values) {
            places.entry(placed.named()).or_default().insert(placed.offer.place.clone());
        }
        let of = |named| places.get(named).into_iter().flatten().cloned().collect();
        self.instances.iter().map(|(named, (instance, _))| (instance.clone(), of(named))).collect()
    }

    /// Whether `key` offers `place` already.
    #[must_use]
    pub(crate) fn is_at(&self, key: &Key, place: &str) -> bool {
        self.by_key.get(key).is_some_and(|places| places.contains(place))
    }

    /// Whether any instance of `key` may be called, as far as anybody knows; `None` for a key that offers nothing.
    #[must_use]
    pub(crate) fn is_ready(&self, key: &Key) -> Option<bool> {
        let all = (key.clone(), 0)..=(key.clone(), usize::MAX);
        let places = self.by_key.get(key)?.iter().filter_map(|place| self.by_place.get(place));
        Some(places.flat_map(|placed| placed.range(all.clone())).any(|(_, placed)| placed.instance.is_ready()))
    }

    /// Whether one more may offer `place` when `ahead` others are about to.
    #[must_use]
    pub(crate) fn has_room(&self, place: &str, ahead: usize) -> bool {
        self.by_place.get(place).map_or(0, BTreeMap::len) + ahead < MOST_IN_ONE_PLACE
    }

    /// Replaces what `key` offers; no offers take it out.
    pub(crate) fn set(&mut self, key: &Key, source: Source, offers: Vec<Offer>) {
        let (mut touched, left) = self.take_out(key);
        for (n, offer) in offers.into_iter().enumerate() {
            let place = offer.place.clone();
            touched.insert(place.clone());
            self.by_key.entry(key.clone()).or_default().insert(place.clone());
            let instance = self.instance(&offer.address, source);
            self.by_place.entry(place).or_default().insert((key.clone(), n), Placed { source, instance, offer });
        }
        for named in left {
            if self.instances.get(&named).is_some_and(|(_, users)| *users == 0) {
                self.instances.remove(&named);
                self.listed = None;
            }
        }
        for place in touched {
            self.compile(&place);
        }
    }

    /// The places and the addresses that the key had.
    fn take_out(&mut self, key: &Key) -> (BTreeSet<Arc<str>>, Vec<Named>) {
        let mut left = Vec::new();
        let places = self.by_key.remove(key).unwrap_or_default();
        for place in &places {
            let Some(placed) = self.by_place.get_mut(place) else { continue };
            let all = (key.clone(), 0)..=(key.clone(), usize::MAX);
            let numbers: Vec<(Key, usize)> = placed.range(all).map(|(number, _)| number.clone()).collect();
            for gone in numbers.iter().filter_map(|number| placed.remove(number)) {
                if let Some((_, users)) = self.instances.get_mut(&gone.named()) {
                    *users -= 1;
                }
                left.push(gone.named());
            }
        }
        (places, left)
    }

    fn instance(&mut self, address: &Address, source: Source) -> Arc<Instance> {
        let (dialer, most, listed) = (&self.dialer, &self.most_calls, &mut self.listed);
        let given = match source {
            Source::Live => Given::ByApi,
            Source::Permanent => Given::ByOperator,
        };
        let new = || {
            *listed = None;
            (Arc::new(Instance::new(address.clone(), given, dialer.clone(), most.clone())), 0)
        };
        let (instance, users) = self.instances.entry((address.clone(), source)).or_insert_with(new);
        *users += 1;
        instance.clone()
    }

    fn compile(&mut self, place: &Arc<str>) {
        let none = BTreeMap::new();
        let placed = self.by_place.get(place).unwrap_or(&none);
        let before = self.table.at(place).map(Arc::as_ref);
        let leaf = Leaf {
            http: group(placed, ServiceProto::Http, before.and_then(|leaf| leaf.http.as_ref())),
            grpc: group(placed, ServiceProto::Grpc, before.and_then(|leaf| leaf.grpc.as_ref())),
        };
        if placed.is_empty() {
            self.by_place.remove(place);
        }
        self.table.set(place, leaf);
    }
}

impl Placed {
    fn named(&self) -> Named {
        (self.offer.address.clone(), self.source)
    }
}

/// The group of the registration name that wins the place: by priority, then the configuration's before the API's, then
/// the first by name, so that the same registrations always give the same routes. Those who offer a communal service share
/// it, whatever their names. It goes on where the one `before` was.
fn group(placed: &BTreeMap<(Key, usize), Placed>, proto: ServiceProto, before: Option<&Group>) -> Option<Group> {
    let offered = || placed.values().filter(move |p| p.offer.proto == proto);
    let rank = |p: &&Placed| (p.offer.priority, p.source, Reverse(p.offer.name.clone()));
    let winner = &offered().max_by_key(rank)?.offer;
    let name: Arc<str> = match winner.priority {
        Priority::Communal => format!("communal {}", winner.place).into(),
        Priority::Ordinary | Priority::High => winner.name.clone(),
    };
    let shares = |p: &&Placed| match winner.priority {
        Priority::Communal => p.offer.priority == Priority::Communal,
        Priority::Ordinary | Priority::High => p.offer.name == winner.name,
    };
    let members = offered().filter(shares).map(member).collect();
    Some(Group::following(name, members, before))
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

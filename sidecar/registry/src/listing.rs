//! What people see of the registrations: each with its services, where their calls go, and why not.

use std::{sync::Arc, time::Duration};

use serde::Serialize;

use crate::{
    Instance, InstanceState, Key, Registry, WallTime, balance::Member, offer::Offer, registry::State, routes::Source,
};

/// A registration as people see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// The name that instances of one service share.
    pub name: String,
    /// How requests find it.
    pub kind: crate::Kind,
    /// The instance.
    pub instance_id: String,
    /// Whether it comes from the configuration, and so neither ends nor is removed by the API.
    pub permanent: bool,
    /// Milliseconds until it goes unless it is renewed, its grace included.
    pub goes_in_ms: Option<u64>,
    /// What it offers.
    pub services: Vec<ListedService>,
    /// What it names beside that and nobody can call.
    pub unrouted: Vec<Unrouted>,
}

/// A service that nobody can call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unrouted {
    /// As it was registered.
    pub urn: String,
    /// Why nobody can call it.
    pub reason: &'static str,
}

/// A service of a registration as people see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedService {
    /// The path prefix, or the name.
    pub urn: Arc<str>,
    /// What it speaks.
    pub proto: crds::ServiceProto,
    /// Where it is.
    pub address: String,
    /// Its share, in thousandths.
    pub weight: u32,
    /// Why it gets no calls although it may be ready; `None` if it gets its share.
    pub outranked_by: Option<Arc<str>>,
    /// Whether it is ready, and why not.
    #[serde(flatten)]
    pub state: InstanceState,
    /// The calls under way at its instance.
    pub under_way: usize,
}

/// A page of registrations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Page {
    /// In the order of kind, name and instance.
    pub services: Vec<Listed>,
    /// How many there are in all.
    pub total: usize,
}

impl Registry {
    /// The first `most` registrations, or those of one name.
    #[must_use]
    pub fn list(&self, name: Option<&str>, most: usize) -> Page {
        let (now, grace) = (self.now(), self.configuration().load().registry.expiry_grace.get());
        self.looked(|state| {
            let mut keys = state.catalogue.keys();
            keys.retain(|key| name.is_none_or(|name| key.name == name));
            let total = keys.len();
            keys.truncate(most);
            Page { services: keys.iter().filter_map(|key| state.listed(key, now, grace)).collect(), total }
        })
    }
}

impl State {
    fn listed(&self, key: &Key, now: WallTime, grace: Duration) -> Option<Listed> {
        let registration = self.catalogue.get(key)?;
        let permanent = self.catalogue.is_permanent(key);
        let source = if permanent { Source::Permanent } else { Source::Live };
        let services = crate::offer::of(registration).into_iter().filter_map(|offer| self.service(offer, source));
        let unrouted = crate::offer::unrouted(registration).into_iter();
        let unrouted = unrouted.map(|(urn, reason)| Unrouted { urn: urn.to_owned(), reason });
        Some(Listed {
            name: key.name.clone(),
            kind: key.kind,
            instance_id: key.instance_id.clone(),
            permanent,
            goes_in_ms: (!permanent).then(|| self.catalogue.goes_in(key, now, grace)).flatten(),
            services: services.collect(),
            unrouted: unrouted.collect(),
        })
    }

    fn service(&self, offer: Offer, source: Source) -> Option<ListedService> {
        let instance = self.routes.instance_at(&offer.address, source)?;
        let leaf = self.routes.table().at(&offer.place);
        let group = leaf.and_then(|leaf| leaf.of(offer.proto));
        let takes_part = |member: &Member| Arc::ptr_eq(&member.instance, instance);
        let outranked_by = group.filter(|group| !group.members.iter().any(takes_part)).map(|group| group.name.clone());
        Some(listed(offer, outranked_by, instance))
    }
}

fn listed(offer: Offer, outranked_by: Option<Arc<str>>, instance: &Instance) -> ListedService {
    ListedService {
        urn: offer.place,
        proto: offer.proto,
        address: offer.address.to_string(),
        weight: offer.weight,
        outranked_by,
        state: instance.state(),
        under_way: instance.under_way(),
    }
}

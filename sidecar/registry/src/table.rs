//! The compiled routing table: from a request's path, or a method's name, to the instances that may take it (PTP sections
//! 8.5 and 10.4).
//!
//! A map of whole prefixes, and one of names beside it. A lookup goes over the path once and asks for the prefixes of those
//! lengths that there are, without a lock or an allocation. A change copies only its own place, so a table that is in use stays
//! as it is and ten thousand other urns are not touched.

use std::{
    hash::{BuildHasher as _, Hasher as _},
    sync::{Arc, LazyLock},
};

use crds::ServiceProto;
use foldhash::{SharedSeed, quality::SeedableRandomState};
use memchr::memchr;

use crate::{balance::Group, persistent::Map};

/// Keyed by chance: names come from applications, who could otherwise choose them so that all fall into one place.
static KEYED: LazyLock<SeedableRandomState> = LazyLock::new(|| {
    static SHARED: LazyLock<SharedSeed> = LazyLock::new(|| SharedSeed::from_u64(rand::random()));
    SeedableRandomState::with_seed(rand::random(), &SHARED)
});

/// From a path or a name to the instances that may take it. A clone shares everything.
#[derive(Clone, Debug, Default)]
pub struct Table {
    prefixes: Map<Arc<Leaf>>,
    /// How many prefixes have one segment, two, and so on; the last number is not nought.
    depths: Vec<u32>,
    names: Map<Arc<Leaf>>,
}

/// What is registered under one prefix, or one name.
#[derive(Debug, Default)]
pub struct Leaf {
    /// Who takes HTTP.
    pub http: Option<Group>,
    /// Who takes gRPC.
    pub grpc: Option<Group>,
}

impl Leaf {
    /// Who takes a call of this protocol, and what it speaks itself: one protocol alone takes both.
    #[must_use]
    pub fn group(&self, wanted: ServiceProto) -> Option<(&Group, ServiceProto)> {
        let http = self.http.as_ref().map(|g| (g, ServiceProto::Http));
        let grpc = self.grpc.as_ref().map(|g| (g, ServiceProto::Grpc));
        match wanted {
            ServiceProto::Http => http.or(grpc),
            ServiceProto::Grpc => grpc.or(http),
        }
    }

    /// Who takes calls of this protocol and speaks it.
    pub(crate) fn of(&self, proto: ServiceProto) -> Option<&Group> {
        match proto {
            ServiceProto::Http => self.http.as_ref(),
            ServiceProto::Grpc => self.grpc.as_ref(),
        }
    }

    fn is_empty(&self) -> bool {
        self.http.is_none() && self.grpc.is_none()
    }
}

impl Table {
    /// What is registered under the longest prefix of `path`, at `/` boundaries.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<&Arc<Leaf>> {
        let (mut hasher, mut found) = (KEYED.build_hasher(), None);
        let mut rest = path.strip_prefix('/')?.as_bytes();
        for count in &self.depths {
            let (segment, behind) = rest.split_at(memchr(b'/', rest).unwrap_or(rest.len()));
            hasher.write(segment);
            if *count > 0 {
                let prefix = path.get(..path.len() - behind.len())?;
                found = self.prefixes.get(hasher.finish(), prefix).or(found);
            }
            let Some(next) = behind.get(1..) else { break };
            rest = next;
        }
        found
    }

    /// What is registered for generic calls under this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<Leaf>> {
        self.names.get(hash_of(name), name)
    }

    /// Whether anything is registered by name.
    #[must_use]
    pub fn has_names(&self) -> bool {
        !self.names.is_empty()
    }

    /// Puts `leaf` in place under `place`, a prefix that starts with `/` and has no empty segment, or a name, which does
    /// not; an empty leaf takes it out.
    pub fn set(&mut self, place: &str, leaf: Leaf) {
        let is_prefix = place.starts_with('/');
        let (before, after) = (self.at(place).is_some(), !leaf.is_empty());
        let (hash, map) = (hash_of(place), if is_prefix { &mut self.prefixes } else { &mut self.names });
        if after {
            map.insert(hash, place, Arc::new(leaf));
        } else {
            map.remove(hash, place);
        }
        if is_prefix && before != after {
            self.count(place, after);
        }
    }

    /// What stands in that very place.
    pub(crate) fn at(&self, place: &str) -> Option<&Arc<Leaf>> {
        let map = if place.starts_with('/') { &self.prefixes } else { &self.names };
        map.get(hash_of(place), place)
    }

    /// Counts a prefix that came, or one that went.
    fn count(&mut self, prefix: &str, came: bool) {
        let depth = prefix.matches('/').count();
        if self.depths.len() < depth {
            self.depths.resize(depth, 0);
        }
        if let Some(count) = self.depths.get_mut(depth - 1) {
            *count = if came { *count + 1 } else { *count - 1 };
        }
        while self.depths.last() == Some(&0) {
            self.depths.pop();
        }
    }
}

/// The hash of a prefix, as a lookup comes by it, or of a name.
fn hash_of(place: &str) -> u64 {
    let mut hasher = KEYED.build_hasher();
    for segment in place.strip_prefix('/').unwrap_or(place).split('/') {
        hasher.write(segment.as_bytes());
    }
    hasher.finish()
}

#[cfg(test)]
mod tests;

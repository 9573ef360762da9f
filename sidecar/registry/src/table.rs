//! The compiled routing table: from a request's path, or a method's name, to the instances that may take it (PTP sections
//! 8.5 and 10.4).
//!
//! A tree of path segments, and a map of names beside it. Looked up without a lock or an allocation. A change copies only
//! its own way, so a table that is in use stays as it is and ten thousand other urns are not touched.

use std::sync::Arc;

use crds::ServiceProto;

use crate::{balance::Group, persistent::Map};

/// From a path or a name to the instances that may take it. A clone shares everything.
#[derive(Clone, Debug, Default)]
pub struct Table {
    root: Arc<Node>,
    names: Map<Arc<Leaf>>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    children: Map<Arc<Node>>,
    leaf: Option<Arc<Leaf>>,
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
        let mut node = &*self.root;
        let mut found = None;
        for segment in path.strip_prefix('/')?.split('/') {
            match node.children.get(segment) {
                Some(child) => node = child,
                None => break,
            }
            found = node.leaf.as_ref().or(found);
        }
        found
    }

    /// What is registered for generic calls under this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<Leaf>> {
        self.names.get(name)
    }

    /// Whether anything is registered by name.
    #[must_use]
    pub fn has_names(&self) -> bool {
        !self.names.is_empty()
    }

    /// Puts `leaf` in place under `place`, a prefix that starts with `/` and has no empty segment, or a name, which does
    /// not; an empty leaf takes it out.
    pub fn set(&mut self, place: &str, leaf: Leaf) {
        let leaf = (!leaf.is_empty()).then(|| Arc::new(leaf));
        match (place.strip_prefix('/'), leaf) {
            (Some(path), leaf) => Arc::make_mut(&mut self.root).set(path.split('/'), leaf),
            (None, Some(leaf)) => self.names.insert(place, leaf),
            (None, None) => self.names.remove(place),
        }
    }

    /// What stands in that very place.
    pub(crate) fn at(&self, place: &str) -> Option<&Arc<Leaf>> {
        match place.strip_prefix('/') {
            None => self.named(place),
            Some(path) => path
                .split('/')
                .try_fold(&*self.root, |node, segment| Some(&**node.children.get(segment)?))?
                .leaf
                .as_ref(),
        }
    }
}

impl Node {
    /// As deep as a urn has segments: a few hundred at most, as its length is bounded.
    fn set<'s>(&mut self, mut segments: impl Iterator<Item = &'s str>, leaf: Option<Arc<Leaf>>) {
        let Some(segment) = segments.next() else {
            self.leaf = leaf;
            return;
        };
        let child = self.children.get(segment);
        if child.is_none() && leaf.is_none() {
            return;
        }
        let mut child = child.map_or_else(Self::default, |child| (**child).clone());
        child.set_dyn(&mut segments, leaf);
        if child.is_bare() {
            self.children.remove(segment);
        } else {
            self.children.insert(segment, Arc::new(child));
        }
    }

    /// The recursion goes through a `dyn` so that the iterator's type does not grow with its depth.
    fn set_dyn(&mut self, segments: &mut dyn Iterator<Item = &str>, leaf: Option<Arc<Leaf>>) {
        self.set(segments, leaf);
    }

    fn is_bare(&self) -> bool {
        self.leaf.is_none() && self.children.is_empty()
    }
}

#[cfg(test)]
mod tests;

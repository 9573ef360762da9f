//! The compiled routing table: from a request's path to the instances that may take it (PTP section 10.4).
//!
//! A tree of path segments. Looked up without a lock or an allocation. A change copies only the nodes on its way, so a
//! table that is in use stays as it is and ten thousand other urns are not touched.

use std::{collections::HashMap, sync::Arc};

use crds::ServiceProto;

use crate::balance::Group;

/// From a path to the instances that may take it. A clone shares everything.
#[derive(Clone, Debug, Default)]
pub struct Table {
    root: Arc<Node>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    children: HashMap<Arc<str>, Arc<Node>>,
    leaf: Option<Arc<Leaf>>,
}

/// What is registered under one prefix.
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

    /// Puts `leaf` in place under `prefix`, which starts with `/` and has no empty segment; an empty one takes it out.
    pub fn set(&mut self, prefix: &str, leaf: Leaf) {
        let leaf = (!leaf.is_empty()).then(|| Arc::new(leaf));
        let mut segments = prefix.split('/');
        segments.next();
        Arc::make_mut(&mut self.root).set(segments, leaf);
    }
}

impl Node {
    /// As deep as a urn has segments: a few hundred at most, as its length is bounded.
    fn set<'s>(&mut self, mut segments: impl Iterator<Item = &'s str>, leaf: Option<Arc<Leaf>>) {
        let Some(segment) = segments.next() else {
            self.leaf = leaf;
            return;
        };
        if let Some(child) = self.children.get_mut(segment) {
            let child = Arc::make_mut(child);
            child.set_dyn(&mut segments, leaf);
            if child.is_bare() {
                self.children.remove(segment);
            }
        } else if leaf.is_some() {
            let mut child = Self::default();
            child.set_dyn(&mut segments, leaf);
            self.children.insert(segment.into(), Arc::new(child));
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

//! Which roots serve several parties: under those only the name in a certificate tells them apart (design section 4).
//!
//! Pure; made once for each snapshot.

use std::collections::{HashMap, HashSet};

use mesh_core::{NodeId, Route, Snapshot};

/// The roots of one snapshot that are not a single party's.
#[derive(Debug, Default)]
pub(crate) struct Sharing {
    /// The snapshot that it is of.
    generation: u64,
    /// sha256 of each.
    roots: HashSet<String>,
}

impl Sharing {
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        let generation = snapshot.generation;
        // A sidecar dials its gateway alone, which is its own node.
        if snapshot.gateway.is_some() {
            return Self { generation, roots: HashSet::new() };
        }
        let mut parties: HashMap<&str, &NodeId> = HashMap::new();
        let mut roots = HashSet::new();
        let own = snapshot.node.roots.roots().map(|root| (root, &snapshot.node.node_id));
        let theirs = snapshot.routes().iter();
        let theirs = theirs.flat_map(|route| route.anchors.roots().map(move |root| (root, &route.node_id)));
        for (root, party) in own.chain(theirs) {
            if parties.insert(&root.sha256, party).is_some_and(|other| other != party) {
                roots.insert(root.sha256.clone());
            }
        }
        Self { generation, roots }
    }

    /// Whether it is of that snapshot.
    pub(crate) fn is_of(&self, snapshot: &Snapshot) -> bool {
        self.generation == snapshot.generation
    }

    /// Whether a certificate under the route's roots may be somebody else's.
    pub(crate) fn concerns(&self, route: &Route) -> bool {
        route.anchors.roots().any(|root| self.roots.contains(&root.sha256))
    }
}

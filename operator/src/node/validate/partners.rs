//! Which route holds which partner: one node id has one route, and the node itself has none.
//!
//! The oldest route holds its partner even while it is disabled, ends, or has bad roots: were a younger one to step in, then
//! switching a partner off, or breaking its trust, would hand its place to somebody else. Routes that were made at an
//! application's word come last.

use std::collections::HashMap;

use crds::MeshRoute;
use kube::ResourceExt;

use super::is_made_by_api;
use crate::node::Problem;

/// The partners that routes hold, by node id without regard to case.
pub(super) struct Partners {
    own: String,
    held: HashMap<String, (String, IsByApi)>,
}

/// Whether a route was made at an application's word.
struct IsByApi(bool);

impl Partners {
    pub(super) fn of(own: &str) -> Self {
        Self { own: own.to_ascii_lowercase(), held: HashMap::new() }
    }

    /// Takes the partner for `route`, the oldest first.
    pub(super) fn hold(&mut self, route: &MeshRoute) -> Result<(), Problem> {
        let node_id = route.spec.peer.node_id.clone();
        let key = node_id.to_ascii_lowercase();
        if key == self.own {
            return Err(Problem::SelfRoute { node_id });
        }
        match self.held.get(&key) {
            Some((holder, IsByApi(false))) if is_made_by_api(route) => {
                Err(Problem::Overridden { node_id, holder: holder.clone() })
            }
            Some((holder, _)) => Err(Problem::DuplicatePeer { node_id, holder: holder.clone() }),
            None => {
                self.held.insert(key, (route.name_any(), IsByApi(is_made_by_api(route))));
                Ok(())
            }
        }
    }
}

//! What changes routes. Those that name several partners check all of them before they change one.

use std::{sync::Arc, time::SystemTime};

use mesh_core::{
    NodeId, Refusal,
    config::RouteChange,
    mpi::{Answer, Call},
};
use serde_json::Value;

use super::{
    super::{
        Control, ControlError,
        document::Document,
        permit,
        route::{known_bits, set_bits, status},
    },
    done, node_id, node_ids, object, objects,
};
use crate::RouteError;

impl Control {
    /// Each route as by `net/refresh`.
    pub(super) async fn refresh_by_mpi(self: Arc<Self>, call: Call) -> Answer {
        permit(&call.caller, "mesh.net.refresh")?;
        done(self.refresh(&objects(&call, "routes")?).await)
    }

    pub(super) async fn weave_by_mpi(self: Arc<Self>, call: Call) -> Answer {
        done(self.weave_document(&call.caller, &object(&call, "route")?).await)
    }

    pub(super) async fn ack_by_mpi(self: Arc<Self>, call: Call) -> Answer {
        done(self.ack_document(&call.caller, &object(&call, "route")?).await)
    }

    /// `disable` and `enable`: a disabled route is known and carries nothing, in either direction.
    pub(super) async fn switch(self: Arc<Self>, call: Call, disabled: bool) -> Answer {
        let node = node_id(&call)?;
        if node == self.keeper.live().load().node.node_id {
            return Err(ControlError::Ourselves.into());
        }
        let _turn = self.changing.lock().await;
        let Some(mut route) = self.known(&node) else { return Err(RouteError::UnknownNode { node }.into()) };
        let bits = known_bits(&route.config, &route.record);
        // Who is let in again is no longer turned down.
        let bits = if disabled { bits | status::DISABLED } else { bits & !(status::DISABLED | status::REJECTED) };
        set_bits(&mut route, bits);
        self.keeper.put_route(route).await?;
        Ok(None)
    }

    /// Weaves with several partners; each by its own route.
    pub(super) async fn ally(self: Arc<Self>, call: Call) -> Answer {
        let nodes = node_ids(&call)?;
        self.all_known(&nodes)?;
        let (this, caller) = (&self, &call.caller);
        let weave = |node: &NodeId| {
            let members = [("node_id".to_owned(), Value::from(node.as_str()))];
            let document = Document(members.into_iter().collect());
            async move { this.weave_document(caller, &document).await }
        };
        // At the same time: one that is away does not keep the others waiting.
        let woven = futures::future::join_all(nodes.iter().map(weave)).await;
        done(woven.into_iter().collect())
    }

    /// Lets go of several partners, and of parties that wait.
    pub(super) async fn disband(self: Arc<Self>, call: Call) -> Answer {
        let nodes = node_ids(&call)?;
        self.all_known(&nodes)?;
        let _turn = self.changing.lock().await;
        self.keeper.change_routes(nodes.iter().cloned().map(RouteChange::Remove).collect()).await?;
        for node in &nodes {
            self.pending.forget(node).await?;
        }
        Ok(None)
    }

    /// Turns down the weave that waits in the name of a node, and leaves its route alone.
    pub(super) async fn decline(self: Arc<Self>, call: Call) -> Answer {
        let node = node_id(&call)?;
        if self.pending.of(&node, SystemTime::now()).is_none() {
            return Err(ControlError::NothingWaits { node }.into());
        }
        self.pending.forget(&node).await?;
        Ok(None)
    }

    fn all_known(&self, nodes: &[NodeId]) -> Result<(), Refusal> {
        let (snapshot, now) = (self.keeper.live().load(), SystemTime::now());
        for node in nodes {
            if *node == snapshot.node.node_id {
                return Err(ControlError::Ourselves.into());
            }
            if snapshot.route_to(node).is_none() && self.pending.of(node, now).is_none() {
                return Err(RouteError::UnknownNode { node: node.clone() }.into());
            }
        }
        Ok(())
    }
}

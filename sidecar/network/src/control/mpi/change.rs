//! What changes routes. Those that name several partners check all of them before they change one.

use std::{sync::Arc, time::SystemTime};

use mesh_core::{
    NodeId, Refusal,
    mpi::{Answer, Call},
};
use serde_json::Value;

use super::{
    super::{
        Control, ControlError,
        document::Document,
        permit,
        route::{bits_of, status},
    },
    done, node_id, node_ids, object, objects,
};
use crate::RouteError;

impl Control {
    /// Each route as by `net/refresh`.
    pub(super) async fn refresh_by_mpi(self: Arc<Self>, call: Call) -> Answer {
        permit(&call.caller, "mesh.net.refresh")?;
        let documents = objects(&call, "routes")?;
        documents.iter().try_for_each(|document| self.check(document))?;
        for document in &documents {
            self.refresh(document).await?;
        }
        Ok(None)
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
        route.config.disabled = disabled;
        let bits = bits_of(&route.record) & !status::DISABLED | if disabled { status::DISABLED } else { 0 };
        route.record.insert("status".into(), bits.into());
        self.keeper.put_route(route).await?;
        Ok(None)
    }

    /// Weaves with several partners; each by its own route.
    pub(super) async fn ally(self: Arc<Self>, call: Call) -> Answer {
        let nodes = node_ids(&call)?;
        self.all_known(&nodes)?;
        let mut failed: Option<Refusal> = None;
        for node in &nodes {
            let members = [("node_id".to_owned(), Value::from(node.as_str()))];
            let woven = self.weave_document(&call.caller, &Document(members.into_iter().collect())).await;
            failed = failed.or(woven.err());
        }
        done(failed.map_or(Ok(()), Err))
    }

    /// Lets go of several partners, and of parties that wait.
    pub(super) async fn disband(self: Arc<Self>, call: Call) -> Answer {
        let nodes = node_ids(&call)?;
        self.all_known(&nodes)?;
        for node in nodes {
            let _turn = self.changing.lock().await;
            self.pending.forget(&node).await?;
            self.keeper.remove_route(node).await?;
        }
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

//! The calls by which applications say who this node is and who its partners are (PTP sections 11.3 and 12.1).
//!
//! ```text
//! document.rs   JSON as people paste it                 -> identity.rs, route.rs: members checked, pure
//! mod.rs        who may call; the Keeper puts it in force
//! greeting.rs   asks a new partner who it is
//! mpi.rs        the same by MPI, and what may be read
//! ```

mod document;
mod error;
#[cfg(test)]
mod fuzz;
mod greeting;
mod identity;
mod mpi;
mod route;

use std::{sync::Arc, time::SystemTime};

use mesh_core::{
    Caller, NodeId, Refusal,
    config::{ApiRoute, Keeper},
};

pub use error::ControlError;

use crate::Partners;
use route::Refresh;

/// The control calls of this room.
pub struct Control {
    keeper: Arc<Keeper>,
    partners: Arc<Partners>,
}

impl Control {
    /// Control over what `keeper` keeps; new partners are greeted through `partners`.
    #[must_use]
    pub fn new(keeper: Arc<Keeper>, partners: Arc<Partners>) -> Arc<Self> {
        Arc::new(Self { keeper, partners })
    }

    /// `POST /v1/interconn/node/refresh`: who this node is. The same document again changes nothing.
    ///
    /// # Errors
    /// With the code of what is wrong; then nothing changed.
    pub async fn node_refresh(&self, caller: &Caller, body: &[u8]) -> Result<(), Refusal> {
        permit(caller, "node/refresh")?;
        let identity = identity::read(&document::parse(body)?)?;
        self.keeper.set_identity(identity).await?;
        Ok(())
    }

    /// `POST /v1/interconn/net/refresh`: one partner, added, changed or (status bit 64) removed.
    ///
    /// # Errors
    /// With the code of what is wrong; then nothing changed.
    pub async fn net_refresh(&self, caller: &Caller, body: &[u8]) -> Result<(), Refusal> {
        permit(caller, "net/refresh")?;
        self.refresh(&document::parse(body)?).await
    }

    async fn refresh(&self, document: &document::Document) -> Result<(), Refusal> {
        let node = NodeId::new(route::node_id(document)?);
        let before = self.known(&node);
        match route::read(document, before.as_ref(), SystemTime::now())? {
            Refresh::Remove => self.keeper.remove_route(node).await?,
            // Also for a route that says nothing new: the partner may answer by now.
            Refresh::Put(route) => {
                let applied = self.keeper.put_route((*route).clone()).await?;
                self.greet(&node, *route).await;
                applied
            }
        };
        Ok(())
    }

    /// What is known of a partner: what the API set, or else what the file or the resource says.
    fn known(&self, node: &NodeId) -> Option<ApiRoute> {
        let by_api =
            self.keeper.api_routes().into_iter().find(|route| NodeId::new(&route.config.peer.node_id) == *node);
        by_api.or_else(|| {
            let snapshot = self.keeper.live().load();
            let config = snapshot.route_to(node)?.config.clone();
            Some(ApiRoute { config, client_pair: None, record: serde_json::Map::new() })
        })
    }
}

/// Control calls are this node's own applications' business (design section 4).
fn permit(caller: &Caller, call: &'static str) -> Result<(), ControlError> {
    match caller {
        Caller::Local => Ok(()),
        Caller::Member | Caller::Partner(_) => Err(ControlError::NotOpen { call }),
        Caller::Stranger => Err(ControlError::Stranger { call }),
    }
}

#[cfg(test)]
mod tests;

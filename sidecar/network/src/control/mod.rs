//! The calls by which applications say who this node is and who its partners are (PTP sections 11.3 and 12.1).
//!
//! ```text
//! document.rs   JSON as people paste it                 -> identity.rs, route.rs: members checked, pure
//! mod.rs        who may call; the Keeper puts it in force
//! asking.rs     one MPI of a partner                    -> greeting.rs: asks a new partner who it is
//! weave.rs      two nodes give each other pairs and consent -> pending.rs: strangers that wait for an answer -> waiting.rs: at the gateway
//! window.rs     how often somebody outside may change something
//! mpi/          the same by MPI, what may be read, and the KMS
//! ```

mod asking;
mod document;
mod error;
#[cfg(test)]
mod fuzz;
mod greeting;
mod identity;
mod mpi;
mod pending;
mod route;
mod waiting;
mod weave;
mod window;

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use mesh_core::{
    Caller, NodeId, Refusal,
    config::{ApiRoute, Keeper, RouteChange},
};

pub use error::ControlError;

use crate::{NameCheck, Partners};
use mpi::Books;
use pending::Pending;
use route::{Need, Refresh};
use window::Window;

/// The control calls of this room.
pub struct Control {
    keeper: Arc<Keeper>,
    partners: Arc<Partners>,
    /// Where partners dial this node, in order (`MESH_MDC`); the node's own address if nothing is said.
    addresses: Option<String>,
    pending: Pending,
    books: Books,
    /// Reading a route and putting it back changed is one step.
    changing: tokio::sync::Mutex<()>,
    /// How often each partner has changed its own route lately.
    told: parking_lot::Mutex<HashMap<NodeId, Window>>,
}

impl Control {
    /// Control over what `keeper` keeps; new partners are greeted through `partners`, and told that this node is dialled at
    /// `addresses`.
    #[must_use]
    pub fn new(keeper: Arc<Keeper>, partners: Arc<Partners>, addresses: Option<String>) -> Arc<Self> {
        let (pending, books) = (Pending::open(Arc::clone(keeper.store())), Books::open(Arc::clone(keeper.store())));
        let (changing, told) = Default::default();
        Arc::new(Self { keeper, partners, addresses, pending, books, changing, told })
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
        self.refresh(&[document::parse(body)?]).await
    }

    /// Each document as by `net/refresh`: all of them are kept, or none is. The partners are greeted at the same time.
    async fn refresh(&self, documents: &[document::Document]) -> Result<(), Refusal> {
        let put = {
            let _turn = self.changing.lock().await;
            let now = SystemTime::now();
            let (changes, answered) = self.changes(documents, now)?;
            self.keeper.change_routes(changes.clone()).await?;
            for node in &answered {
                self.pending.forget(node).await?;
            }
            changes
        };
        // Also for a route that says nothing new: the partner may answer by now.
        let put = put.into_iter().filter_map(|change| match change {
            RouteChange::Put(route) => Some(*route),
            RouteChange::Remove(_) => None,
        });
        futures::future::join_all(put.map(|route| self.greet(route))).await;
        Ok(())
    }

    /// What the documents ask for, checked, and whose weaves they answer.
    fn changes(
        &self,
        documents: &[document::Document],
        now: SystemTime,
    ) -> Result<(Vec<RouteChange>, Vec<NodeId>), Refusal> {
        let (mut changes, mut answered): (Vec<RouteChange>, Vec<NodeId>) = Default::default();
        for document in documents {
            let node = NodeId::new(route::node_id(document)?);
            // A partner that is named twice is what the document before says, with this one laid over it.
            let earlier = changes.iter().rev().find_map(|change| match change {
                RouteChange::Put(route) if NodeId::new(&route.config.peer.node_id) == node => {
                    Some(Some((**route).clone()))
                }
                RouteChange::Remove(removed) if *removed == node => Some(None),
                _ => None,
            });
            let before = earlier.unwrap_or_else(|| self.known(&node));
            changes.push(match route::read(document, before.as_ref(), Need::All, now)? {
                Refresh::Remove => {
                    answered.push(node.clone());
                    RouteChange::Remove(node)
                }
                Refresh::Put(mut route) => {
                    self.permit_tags(&route)?;
                    let waited = self.pending.of(&node, now).is_some_and(|weave| weave.settles(&mut route));
                    if waited || route::bits_of(&route.record) & route::status::REJECTED != 0 {
                        answered.push(node);
                    }
                    RouteChange::Put(route)
                }
            });
        }
        Ok((changes, answered))
    }

    /// Refuses addresses that would skip a check which nobody permits to be skipped (PTP section 11.4, tag `k`).
    fn permit_tags(&self, route: &ApiRoute) -> Result<(), ControlError> {
        let skipping =
            route.config.addresses.iter().find(|given| {
                crate::dial::Address::parse(&given.address).is_ok_and(|address| address.tags.skips_verify)
            });
        match skipping {
            Some(given) if self.partners.names() == NameCheck::Required => {
                Err(ControlError::SkipVerify { address: crate::dial::shown(&given.address) })
            }
            _ => Ok(()),
        }
    }

    /// What is known of a partner: what the API set, or else what the file or the resource says.
    fn known(&self, node: &NodeId) -> Option<ApiRoute> {
        self.keeper.api_route(node).or_else(|| {
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
        Caller::Member { .. } | Caller::Gateway | Caller::Partner(_) => Err(ControlError::NotOpen { call }),
        Caller::Stranger => Err(ControlError::Stranger { call }),
    }
}

#[cfg(test)]
mod tests;

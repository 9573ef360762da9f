//! The admin port: probes and metrics for everyone; configuration, log level, queues and status only from loopback with
//! the admin token (design section 4).
//!
//! It has a runtime of its own, so that a busy data plane still answers its probes.

mod answers;
mod directory;
mod places;
mod server;
mod shown;
mod token;
mod tunnel;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::SystemTime,
};

use futures::future::BoxFuture;
use mesh_core::{NodeId, Refusal, config::Keeper, telemetry::LevelHandle};
use mesh_network::NameCheck;
use prometheus_client::registry::Registry;
use serde::Deserialize;
use serde_json::Value;

pub(crate) use directory::NewDirectoryToken;
pub(crate) use server::{Door, serve};
pub(crate) use token::Token;
pub(crate) use tunnel::NewToken;

/// What the admin port shows.
pub(crate) struct Admin {
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) level: LevelHandle,
    pub(crate) metrics: Registry,
    pub(crate) token: Token,
    pub(crate) phase: Arc<Phase>,
    pub(crate) rooms: Box<dyn Rooms>,
}

/// What the rooms show of themselves.
pub(crate) trait Rooms: Send + Sync {
    /// The queues: how much is waiting, of how many sessions.
    fn queues(&self) -> Value;
    /// The queues one by one, a page of them.
    fn queue_page(&self, ask: &QueuePage) -> Value;
    /// The instances of registered services, with their state.
    fn instances(&self) -> Value;
    /// The registrations one by one, with their services.
    fn services(&self, ask: &ServicePage) -> Value;
    /// The grid: how much is in it; null where it is off.
    fn grid(&self) -> Value;
    /// The grid's topics, and its clients one by one, a page of them; or why there are none here.
    fn grid_page(&self, ask: &GridPage) -> Result<Value, &'static str>;
    /// How it stands with the backplane; null where there is none.
    fn backplane(&self) -> Value;
    /// The network controller, where it is on.
    fn tunnel(&self) -> Option<Arc<mesh_tunnel::control::Control>>;
    /// The Datanet directory, where it is on.
    fn directory(&self) -> Option<Arc<mesh_directory::directory::Directory>>;
    /// The verified copy of the directory in a sidecar, in a few figures; null where there is none.
    fn replica(&self) -> Value;
    /// What is known of a partner's addresses.
    fn addresses(&self, node: &NodeId) -> Value;
    /// Whether partners' certificates must carry their names.
    fn names(&self) -> NameCheck;
    /// When a partner last called this node.
    fn last_call(&self, node: &NodeId) -> Option<SystemTime>;
    /// What the last diagnosis of a route found; null where none was made.
    fn last_diagnosis(&self, node: &NodeId) -> Value;
    /// The diagnosis of a route: `{"done": true, "report"}`, or `{"done": false}` while it takes its time; or why there is none.
    fn diagnose<'a>(&'a self, ask: &'a Diagnose) -> BoxFuture<'a, Result<Value, Refusal>>;
}

/// Which registrations are asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServicePage {
    /// Only those of this name.
    pub(crate) name: Option<String>,
    pub(crate) limit: Option<usize>,
}

/// Which route is to be diagnosed, and how deep.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Diagnose {
    /// The partner.
    pub(crate) node: String,
    /// How long a connection is left idle.
    pub(crate) idle_ms: Option<u64>,
}

/// Which page of queues is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct QueuePage {
    /// Only this session.
    pub(crate) session: Option<String>,
    /// Behind this session, or within it behind this topic.
    pub(crate) after_session: Option<String>,
    pub(crate) after_topic: Option<String>,
    pub(crate) limit: Option<usize>,
}

/// Which page of the grid's clients is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GridPage {
    /// Behind the client of this id.
    pub(crate) after: Option<String>,
    pub(crate) limit: Option<usize>,
}

/// How far the process is: what readiness says.
pub(crate) struct Phase {
    reached: AtomicU8,
    /// Why no call should come here though the process could take it.
    held_up: Box<dyn Fn() -> Option<String> + Send + Sync>,
}

impl Phase {
    const SERVING: u8 = 1;
    const DRAINING: u8 = 2;

    /// The process has begun.
    pub(crate) fn starting(held_up: impl Fn() -> Option<String> + Send + Sync + 'static) -> Self {
        Self { reached: AtomicU8::default(), held_up: Box::new(held_up) }
    }

    /// Every listener is bound.
    pub(crate) fn serving(&self) {
        self.reached.store(Self::SERVING, Ordering::Release);
    }

    /// The end was asked for.
    pub(crate) fn draining(&self) {
        self.reached.store(Self::DRAINING, Ordering::Release);
    }

    /// Why new calls should not come here; `None`: they should.
    pub(crate) fn unready(&self) -> Option<String> {
        let name = self.name();
        match (self.reached.load(Ordering::Acquire), (self.held_up)()) {
            (Self::SERVING, None) => None,
            (Self::DRAINING, _) | (_, None) => Some(name.to_owned()),
            (_, Some(why)) => Some(format!("{name}: {why}")),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self.reached.load(Ordering::Acquire) {
            Self::SERVING => "serving",
            Self::DRAINING => "draining",
            _ => "starting",
        }
    }
}

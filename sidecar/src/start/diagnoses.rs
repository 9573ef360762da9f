//! Diagnoses that are asked for at the admin port. They work on the data plane's runtime, where partners are dialled, and may take
//! longer than a connection to the admin port lasts: whoever asks again gets the one that is under way, or its report ([`Turns`]).

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use mesh_core::{Code, NodeId, Refusal};
use mesh_network::{
    Partners, RouteError,
    diagnose::{Depth, Report},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{runtime::Handle, sync::watch, time::timeout};

use super::turns::{Done, Turn, Turns};
use crate::admin::Diagnose;

/// Long enough to find what cuts idle connections early, short enough to wait for.
const USUAL_IDLE: Duration = Duration::from_secs(10);
/// A pop waits 120 s by default; nobody needs to know of more than five minutes.
const LONGEST_IDLE: Duration = Duration::from_secs(300);
/// How long one question waits: half of what a connection to the admin port may last.
const WAIT: Duration = Duration::from_secs(30);
/// A report waits for so long to be fetched by whoever was told to ask again.
const KEPT: Duration = Duration::from_secs(30);
/// Diagnoses at once, of different routes.
const MOST: usize = 8;
/// What was found last is remembered of so many routes: people diagnose a handful.
const MOST_REMEMBERED: usize = 64;

/// Which route, and how long a connection is left idle.
type Asked = (NodeId, Duration);
type Found = Result<Report, RouteError>;

/// The diagnoses under way, and those just made.
pub(super) struct Diagnoses {
    partners: Arc<Partners>,
    data_plane: Handle,
    turns: Mutex<Turns<Asked, Found>>,
    /// What was found last, and when.
    last: Arc<Mutex<HashMap<NodeId, (SystemTime, Report)>>>,
}

impl Diagnoses {
    pub(super) fn new(partners: Arc<Partners>, data_plane: Handle) -> Self {
        Self { partners, data_plane, turns: Mutex::new(Turns::new(MOST, KEPT)), last: Arc::default() }
    }

    /// What the last diagnosis of a route found: when, whether all was well, and each fault with its remedy.
    pub(super) fn last(&self, node: &NodeId) -> Value {
        let last = self.last.lock();
        let Some((at, report)) = last.get(node) else { return Value::Null };
        let at = jiff::Timestamp::try_from(*at).map(|at| at.to_string()).unwrap_or_default();
        json!({"at": at, "ok": report.ok, "faults": report.faults()})
    }

    /// The diagnosis of a route, or that it is not done yet.
    pub(super) async fn of(&self, ask: &Diagnose) -> Result<Value, Refusal> {
        let idle = ask.idle_ms.map_or(USUAL_IDLE, Duration::from_millis).min(LONGEST_IDLE);
        let key = (NodeId::new(ask.node.trim()), idle);
        let mut found = self.begin(&key)?;
        let found = match timeout(WAIT, found.wait_for(Option::is_some)).await {
            Err(_) => return Ok(json!({"done": false})),
            Ok(Err(_)) => return Err(Refusal::of_caller(Code::INTERNAL, "the diagnosis broke off")),
            Ok(Ok(found)) => found.as_ref().map(|(_, found)| found.clone()),
        };
        self.turns.lock().fetched(&key);
        match found {
            Some(Ok(report)) => Ok(json!({"done": true, "report": report})),
            Some(Err(e)) => Err(e.into()),
            None => Ok(json!({"done": false})),
        }
    }

    fn begin(&self, key: &Asked) -> Result<watch::Receiver<Done<Found>>, Refusal> {
        let (done, found) = match self.turns.lock().ask(key, Instant::now()) {
            Turn::Shared(found) => return Ok(found),
            Turn::Full => {
                return Err(Refusal::of_caller(Code::BUFFER_FULL, "eight diagnoses are under way: wait for one"));
            }
            Turn::New(done, found) => (done, found),
        };
        let (partners, last, (node, idle)) = (Arc::clone(&self.partners), Arc::clone(&self.last), key.clone());
        self.data_plane.spawn(async move {
            let report = partners.diagnose(&node, Depth { idle }).await;
            if let Ok(report) = &report {
                remember(&mut last.lock(), node, report.clone());
            }
            done.send_replace(Some((Instant::now(), report)));
        });
        Ok(found)
    }
}

fn remember(last: &mut HashMap<NodeId, (SystemTime, Report)>, node: NodeId, report: Report) {
    last.insert(node, (SystemTime::now(), report));
    if last.len() > MOST_REMEMBERED {
        let oldest = last.iter().min_by_key(|(_, (at, _))| *at).map(|(node, _)| node.clone());
        oldest.and_then(|node| last.remove(&node));
    }
}

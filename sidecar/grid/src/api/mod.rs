//! The backends' API on 6789: `POST /v1/mesh/send` and `/v1/mesh/publish`, the WebSocket `/ws/v1`, `/metrics` (Grid sections 3, 4
//! and 8).
//!
//! ```text
//! users.rs     who calls: loopback, a sidecar of the node, a user with credentials
//! http.rs      one call over HTTP
//! socket.rs    one WebSocket
//! answers.rs   every answer in the protocol's envelope
//! ```
//! The listener of port 7304's kind brings the requests: plain text, HTTP/2 and TLS on one socket. What a sidecar passes on comes
//! by 7304 itself, under [`PASSED`].

mod answers;
mod http;
mod socket;
mod users;

use std::{collections::HashMap, sync::Arc};

use ::http::{Method, Request, Response, StatusCode, Uri};
use arc_swap::ArcSwap;
use crds::BackendApi;
use mesh_core::{Body, Drained, Live, Network};
use mesh_network::listen::{Connection, Pieces, Serve};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;

use self::{answers::refused, users::Standing};
pub use self::{
    answers::unreachable,
    users::{Secret, Users, may_pass},
};
use crate::{
    Grid, GridError,
    backend::{Permit, Session},
    envelope::Method as Call,
    metrics::Metrics,
    queue::ConsumerId,
    wire::{Close, CloseCode},
};

/// The path on 7304 under which a sidecar of the node passes on what its pod's containers asked its own 6789 for.
pub const PASSED: &str = "/v1/interconn/grid";

/// The API.
pub struct Api {
    grid: Arc<Grid>,
    live: Arc<Live>,
    settings: ArcSwap<Settings>,
    metrics: Registry,
    drained: Drained,
    sockets: Sockets,
}

/// The WebSockets that are open, and why each may be.
type Sockets = Arc<Mutex<HashMap<ConsumerId, (Standing, Arc<Session>)>>>;

/// What the configuration says of it.
#[derive(Debug)]
pub struct Settings {
    /// Its bounds.
    pub api: BackendApi,
    /// Who may call in plain text without credentials, beside this machine.
    pub plaintext_from: Vec<Network>,
    /// Who may call from elsewhere.
    pub users: Users,
}

impl Api {
    /// The API of `grid`.
    #[must_use]
    pub fn new(grid: Arc<Grid>, live: Arc<Live>, settings: Settings, drained: Drained) -> Arc<Self> {
        let mut metrics = Registry::default();
        Metrics::register(&grid, &mut metrics);
        let settings = ArcSwap::from_pointee(settings);
        Arc::new(Self { grid, live, settings, metrics, drained, sockets: Sockets::default() })
    }

    /// Other settings from now on. Whoever is connected and may not be any more is told to go; others may do what they may now.
    pub fn configure(&self, settings: Settings) {
        let settings = Arc::new(settings);
        self.settings.store(Arc::clone(&settings));
        self.sockets.lock().values().for_each(|(standing, session)| self.allow(standing, session, &settings));
    }

    /// Whoever may not be here any more goes, others may do what they may now.
    fn allow(&self, standing: &Standing, session: &Session, settings: &Settings) {
        match users::permit_now(standing, settings) {
            Some(permit) => self.grid.permit(session, permit),
            None => self.revoke(session),
        }
    }

    /// What it consumes is for others from now on, also where it takes nothing and does not learn it soon.
    fn revoke(&self, session: &Session) {
        session.revoke(Close::new(CloseCode::POLICY, "these credentials are nobody's any more"));
        self.grid.end_session(session);
    }

    /// Ends the WebSockets of all backends.
    pub fn close_sessions(&self, close: &Close) {
        self.sockets.lock().values().for_each(|(_, session)| session.end(close.clone()));
    }

    /// Answers what a sidecar of this node passed on: whoever called it was let in there.
    pub async fn passed(&self, mut request: Request<Body>, connection: &Arc<Connection>) -> Response<Body> {
        let path = request.uri().path_and_query().map_or("/", ::http::uri::PathAndQuery::as_str);
        if let Some(uri) = path.strip_prefix(PASSED).and_then(|path| path.parse::<Uri>().ok()) {
            *request.uri_mut() = uri;
        }
        self.counted(request, connection, true).await
    }

    /// Answers, and counts what no call came to.
    async fn counted(&self, request: Request<Body>, connection: &Arc<Connection>, passed: bool) -> Response<Body> {
        let response = self.answer(request, connection, passed).await;
        if let Some(answers::Refused(code)) = response.extensions().get() {
            self.grid.metrics.call(*code);
        }
        response
    }

    async fn answer(&self, mut request: Request<Body>, connection: &Arc<Connection>, passed: bool) -> Response<Body> {
        let settings = self.settings.load_full();
        // Before all else: whoever has no credentials does not learn what there is (G-21).
        let caller = if passed {
            users::passed(&settings, &request)
        } else {
            users::caller(&self.live.load(), &settings, connection, &request)
        };
        let (standing, permit) = match caller {
            Ok(caller) => caller,
            Err(denied) => return answers::denied(&denied),
        };
        let method = match request.uri().path() {
            "/v1/mesh/send" => Some(Call::Send),
            "/v1/mesh/publish" => Some(Call::Publish),
            "/ws/v1" | "/metrics" => None,
            path => {
                let unknown = GridError::UnknownMethod(path.chars().take(64).collect());
                return refused(StatusCode::NOT_FOUND, &unknown);
            }
        };
        let wanted = if method.is_some() { Method::POST } else { Method::GET };
        if *request.method() != wanted {
            return answers::method_not_allowed(&wanted);
        }
        if (method, request.uri().path()) == (None, "/metrics") {
            return answers::metrics(&self.metrics);
        }
        if self.drained.is_asked() {
            return refused(StatusCode::SERVICE_UNAVAILABLE, &GridError::Draining);
        }
        match method {
            Some(method) => http::call(&self.grid, &settings.api, &permit, method, request.into_body()).await,
            None => self.upgrade(&settings, (standing, permit), &mut request, connection),
        }
    }

    fn upgrade(
        &self,
        settings: &Settings,
        (standing, permit): (Standing, Permit),
        request: &mut Request<Body>,
        connection: &Arc<Connection>,
    ) -> Response<Body> {
        let session = self.grid.topics.open(permit);
        let place = Place { sockets: Arc::clone(&self.sockets), grid: Arc::clone(&self.grid), session };
        let mut sockets = self.sockets.lock();
        // The settings may be others since they were asked, and whoever changed them did not see this one.
        self.allow(&standing, &place.session, &self.settings.load());
        sockets.insert(place.session.id, (standing, Arc::clone(&place.session)));
        drop(sockets);
        socket::upgrade(place, &settings.api, request, connection, &self.drained)
    }
}

/// A backend's place among the WebSockets, until it is dropped.
struct Place {
    sockets: Sockets,
    grid: Arc<Grid>,
    session: Arc<Session>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.sockets.lock().remove(&self.session.id);
        self.grid.end_session(&self.session);
    }
}

impl Serve for Api {
    async fn serve(&self, request: Request<Body>, connection: Arc<Connection>) -> Response<Body> {
        self.counted(request, &connection, false).await
    }

    fn short_way(&self, request: &Request<()>) -> Option<Pieces> {
        (*request.method() == Method::POST).then_some(Pieces::Large)
    }
}

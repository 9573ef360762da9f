//! A WebSocket passed through: after both sides have switched, bytes go both ways until one ends, or the caller's route does.

use std::{future::pending, sync::Arc};

use http::{HeaderMap, HeaderValue, Request, header::CONNECTION, header::UPGRADE};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use mesh_core::Drained;
use mesh_network::listen::Connection;
use tokio::io::copy_bidirectional;

use crate::instance::Load;

/// The caller's side of a switch.
pub(crate) struct Switch {
    stream: OnUpgrade,
    /// Ends when the caller's route is closed, which the stream by itself does not.
    connection: Option<Arc<Connection>>,
}

impl Switch {
    /// Of a request that asks for one.
    pub(crate) fn of<B>(request: &mut Request<B>) -> Self {
        let connection = request.extensions().get().cloned();
        Self { stream: hyper::upgrade::on(request), connection }
    }
}

/// Puts the headers of the switch back on, which are hop-by-hop and were taken off.
pub(crate) fn mark(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// Joins the two sides; `load` is counted where the other one is an instance. The drain counts the task, and ends it when it is
/// asked for.
pub(crate) fn join(caller: Switch, service: OnUpgrade, load: Option<Load>, drained: &Drained) {
    let asked = drained.clone();
    drained.spawn(async move {
        let _load = load;
        let Switch { stream, connection } = caller;
        let ended = async {
            match connection {
                Some(connection) => connection.ended().await,
                None => pending().await,
            }
        };
        let Ok((caller, service)) = futures::future::try_join(stream, service).await else { return };
        let (mut caller, mut service) = (TokioIo::new(caller), TokioIo::new(service));
        tokio::select! {
            // How it ended is known to both ends themselves.
            _ = copy_bidirectional(&mut caller, &mut service) => {}
            () = asked.asked() => {}
            () = ended => {}
        }
    });
}

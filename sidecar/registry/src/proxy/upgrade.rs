//! A WebSocket passed through: after both sides have switched, bytes go both ways until one ends.

use http::{HeaderMap, HeaderValue, header::CONNECTION, header::UPGRADE};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use mesh_core::Drained;
use tokio::io::copy_bidirectional;

use crate::instance::Load;

/// Puts the headers of the switch back on, which are hop-by-hop and were taken off.
pub(crate) fn mark(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// Joins the two sides. The drain counts the task, and ends it when it is asked for.
pub(crate) fn join(caller: OnUpgrade, service: OnUpgrade, load: Load, drained: &Drained) {
    let asked = drained.clone();
    drained.spawn(async move {
        let _load = load;
        let Ok((caller, service)) = futures::future::try_join(caller, service).await else { return };
        let (mut caller, mut service) = (TokioIo::new(caller), TokioIo::new(service));
        tokio::select! {
            // How it ended is known to both ends themselves.
            _ = copy_bidirectional(&mut caller, &mut service) => {}
            () = asked.asked() => {}
        }
    });
}

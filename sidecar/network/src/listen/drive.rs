//! One connection from accept to end.

use std::{net::SocketAddr, sync::Arc};

use mesh_core::Drained;
use tokio::net::TcpStream;

use super::{
    Gate, Serve,
    accept::Admission,
    bundle,
    exchange::Sharing,
    h1::{self, Outcome},
    h2,
    handler::Handler,
    handshake::{Ready, first_bytes},
    hyper,
    rare::{Rare, until_end},
    wire::Alive,
};
use crate::tls::Agreed;

/// Serves the connection of `tcp`, whose bytes come to the reactor of the worker that runs this.
pub(super) async fn connection<S: Serve>(
    tcp: std::net::TcpStream,
    peer: SocketAddr,
    service: Arc<S>,
    gate: Arc<Gate>,
    drained: Drained,
    admission: Admission,
) {
    let tcp = match TcpStream::from_std(tcp) {
        Ok(tcp) => tcp,
        Err(e) => return tracing::warn!(%peer, "turned away: {e}"),
    };
    let ready = tokio::select! {
        ready = first_bytes(tcp, peer, &admission.spot, &gate) => ready,
        // Nothing was asked yet, so nothing is lost.
        () = drained.asked() => return,
        () = admission.spot.end().cancelled() => return,
    };
    let mut ready = match ready {
        Ok(ready) => ready,
        Err(e) => {
            gate.metrics.handshakes_failed.inc();
            tracing::debug!(%peer, "no request came: {e}");
            return;
        }
    };
    let connection = Arc::clone(&ready.connection);
    ready.stream.keep(Alive { connection, _admission: admission });
    if let Err(e) = serve(ready, service, &gate, &drained).await {
        tracing::debug!(%peer, "connection ended: {e}");
    }
}

/// Serves requests until the end. All but the short way is in boxes: it is rare, or large beside an idle connection.
async fn serve<S: Serve>(
    ready: Ready,
    service: Arc<S>,
    gate: &Gate,
    drained: &Drained,
) -> Result<(), mesh_core::BoxError> {
    let Ready { stream, connection, pace, agreed } = ready;
    let mut rare = Rare::new(&connection, drained, gate.limits.strangers);
    let sharing = if matches!(agreed, Agreed::H2 | Agreed::Bundle) { Sharing::Many } else { Sharing::One };
    let handler =
        Arc::new(Handler { service, connection: Arc::clone(&connection), sharing, metrics: gate.metrics.clone() });
    if agreed == Agreed::Bundle {
        return Ok(Box::pin(bundle::serve(stream, handler, &mut rare)).await?);
    }
    if agreed == Agreed::H2 {
        return Box::pin(h2::serve(stream, handler, gate.limits, &mut rare)).await;
    }
    let outcome = {
        let short = std::pin::pin!(h1::serve(stream, &handler, gate));
        until_end(short, &mut rare, |_| connection.finish()).await.transpose()?
    };
    match outcome {
        Some(Outcome::Odd(stream)) => {
            gate.metrics.odd.inc();
            Ok(Box::pin(hyper::serve(stream, pace, handler, gate.limits, &mut rare)).await?)
        }
        Some(Outcome::Over) | None => Ok(()),
    }
}

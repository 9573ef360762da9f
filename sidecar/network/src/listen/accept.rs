//! The accept loop.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use mesh_core::{Drained, Seat};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};

use super::{
    Gate, Serve, drive,
    metrics::Open,
    rooms::{Found, Spot},
};

/// When descriptors have run out, every accept fails at once; the loop then waits for connections to end instead of spinning.
const PAUSE: Duration = Duration::from_millis(100);
/// A silent peer is asked after this time, and given up after four more questions.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_RETRIES: u32 = 4;
/// Bytes that a remote peer does not acknowledge or does not read for this long mean that it is gone. Longer than any usual
/// break of a link. An application on this machine may take its time.
#[cfg(target_os = "linux")]
const USER_TIMEOUT: Duration = Duration::from_secs(120);

/// What one connection was given: room within the bounds, and at a worker.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) spot: Arc<Spot>,
    _open: Open,
    _seat: Seat,
}

#[cfg(test)]
impl Admission {
    pub(super) fn for_test(gate: &Gate, peer: SocketAddr) -> Self {
        let Found::Spot(spot) = gate.rooms.find(peer, 1) else { panic!("no room") };
        let seat = gate.workers.seat(peer.ip()).unwrap();
        Self { spot: Arc::new(spot), _open: Open::count(&gate.metrics), _seat: seat }
    }
}

pub(super) async fn all<S: Serve>(listener: &TcpListener, service: &Arc<S>, gate: &Arc<Gate>, drained: &Drained) {
    loop {
        match listener.accept().await {
            Ok((tcp, peer)) => welcome(tcp, peer, service, gate, drained),
            Err(e) if is_of_one_connection(&e) => {}
            Err(e) => {
                gate.metrics.accepts_failed.inc();
                tracing::warn!("accepting connections pauses: {e}; raise the limit of open files if this stays");
                sleep(PAUSE).await;
            }
        }
    }
}

fn welcome<S: Serve>(tcp: TcpStream, peer: SocketAddr, service: &Arc<S>, gate: &Arc<Gate>, drained: &Drained) {
    let (Some(seat), Ok(tcp)) = (gate.workers.seat(peer.ip()), tcp.into_std()) else {
        tracing::warn!(%peer, "turned away: no worker could take it over");
        return;
    };
    let spot = match gate.rooms.find(peer, seat.of_caller()) {
        Found::Spot(spot) => spot,
        Found::SpotOfAnother(spot) => {
            gate.metrics.turned_away.inc();
            tracing::debug!(%peer, "takes the place of the oldest connection of which nothing was admitted");
            spot
        }
        Found::Full => {
            gate.metrics.turned_away.inc();
            tracing::debug!(%peer, "turned away: as many connections are open as the limits allow");
            return;
        }
    };
    if let Err(e) = options(&SockRef::from(&tcp), peer) {
        tracing::debug!(%peer, "socket options: {e}");
    }
    let runtime = seat.runtime().clone();
    let admission = Admission { spot: Arc::new(spot), _open: Open::count(&gate.metrics), _seat: seat };
    let (service, gate) = (Arc::clone(service), Arc::clone(gate));
    drained.spawn_on(drive::connection(tcp, peer, service, gate, drained.clone(), admission), &runtime);
}

/// Whether an accept failed because the connection was gone before it was taken: the next one is not affected.
#[must_use]
pub fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// What the system is to do for the socket of a connection from `peer`.
///
/// # Errors
/// The system refuses.
pub fn options(socket: &SockRef<'_>, peer: SocketAddr) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE);
    #[cfg(target_os = "linux")]
    let keepalive = keepalive.with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_RETRIES);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    if !peer.ip().to_canonical().is_loopback() {
        socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    }
    Ok(())
}

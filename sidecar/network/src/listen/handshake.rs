//! From an accepted socket to bytes of a known protocol. Whoever takes too long is gone.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{net::TcpStream, time::timeout};

use super::{
    Gate,
    connection::{Connection, Security},
    linger::Lingering,
    pace::Pace,
    rooms::Spot,
    traffic::Traffic,
    wire::{Stream, Wire},
};
use crate::tls::Agreed;

/// How every TLS record of a handshake begins (RFC 8446 section 5.1). No HTTP request does.
const TLS_HANDSHAKE: u8 = 0x16;

/// A connection that is ready for its first request.
pub(super) struct Ready {
    pub(super) stream: Stream,
    pub(super) connection: Arc<Connection>,
    pub(super) pace: Arc<Pace>,
    pub(super) agreed: Agreed,
}

/// Reads the first bytes.
///
/// # Errors
/// The peer went away, took too long, or failed at TLS.
pub(super) async fn first_bytes(tcp: TcpStream, peer: SocketAddr, spot: &Arc<Spot>, gate: &Gate) -> io::Result<Ready> {
    let local = tcp.local_addr()?;
    let traffic = Arc::new(Traffic::default());
    let protecting = protect(tcp, gate, Arc::clone(&traffic));
    let (wire, security, agreed) = timeout(gate.limits.handshake, protecting).await??;
    let pace = Arc::new(Pace::default());
    let mut stream = Stream::new(wire, Arc::clone(&pace));
    let agreed = match agreed {
        // Nothing was read of it yet, and a TLS client may take its time to ask.
        Agreed::H1 | Agreed::H2 | Agreed::Bundle => agreed,
        Agreed::Unsaid => timeout(gate.limits.handshake, stream.sniff()).await??,
    };
    let connection = Arc::new(Connection::new((peer, local), security, traffic, spot, Arc::clone(&gate.roster)));
    Ok(Ready { stream, connection, pace, agreed })
}

async fn protect(tcp: TcpStream, gate: &Gate, traffic: Arc<Traffic>) -> io::Result<(Wire, Security, Agreed)> {
    let mut first = [0];
    if tcp.peek(&mut first).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let socket = Lingering::new(tcp, gate.limits.linger, traffic);
    if first != [TLS_HANDSHAKE] {
        return Ok((Wire::Plain(socket), Security::Plain, Agreed::Unsaid));
    }
    // In a box: needed for the handshake only, and larger than the rest of the connection's task.
    let tls = Box::pin(gate.tls.accept(socket)).await?;
    let (_, session) = tls.get_ref();
    let chain = session.peer_certificates().unwrap_or_default().to_vec();
    let agreed = Agreed::of(session.alpn_protocol());
    Ok((Wire::Tls(Box::new(tls)), Security::Tls(chain), agreed))
}

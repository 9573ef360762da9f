//! One TCP connection to one address, as all that leave this node are made: asked of the guard before it and once our own end is
//! known, and with the options that tell a dead machine from a slow one.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::{Given, refusal};

/// Keeps middle boxes from forgetting an idle connection (they do after 60 s and more), without HTTP/2 pings, which gRPC
/// servers punish; and notices a machine that vanished in the middle of an answer.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// How long is waited for the other end.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Until it accepts.
    pub connect: Duration,
    /// Until it acknowledges what was sent; longer means that it is gone.
    pub acknowledge: Duration,
}

/// Why there is no connection. Nothing has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unopened {
    /// Where it leads is forbidden.
    Forbidden(&'static str),
    /// The system says why not.
    Refused(String),
    /// Nothing was heard in time.
    Silent,
}

/// Connects to `to`, unless that is one of our `own` listeners or forbidden to whoever gave it.
///
/// # Errors
/// Why there is no connection.
pub async fn open(to: SocketAddr, own: &[SocketAddr], given: Given, patience: Patience) -> Result<TcpStream, Unopened> {
    let permitted = |from: Option<IpAddr>| match refusal(to, from, own, given) {
        Some(rule) => Err(Unopened::Forbidden(rule)),
        None => Ok(()),
    };
    permitted(None)?;
    let tcp = match timeout(patience.connect, connect(to, patience.acknowledge)).await {
        Ok(tcp) => tcp.map_err(|e| Unopened::Refused(e.to_string()))?,
        Err(_) => return Err(Unopened::Silent),
    };
    // Only now is it known whether the address is one of this machine.
    permitted(tcp.local_addr().ok().map(|local| local.ip()))?;
    Ok(tcp)
}

async fn connect(to: SocketAddr, acknowledge: Duration) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_nodelay(true)?;
    let options = SockRef::from(&socket);
    options.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
    #[cfg(target_os = "linux")]
    options.set_tcp_user_timeout(Some(acknowledge))?;
    #[cfg(not(target_os = "linux"))]
    let _ = acknowledge;
    socket.connect(to).await
}

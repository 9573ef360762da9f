//! What the system is to do for a client's socket.

use std::{io, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// A client whose machine or network vanished answers nothing, and says nothing either: it is asked after this time, and given up
/// after four more questions. Later than the grid's own pings: this one is for connections whose listener asks seldom.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_RETRIES: u32 = 4;
/// Bytes that are not acknowledged for this long mean the same. As on 7304: longer than any usual break of a link.
#[cfg(target_os = "linux")]
const USER_TIMEOUT: Duration = Duration::from_secs(120);

pub(super) fn options(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let socket = SockRef::from(tcp);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE);
    #[cfg(target_os = "linux")]
    let keepalive = keepalive.with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_RETRIES);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "loopback, in tests")]

    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_machine_that_vanished_is_noticed_by_the_system() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        options(&tcp).unwrap();
        let socket = SockRef::from(&tcp);
        let asked = (socket.keepalive().unwrap(), socket.tcp_keepalive_time().unwrap());
        assert_eq!(asked, (true, KEEPALIVE_IDLE));
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(USER_TIMEOUT));
    }
}

//! A connection to the first of a name's addresses that accepts one: to instances as to partners.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::{net::TcpStream, time::timeout};

use super::{Given, Patience, Unopened, open};

/// What one of a name's addresses has before the next one is tried beside it, as RFC 8305 section 5 recommends.
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects to `port` at one of `ips`, in their order; one that keeps silent holds up the next for a moment only.
///
/// # Errors
/// Where the last try that ended led to, and why there is no connection; `None`: there is no address.
pub async fn open_first(
    ips: impl IntoIterator<Item = IpAddr>,
    port: u16,
    own: &[SocketAddr],
    given: Given,
    patience: Patience,
) -> Result<TcpStream, Option<(SocketAddr, Unopened)>> {
    let (mut dials, mut ips, mut last) = (FuturesUnordered::new(), ips.into_iter(), None);
    loop {
        let next = match ips.next() {
            Some(ip) => {
                let to = SocketAddr::new(ip, port);
                dials.push(async move { open(to, own, given, patience).await.map_err(|why| (to, why)) });
                match timeout(HEAD_START, dials.next()).await {
                    Ok(next) => next,
                    Err(_) => continue,
                }
            }
            None => dials.next().await,
        };
        match next {
            Some(Ok(tcp)) => return Ok(tcp),
            Some(Err(unopened)) => last = Some(unopened),
            None => return Err(last),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use socket2::{Domain, Socket, Type};
    use tokio::net::TcpListener;

    use super::*;

    const PATIENCE: Patience = Patience { connect: Duration::from_secs(60), acknowledge: Duration::from_secs(60) };

    /// A listener that answers nobody any more: its queue is full.
    async fn silent(port: u16) -> (Socket, Vec<TcpStream>) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let at = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), port));
        socket.bind(&at.into()).unwrap();
        socket.listen(0).unwrap();
        let mut waiting = Vec::new();
        while let Ok(tcp) = timeout(Duration::from_millis(300), open(at, &[], Given::ByOperator, PATIENCE)).await {
            waiting.push(tcp.unwrap());
        }
        (socket, waiting)
    }

    #[tokio::test]
    async fn an_address_that_keeps_silent_holds_up_the_next_for_a_moment_and_one_that_refuses_not_at_all() {
        let good = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = good.local_addr().unwrap().port();
        let (_socket, _waiting) = silent(port).await;
        let table = [[[127, 0, 0, 2], [127, 0, 0, 1]], [[127, 0, 0, 3], [127, 0, 0, 1]]];
        for ips in table {
            let ips = ips.into_iter().map(IpAddr::from);
            // Long before the time of the first is over.
            let opened = open_first(ips, port, &[], Given::ByApi, PATIENCE);
            let tcp = timeout(Duration::from_secs(30), opened).await.expect("in time").unwrap();
            assert_eq!(tcp.peer_addr().unwrap(), good.local_addr().unwrap());
        }
    }

    #[tokio::test]
    async fn each_address_is_asked_of_the_guard_and_the_last_trouble_is_told() {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap().port();
        let found = open_first([[169, 254, 169, 254].into()], port, &[], Given::ByApi, PATIENCE).await.unwrap_err();
        assert!(matches!(found, Some((_, Unopened::Forbidden(_)))), "{found:?}");
        let found = open_first([[127, 0, 0, 1].into()], port, &[], Given::ByApi, PATIENCE).await.unwrap_err();
        assert!(matches!(found, Some((to, Unopened::Refused(_))) if to.port() == port));
        assert!(open_first([], port, &[], Given::ByApi, PATIENCE).await.unwrap_err().is_none());
    }
}

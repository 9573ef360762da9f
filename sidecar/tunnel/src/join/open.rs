//! From nothing to a link with an address: TCP, TLS, the upgrade, and the handshake (NC section 4).

use std::{future::poll_fn, net::Ipv4Addr, sync::Arc, task::Poll, time::Duration};

use mesh_websocket::{Ask, Switched};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::client::TlsStream;

use super::{
    JoinError, Member, dial,
    link::{self, Ended, Link},
    trust::Trust,
};
use crate::{
    addresses::Network,
    hub::Form,
    listen::{handshake, head},
};

/// How long the upgrade and the address may take each.
const ANSWER: Duration = Duration::from_secs(15);
/// A legacy server may not listen yet when its 101 is out; the original waits as long (NC section 4, handshake).
const PAUSE: Duration = Duration::from_millis(500);

/// What a server may say that packets are at most: as much as its configuration takes.
const MTUS: std::ops::RangeInclusive<u16> = 576..=9000;

/// A tunnel that packets go through.
pub(super) struct Opened {
    pub(super) link: Link,
    pub(super) address: Ipv4Addr,
    pub(super) prefix: u8,
    /// The largest packet, where the server says it.
    pub(super) mtu: Option<u16>,
    /// What the server calls it, for the next time.
    pub(super) session: Option<String>,
    /// What the server says of the networks that were announced.
    pub(super) routes: Option<String>,
}

/// Opens the tunnel of a node. `before`: what the server called the one before, which is over. `networks`: what is behind the node.
pub(super) async fn open(
    member: Arc<Member>,
    before: Option<String>,
    networks: Arc<[Network]>,
) -> Result<Opened, Ended> {
    let unfit = |e: JoinError| Ended::Refused(e.to_string());
    let (host, port) = dial::split(&member.tunnel)
        .ok_or_else(|| Ended::Refused("the file of this node names no tunnel: join anew".into()))?;
    // No protocol is offered: a legacy server knows none (NC section 1).
    let trust = Trust::authority(&member.join.authority).map_err(unfit)?;
    let config = trust.config(Some(&member.join), &[]).map_err(unfit)?;
    let mut stream = dial::tls(host, port, config).await.map_err(Ended::Later)?;
    let upgraded = timeout(ANSWER, upgrade(&mut stream, &member, before.as_deref(), &networks)).await;
    let (switched, more) = upgraded.map_err(|_| Ended::Later("the tunnel's port does not answer".into()))??;
    let is_second = switched.header(head::PROTOCOL) == Some(head::SECOND);
    let mut link = Link::new(stream, &more, if is_second { Form::Batches } else { Form::Texts });
    if !is_second {
        sleep(PAUSE).await;
    }
    let addressed = timeout(ANSWER, ask_address(&mut link)).await;
    let (address, prefix) = addressed.map_err(|_| Ended::Later("the server gives no address".into()))??;
    let mtu = switched.header(head::MTU).and_then(|mtu| mtu.parse().ok()).filter(|mtu| MTUS.contains(mtu));
    let session = switched.header(head::SESSION).map(str::to_owned);
    let routes = switched.header(head::ROUTES).map(str::to_owned);
    Ok(Opened { link, address, prefix, mtu, session, routes })
}

/// Becomes a WebSocket. Answers the head, and what came behind it.
async fn upgrade(
    stream: &mut TlsStream<TcpStream>,
    member: &Member,
    before: Option<&str>,
    networks: &[Network],
) -> Result<(Switched, Vec<u8>), Ended> {
    // A legacy server passes over what it does not know.
    let mut headers = vec![("Node-Token", member.token.as_str()), (head::PROTOCOL, head::SECOND)];
    headers.extend(before.filter(|name| is_name(name)).map(|name| (head::RESUMES, name)));
    let announced = networks.iter().map(Network::to_string).collect::<Vec<_>>().join(", ");
    headers.extend(Some((head::ROUTES, announced.as_str())).filter(|(_, announced)| !announced.is_empty()));
    let ask = Ask::new(&member.tunnel, "/ws", &headers, rand::random());
    stream.write_all(ask.bytes()).await.map_err(|e| link::lost(&e))?;
    stream.flush().await.map_err(|e| link::lost(&e))?;
    let mut bytes = Vec::with_capacity(512);
    loop {
        if stream.read_buf(&mut bytes).await.map_err(|e| link::lost(&e))? == 0 {
            return Err(Ended::Later("the tunnel's port ends the connection".into()));
        }
        match ask.read(&bytes) {
            Ok(Some(switched)) => {
                let more = bytes.split_off(switched.size);
                return Ok((switched, more));
            }
            Ok(None) => {}
            Err(refused) => {
                return Err(Ended::Later(format!("the tunnel's port answers {} {}", refused.status, refused.reason)));
            }
        }
    }
}

/// What a session may be called: nothing that would end a line of a request.
fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_hexdigit())
}

async fn ask_address(link: &mut Link) -> Result<(Ipv4Addr, u8), Ended> {
    link.say(handshake::QUESTION);
    loop {
        let text = poll_fn(|cx| {
            if let Poll::Ready(ended) = link.poll_write(cx) {
                return Poll::Ready(Err(ended));
            }
            link.poll_packet(cx)
        });
        // Nothing else may come before the reply; what does is passed over.
        if let Some(address) = handshake::address(&text.await?) {
            return Ok(address);
        }
    }
}

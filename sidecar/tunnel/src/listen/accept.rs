//! The loop that accepts, and one connection until it is a session.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use mesh_core::{Drained, Workers};
use mesh_network::listen::{Handshakes, is_of_one_connection, options};
use mesh_websocket::{Agreed, Close, Opcode, Refused, encode};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use traces::Span;

use super::{
    clock::HANDSHAKE,
    drain,
    head::{self, Asked},
    session::Session,
};
use crate::{
    hub::{Dialect, Form, Hub, Peer},
    seam::{Denied, Knock},
};

/// Connections of all nodes together: what a /18 holds, at a few KiB each.
const MOST: usize = 16 * 1024;
/// Bytes that the system may hold unsent for a node. More would go before the answer to its ping.
const UNSENT: u32 = 128 * 1024;
/// When descriptors have run out, every accept fails at once; the loop then waits for connections to end instead of spinning.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a node that was refused has to read why: a legacy client reads nothing in its first half second.
const LINGER: Duration = Duration::from_secs(2);

/// What all connections of a port share.
struct Port {
    hub: Arc<Hub>,
    handshakes: Arc<Handshakes>,
    places: Arc<Semaphore>,
    drained: Drained,
}

/// Accepts nodes on `listener` until `drained` is asked and the last node is gone.
pub async fn serve(listener: TcpListener, hub: Arc<Hub>, workers: Workers, drained: Drained) {
    let port = Arc::new(Port { hub, handshakes: Arc::default(), places: Arc::new(Semaphore::new(MOST)), drained });
    let end = drain::run(&port.hub, &port.drained);
    tokio::pin!(end);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut end => return,
        };
        match accepted {
            Ok((tcp, from)) => welcome(tcp, plain(from), &port, &workers),
            Err(e) if is_of_one_connection(&e) => {}
            Err(e) => {
                tracing::warn!("accepting nodes pauses: {e}; raise the limit of open files if this stays");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Where a node comes from, as people write it: a listener of both families has IPv4's addresses as IPv6's.
fn plain(from: SocketAddr) -> SocketAddr {
    SocketAddr::new(from.ip().to_canonical(), from.port())
}

fn welcome(tcp: TcpStream, from: SocketAddr, port: &Arc<Port>, workers: &Workers) {
    let Ok(place) = Arc::clone(&port.places).try_acquire_owned() else {
        return tracing::debug!(%from, "turned away: as many nodes are connected as may be");
    };
    let (Some(seat), Ok(tcp)) = (workers.seat(from.ip()), tcp.into_std()) else { return };
    let runtime = seat.runtime().clone();
    let (handshake, port) = (port.handshakes.begin(from.ip()), Arc::clone(port));
    let drained = port.drained.clone();
    let connection = async move {
        // In a box, which goes with the handshake: what that takes, no node that is idle shall hold.
        let greeting = Box::pin(async {
            tokio::select! {
                greeted = greet(tcp, from, &port) => greeted,
                () = handshake.cut() => Err(io::Error::other("too many handshakes at a time: one of whoever has the most gives way")),
            }
        });
        let greeted = greeting.await;
        drop(handshake);
        match greeted {
            Ok(Some(session)) => session.run().await,
            Ok(None) => {}
            Err(e) => tracing::debug!(%from, "no tunnel: {e}"),
        }
        drop((place, seat));
    };
    drained.spawn_on(connection, &runtime);
}

/// A connection until it is a session; `None` where it was refused.
async fn greet(tcp: std::net::TcpStream, from: SocketAddr, port: &Port) -> io::Result<Option<Box<Session>>> {
    let socket = SockRef::from(&tcp);
    options(&socket, from)?;
    socket.set_tcp_notsent_lowat(UNSENT)?;
    let asked = timeout(HANDSHAKE, async {
        let mut stream = TlsAcceptor::from(port.hub.desk.tls()).accept(TcpStream::from_std(tcp)?).await?;
        let asked = ask(&mut stream).await?;
        io::Result::Ok((stream, asked))
    });
    let (stream, asked) = asked.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    match asked {
        Ok((asked, more)) => admit(stream, from, port, &asked, &more).await,
        Err(refused) => refuse(stream, &refused.response()).await,
    }
}

/// Reads the head of a handshake, and whatever came behind it.
async fn ask(stream: &mut TlsStream<TcpStream>) -> io::Result<Result<(Asked, Vec<u8>), Refused>> {
    let mut bytes = Vec::with_capacity(512);
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match head::read(&bytes) {
            Ok(Some(asked)) => {
                let more = bytes.split_off(asked.size);
                return Ok(Ok((asked, more)));
            }
            Ok(None) => {}
            Err(refused) => return Ok(Err(refused)),
        }
    }
}

async fn admit(
    mut stream: TlsStream<TcpStream>,
    from: SocketAddr,
    port: &Port,
    asked: &Asked,
    more: &[u8],
) -> io::Result<Option<Box<Session>>> {
    let mut told = Told(port.hub.desk.span("tunnel/socket"));
    if port.drained.is_asked() {
        told.of(503, Some("this server ends"));
        return refuse(stream, &head::later("this server ends: come again").response()).await;
    }
    let dialect = dialect(asked);
    let token = asked.token.as_deref().unwrap_or_default();
    let admitted = {
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        match &asked.token {
            Some(token) => port.hub.desk.admit(&Knock { token, chain, source: from.ip() }),
            None => Err(Denied::Invalid),
        }
    };
    let admission = match admitted {
        Ok(admission) => admission,
        Err(Denied::Invalid) => {
            told.of(101, Some(Denied::Invalid.word()));
            return turn_away(stream, switched(port, asked, &dialect.session, ""), &head::invalid(token)).await;
        }
        Err(e @ (Denied::Waits | Denied::NoAddress | Denied::Busy)) => {
            told.of(503, Some(e.word()));
            return refuse(stream, &head::later(&e.to_string()).response()).await;
        }
    };
    let session = dialect.session.clone();
    let peer = Peer::of((admission.peer, from), admission.labels, dialect, admission.authority);
    let switched = switched(port, asked, &session, &port.hub.becomes_of(&peer));
    let admitted = Admitted { hub: &port.hub, peer: &peer, stays: false };
    stream.write_all(&switched).await?;
    stream.flush().await?;
    if port.hub.begin(&peer, admission.address).await.is_err() {
        told.of(101, Some("already connected"));
        return turn_away(stream, Vec::new(), &head::already_connected(token)).await;
    }
    // It may have been forgotten since it was asked for; whoever forgets it cuts the sessions that are there by now.
    if peer.authority().is_some_and(|authority| !port.hub.desk.trusts(authority)) {
        told.of(101, Some(Denied::Invalid.word()));
        return turn_away(stream, Vec::new(), &head::invalid(token)).await;
    }
    told.of(101, None);
    admitted.stays();
    Ok(Some(Box::new(Session::new(Arc::clone(&port.hub), peer, token.to_owned(), stream, more))))
}

/// The span of a node that asks for a tunnel: from its head until it is a session or refused.
struct Told(Option<Span>);

impl Told {
    /// What it was answered, and why it has no tunnel.
    fn of(&mut self, status: i64, refused: Option<&'static str>) {
        let Some(span) = &mut self.0 else { return };
        span.set("http.response.status_code", status);
        if let Some(why) = refused {
            span.failed(why);
        }
    }
}

/// The 101; to who speaks protocol 2 it says more.
fn switched(port: &Port, asked: &Asked, session: &str, routes: &str) -> Vec<u8> {
    let mtu = port.hub.mtu().to_string();
    let mut headers = Vec::new();
    if asked.is_second {
        headers.extend([(head::PROTOCOL, head::SECOND), (head::SESSION, session), (head::MTU, &mtu)]);
        headers.extend(Some((head::ROUTES, routes)).filter(|(_, routes)| !routes.is_empty()));
    }
    asked.offer.response_with(&Agreed::default(), &headers)
}

/// How the session is to be spoken. Its name is a secret between both ends: who knows it ends the session.
fn dialect(asked: &Asked) -> Dialect {
    if !asked.is_second {
        return Dialect::default();
    }
    let session = format!("{:032x}", rand::random::<u128>());
    Dialect { form: Form::Batches, session, resumes: asked.resumes.clone(), announces: asked.announces.clone() }
}

/// A node that was admitted; what was set aside for it is free again where its connection does not come to be a session.
struct Admitted<'a> {
    hub: &'a Hub,
    peer: &'a Arc<Peer>,
    stays: bool,
}

impl Admitted<'_> {
    fn stays(mut self) {
        self.stays = true;
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        if !self.stays {
            self.hub.leave(self.peer);
            self.hub.give_up(self.peer.id);
        }
    }
}

/// Refuses a node for good: `before` is the 101, if it was not sent, and the reason follows in a close.
async fn turn_away(
    stream: TlsStream<TcpStream>,
    mut before: Vec<u8>,
    close: &Close,
) -> io::Result<Option<Box<Session>>> {
    before.extend_from_slice(&encode(Opcode::Close, &close.payload(), false));
    refuse(stream, &before).await
}

/// Says the last word, and waits until it was read: an end with bytes unread would take the word back.
async fn refuse(mut stream: TlsStream<TcpStream>, word: &[u8]) -> io::Result<Option<Box<Session>>> {
    let last = timeout(LINGER, async {
        stream.write_all(word).await?;
        stream.shutdown().await?;
        let mut rest = [0; 512];
        while stream.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    });
    last.await.unwrap_or(Ok(())).map(|()| None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_of_ipv4_is_shown_as_one_whatever_the_listener_is() {
        let shown = |from: &str| plain(from.parse().unwrap()).to_string();
        assert_eq!(shown("[::ffff:192.0.2.7]:50000"), "192.0.2.7:50000");
        for same in ["192.0.2.7:50000", "[2001:db8::7]:50000"] {
            assert_eq!(shown(same), same);
        }
    }
}

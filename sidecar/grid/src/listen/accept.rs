//! The loop that accepts, and one connection until it is a client's.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use mesh_core::{Drained, Seat, Workers};
use mesh_network::listen::{is_of_one_connection, options};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

use tokio_util::sync::CancellationToken;
use traces::{Parent, Span, SpanKind, TRACEPARENT};

use super::{Place, Port, welcome};
use crate::{
    Grid,
    auth::Identity,
    clients::{Client, Opened},
    link::{Bearer, Greeted, Link, now_ms},
    metrics::Lost,
    shared::Shared,
    stream::Stream,
    wire::{Offer, Refused},
};

/// What a client has to say in a handshake, with its TLS, takes no longer, or it is none; nor does it take longer to read the
/// answer. How long a hook or a key set is asked in between, these bound themselves.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// What spans say of an answer.
const STATUS: &str = "http.response.status_code";
/// When descriptors have run out, every accept fails at once; the loop then waits for connections to end instead of spinning.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts clients on `listener` until `drained` is asked, or `stop` is.
pub async fn serve(
    listener: TcpListener,
    port: Arc<Port>,
    workers: Workers,
    drained: Drained,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = drained.asked() => return,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((tcp, peer)) => welcome(tcp, peer, &port, &workers, &drained),
            Err(e) if is_of_one_connection(&e) => {}
            Err(e) => {
                tracing::warn!("accepting clients pauses: {e}; raise the limit of open files if this stays");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Writes to the clients of each worker there, as long as the worker runs: clients are served also while the process ends.
pub fn write(grid: &Arc<Grid>, workers: &Workers) {
    for worker in 0..workers.count() {
        let grid = Arc::clone(grid);
        if let Some(runtime) = workers.runtime(worker) {
            runtime.spawn(async move { grid.clients.serve(worker).await });
        }
    }
}

fn welcome(tcp: TcpStream, peer: SocketAddr, port: &Arc<Port>, workers: &Workers, drained: &Drained) {
    // Open files are not end users' alone: without one it cannot even be said that there is none.
    let Ok(place) = Arc::clone(&port.places).try_acquire_owned() else { return port.grid.metrics.refused(503) };
    let (Some(seat), Ok(tcp)) = (workers.seat(peer.ip()), tcp.into_std()) else { return };
    let runtime = seat.runtime().clone();
    let (port, handshake, grid) = (Arc::clone(port), port.handshakes.begin(peer.ip()), Arc::clone(&port.grid));
    // In a box, which goes with the handshake: what that takes, no client that is idle shall hold.
    let greeting = Box::pin(async move {
        let greeted = async {
            // Its bytes come to the reactor of the worker that has it from now on.
            let tcp = TcpStream::from_std(tcp).map_err(|e| (Lost::Unfinished, e.to_string()))?;
            tokio::select! {
                greeted = greet(tcp, peer, port, &seat) => greeted.map_err(|e| (Lost::Unfinished, e.to_string())),
                () = handshake.cut() => Err((Lost::GaveWay, "too many are under way: one of whoever has the most gives way".to_owned())),
            }
        };
        let served = greeted.await.unwrap_or_else(|(lost, e)| {
            tracing::debug!(%peer, "no handshake: {e}");
            grid.metrics.lost(lost);
            None
        });
        served.map(|(link, spot)| (link, (spot, place, seat)))
    });
    let connection = async move {
        let served = greeting.await;
        if let Some((link, _places)) = served {
            link.run().await;
        }
    };
    drained.spawn_on(connection, &runtime);
}

/// A client that is served, and its place.
type Served = (Box<Link>, Place);

/// A connection until it is a client's; `None` where it was refused.
async fn greet(tcp: TcpStream, peer: SocketAddr, port: Arc<Port>, seat: &Seat) -> io::Result<Option<Served>> {
    options(&SockRef::from(&tcp), peer)?;
    let tcp = Shared::new(tcp);
    let said = timeout(HANDSHAKE, async {
        let mut stream = match &*port.tls.load() {
            Some(tls) => Stream::Tls(Box::new(tls.accept(tcp).await?.into())),
            None => Stream::Plain(tcp),
        };
        let offer = offer(&mut stream).await?;
        Ok::<_, io::Error>((stream, offer))
    });
    let (stream, offer) = said.await.map_err(|_| timed_out())??;
    match offer {
        Ok((offer, more)) => {
            let span = span(&port, &offer);
            answer(stream, (peer, &port, seat.worker()), (&offer, &more), span).await
        }
        Err(refused) => refuse(&port, stream, &refused, None).await,
    }
}

fn timed_out() -> io::Error {
    io::ErrorKind::TimedOut.into()
}

/// A handshake in a span of its own, from its head to its answer; whoever is asked about the client has his time in it.
fn span(port: &Port, offer: &Offer) -> Option<Span> {
    let parent = offer.header(TRACEPARENT.as_str()).and_then(|value| Parent::read(value.as_bytes()));
    Some(port.traces.as_ref()?.begin("grid/client", SpanKind::Server, parent.as_ref()))
}

/// Reads the head of a handshake, and whatever came behind it.
async fn offer(stream: &mut Stream<Shared>) -> io::Result<Result<(Offer, Vec<u8>), Refused>> {
    let mut bytes = Vec::with_capacity(1024);
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match Offer::read(&bytes) {
            Ok(Some((offer, size))) => return Ok(Ok((offer, bytes.split_off(size)))),
            Ok(None) => {}
            Err(refused) => return Ok(Err(refused)),
        }
    }
}

async fn answer(
    mut stream: Stream<Shared>,
    (peer, port, shard): (SocketAddr, &Port, usize),
    (offer, more): (&Offer, &[u8]),
    mut span: Option<Span>,
) -> io::Result<Option<Served>> {
    let listening = port.listening.load_full();
    let listener = match welcome::listener(offer, &listening) {
        Ok(listener) => listener,
        Err(refused) => return refuse(port, stream, &refused, span).await,
    };
    let busy = |reason| Refused::new(503, reason);
    let Some(place) = listener.place() else {
        return refuse(port, stream, &busy("as many clients are connected as may be"), span).await;
    };
    let identity = match &listener.gate {
        Some(gate) => match gate.admit(offer, peer.ip(), SystemTime::now()).await {
            Ok(identity) => identity,
            Err(e) => return refuse(port, stream, &e.refused(), span).await,
        },
        None => Identity::default(),
    };
    let Ok(id) = port.grid.issue_id(now_ms()).await else {
        return refuse(port, stream, &busy("no id can be given out at present"), span).await;
    };
    let agreed = welcome::agreed(offer, listener);
    let rules = Arc::clone(&listener.rules);
    let Identity { context, channels, expires, subject } = identity;
    let client = Client::new(Opened { id, shard, remote: peer, rules, deflates: agreed.deflates, context });
    // It can be reached before it knows that it is one: whatever is sent from now on comes behind the answer.
    let opened = Present::new(&port.grid, &client);
    if let Err(e) = port.grid.clients.subscribe(&client, &channels) {
        return refuse(port, stream, &busy(&e.to_string()), span).await;
    }
    tell(&mut stream, &offer.response(&agreed)).await?;
    if let Some(span) = &mut span {
        span.set(STATUS, 101);
    }
    opened.stays();
    port.grid.metrics.accepted(&client.rules.listener.name);
    let greeted = Greeted {
        uri: &offer.uri,
        subprotocol: agreed.protocol.as_deref().unwrap_or_default(),
        headers: &offer.headers,
        more,
        expires,
        bearer: listener.gate.as_ref().map(|gate| Bearer { gate: Arc::clone(gate), subject }),
    };
    Ok(Some((Box::new(Link::new(Arc::clone(&port.grid), client, stream, greeted)), place)))
}

async fn refuse(
    port: &Port,
    mut stream: Stream<Shared>,
    refused: &Refused,
    span: Option<Span>,
) -> io::Result<Option<Served>> {
    port.grid.metrics.refused(refused.status);
    if let Some(mut span) = span {
        span.set(STATUS, i64::from(refused.status));
    }
    // Counted it is: whether it was heard is the other side's matter.
    if tell(&mut stream, &refused.response()).await.is_ok() {
        let _ = timeout(HANDSHAKE, stream.shutdown()).await;
    }
    Ok(None)
}

async fn tell(stream: &mut Stream<Shared>, answer: &[u8]) -> io::Result<()> {
    let told = timeout(HANDSHAKE, async {
        stream.write_all(answer).await?;
        stream.flush().await
    });
    told.await.map_err(|_| timed_out())?
}

/// A client that is in the table already, and is taken out again where its handshake does not come to its end.
struct Present<'c> {
    grid: &'c Grid,
    client: &'c Client,
    stays: bool,
}

impl<'c> Present<'c> {
    fn new(grid: &'c Grid, client: &'c Arc<Client>) -> Self {
        grid.clients.open(client);
        Self { grid, client, stays: false }
    }

    fn stays(mut self) {
        self.stays = true;
    }
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        if !self.stays {
            self.grid.clients.end(self.client);
        }
    }
}

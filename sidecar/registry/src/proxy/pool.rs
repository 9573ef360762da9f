//! The connections to one instance: HTTP/1.1 ones that wait for their next call, and those of HTTP/2 (`lanes.rs`).
//!
//! A connection is taken out, used for one call, and put back when the answer has ended. A call whose request surely was
//! not sent comes back whole, so that it may go elsewhere.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use crds::ServiceProto;
use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::TokioIo;
use mesh_network::dial::Given;
use parking_lot::Mutex;
use tokio::runtime;

use super::{
    body::Outgoing,
    h1::{self, Age, Whose, Wire},
    lanes::{Lanes, Seat},
};
use crate::{
    Address,
    dial::{DialProblem, Dialer},
};

/// Node and uvicorn close idle connections after 5 s; a call that meets such a close may be lost, so ours go before.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// More than this many waiting connections to one instance only cost memory.
const MOST_IDLE: usize = 128;

/// The connections to one instance.
#[derive(Debug)]
pub(crate) struct Pool {
    address: Address,
    given: Given,
    dialer: Dialer,
    idle: Arc<Idle>,
    lanes: Lanes,
    /// What the last call wanted: a check that asked for less would find ready what no call can use.
    spoken: ArcSwapOption<ServiceProto>,
}

/// HTTP/1.1 connections that wait for their next call, the last used one on top.
#[derive(Debug, Default)]
pub(crate) struct Idle(Mutex<Vec<Wire>>);

/// What a call needs of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// One request and its answer.
    Call(ServiceProto),
    /// HTTP/1.1 that goes on as something else.
    Upgrade,
}

/// A connection that was taken out.
pub(crate) enum Connection {
    /// For this call alone.
    Http1(Wire),
    /// For an upgrade; it comes back to nobody.
    Upgrade(http1::SendRequest<Outgoing>),
    /// Shared with other calls.
    Http2(http2::SendRequest<Outgoing>, Seat),
}

/// What became of a request.
pub(crate) enum Sent {
    /// The head of the answer.
    Answered(Response<Answer>),
    /// Not one byte of it left; it may go elsewhere.
    Back(Box<Request<Outgoing>>, Age),
    /// It may have arrived.
    Lost(Whose, String),
    /// The service said that it did not begin with it.
    Refused(String),
}

/// The body of an answer, with what it holds until its end.
#[derive(Debug)]
pub(crate) enum Answer {
    Http1(h1::Answer),
    Upgrade(Incoming),
    Http2(Incoming, #[allow(dead_code, reason = "held, and let go of")] Seat),
}

impl Pool {
    pub(crate) fn new(address: Address, given: Given, dialer: Dialer) -> Self {
        Self { address, given, dialer, idle: Arc::default(), lanes: Lanes::default(), spoken: ArcSwapOption::empty() }
    }

    /// A connection for one call that is there already.
    pub(crate) fn waiting(&self, wanted: Wanted) -> Option<Connection> {
        match wanted {
            Wanted::Call(ServiceProto::Http) => self.idle.take().map(Connection::Http1),
            Wanted::Call(ServiceProto::Grpc) => {
                self.lanes.waiting().map(|(sender, seat)| Connection::Http2(sender, seat))
            }
            Wanted::Upgrade => None,
        }
    }

    /// A connection for one call that [`Self::waiting`] had none for: a new one, or one of HTTP/2 that another call made meanwhile.
    ///
    /// # Errors
    /// Why no connection could be made.
    pub(crate) async fn take(&self, wanted: Wanted) -> Result<Connection, DialProblem> {
        let connect = |proto| {
            self.spoken.store(Some(Arc::new(proto)));
            self.dialer.connect(&self.address, self.given, Some(proto))
        };
        match wanted {
            Wanted::Call(proto @ ServiceProto::Http) => Ok(Connection::Http1(Wire::new(connect(proto).await?))),
            Wanted::Call(proto @ ServiceProto::Grpc) => {
                let (sender, seat) = self.lanes.take(|| connect(proto)).await?;
                Ok(Connection::Http2(sender, seat))
            }
            Wanted::Upgrade => {
                let stream = TokioIo::new(connect(ServiceProto::Http).await?);
                let handshake = http1::handshake(stream).await;
                let (sender, connection) = handshake.map_err(|e| DialProblem::Handshake(e.to_string()))?;
                // The connection's own end is told to the call that uses it; nobody else wants to know.
                tokio::spawn(async move { connection.with_upgrades().await.ok() });
                Ok(Connection::Upgrade(sender))
            }
        }
    }

    /// Sends a request over a connection that [`Self::take`] gave.
    pub(crate) async fn send(&self, connection: Connection, request: Request<Outgoing>) -> Sent {
        match connection {
            Connection::Http1(wire) => match h1::send(wire, request, Arc::clone(&self.idle)).await {
                h1::Outcome::Answered(answer) => Sent::Answered((*answer).map(Answer::Http1)),
                h1::Outcome::Back(request, age) => {
                    // Who closed one closed the others too.
                    self.idle.0.lock().clear();
                    Sent::Back(request, age)
                }
                h1::Outcome::Lost(whose, reason) => Sent::Lost(whose, reason),
            },
            Connection::Upgrade(mut connection) => match connection.try_send_request(request).await {
                Ok(answer) => Sent::Answered(answer.map(Answer::Upgrade)),
                Err(mut failed) => sent_back(failed.take_message(), &failed.into_error()),
            },
            Connection::Http2(mut connection, seat) => match connection.try_send_request(request).await {
                Ok(answer) => Sent::Answered(answer.map(|body| Answer::Http2(body, seat))),
                Err(mut failed) => sent_back(failed.take_message(), &failed.into_error()),
            },
        }
    }

    /// Connects and closes again: whether the instance accepts connections, and is whom it should be.
    ///
    /// # Errors
    /// Why it does not.
    pub(crate) async fn check(&self) -> Result<(), DialProblem> {
        let proto = self.spoken.load().as_deref().copied();
        self.dialer.connect(&self.address, self.given, proto).await.map(drop)
    }

    /// Closes what has waited for too long.
    pub(crate) fn sweep(&self) {
        self.idle.0.lock().retain(|wire| wire.waited() < IDLE_TIMEOUT);
    }
}

fn sent_back(message: Option<Request<Outgoing>>, error: &hyper::Error) -> Sent {
    if let Some(request) = message {
        return Sent::Back(Box::new(request), Age::Used);
    }
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    let reason = format!("{error}{cause}");
    if mesh_network::was_not_processed(error) {
        return Sent::Refused(reason);
    }
    Sent::Lost(if error.is_user() { Whose::Caller } else { Whose::Service }, reason)
}

impl Idle {
    /// The last used connection of this thread, else of any.
    fn take(&self) -> Option<Wire> {
        let home = h1::here();
        loop {
            let wire = self.take_for(home)?;
            // A foreign one comes over, so that there are soon as many at each thread as it uses.
            if let Some(wire) = wire.brought_here() {
                return Some(wire);
            }
        }
    }

    fn take_for(&self, home: Option<runtime::Id>) -> Option<Wire> {
        let mut waiting = self.0.lock();
        loop {
            let last = waiting.len().checked_sub(1)?;
            let at = waiting.iter().rposition(|wire| wire.is_of(home)).unwrap_or(last);
            let wire = waiting.remove(at);
            if wire.waited() < IDLE_TIMEOUT {
                return Some(wire);
            }
            // Those below it have waited for longer.
            waiting.drain(..at);
        }
    }

    /// The answer has ended: the connection may take the next call.
    pub(crate) fn put(&self, mut wire: Wire) {
        wire.waits();
        let mut waiting = self.0.lock();
        // The lowest has waited longest; busy services are swept by the way.
        if waiting.first().is_some_and(|first| first.waited() >= IDLE_TIMEOUT) {
            waiting.remove(0);
        }
        if waiting.len() < MOST_IDLE {
            waiting.push(wire);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{Ipv4Addr, TcpListener},
    };

    use mesh_core::Body;
    use tokio::{net::TcpStream, runtime::Runtime};
    use tokio_util::either::Either;

    use super::*;
    use crate::proxy::body::Progress;

    fn thread() -> Runtime {
        runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn a_waiting_connection_comes_to_the_thread_that_uses_it_and_a_closed_one_to_none() {
        let (first, second, idle) = (thread(), thread(), Arc::new(Idle::default()));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let opened = |at: &Runtime| {
            #[allow(clippy::disallowed_methods, reason = "loopback, in a test")]
            let near = at.block_on(async { Wire::new(Either::Left(TcpStream::connect(address).await.unwrap())) });
            idle.put(near);
            listener.accept().unwrap().0
        };
        let (mut old, own, closed) = (opened(&first), opened(&second), opened(&first));
        let mine = second.block_on(async { idle.take() }).unwrap();
        assert!(second.block_on(async { mine.is_of(h1::here()) }), "its own comes first, though others came later");
        drop((own, closed));
        let foreign = second.block_on(async { idle.take() }).unwrap();
        assert!(second.block_on(async { idle.take() }).is_none(), "the closed one is left out");
        // Nobody but the second thread is needed for it any more.
        drop(first);
        let service = std::thread::spawn(move || {
            let mut request = [0; 1024];
            let some = old.read(&mut request).unwrap();
            old.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
            String::from_utf8_lossy(&request[..some]).into_owned()
        });
        let request = Request::get("/x").body(Outgoing::new(Body::Empty, Progress::new())).unwrap();
        let answered = second.block_on(h1::send(foreign, request, Arc::clone(&idle)));
        assert!(matches!(answered, h1::Outcome::Answered(answer) if answer.status() == 204));
        assert!(service.join().unwrap().starts_with("GET /x "));
    }
}

//! What joins the gateways of a test: whose each session is, and the logs, in this process.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use mesh_core::SessionId;
use mesh_transport::{Begin, Landed, Opened, Ours, Owner, OwnerError, Owners, Place, SessionLog, Theirs};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// All that gateways share.
#[derive(Clone, Debug, Default)]
pub(super) struct World(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    gateways: usize,
    next: u64,
    sessions: HashMap<SessionId, Session>,
}

#[derive(Debug, Default)]
struct Session {
    owner: Option<(usize, CancellationToken)>,
    /// In milliseconds since 1970.
    released_until: u64,
    log: BTreeMap<u64, Bytes>,
}

impl World {
    pub(super) fn join(&self) -> Gateway {
        let mut state = self.0.lock();
        state.gateways += 1;
        Gateway { world: self.clone(), number: state.gateways }
    }

    /// Whoever owns a session does so no more.
    pub(super) fn takes_away(&self, session: &str) {
        let mut state = self.0.lock();
        let session = state.sessions.get_mut(&SessionId::new(session)).unwrap();
        session.owner.take().unwrap().1.cancel();
    }

    /// Records that are unread in a session's log.
    pub(super) fn records(&self, session: &str) -> usize {
        self.0.lock().sessions.get(&SessionId::new(session)).map_or(0, |session| session.log.len())
    }

    /// Whether somebody owns a session.
    pub(super) fn is_owned(&self, session: &str) -> bool {
        self.0.lock().sessions.get(&SessionId::new(session)).is_some_and(|session| session.owner.is_some())
    }

    /// How many sessions somebody owns.
    pub(super) fn owned(&self) -> usize {
        self.0.lock().sessions.values().filter(|session| session.owner.is_some()).count()
    }

    fn with<R>(&self, session: &SessionId, step: impl FnOnce(&mut Session) -> R) -> R {
        step(self.0.lock().sessions.entry(session.clone()).or_default())
    }
}

/// One of the gateways.
#[derive(Clone, Debug)]
pub(super) struct Gateway {
    world: World,
    number: usize,
}

impl Owners for Gateway {
    fn owner(&self, session: &SessionId, may_claim: bool) -> BoxFuture<'static, Result<Option<Owner>, OwnerError>> {
        let (gateway, id) = (self.clone(), session.clone());
        async move {
            tokio::task::yield_now().await;
            gateway.world.with(&id, |session| {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
                if u128::from(session.released_until) > now {
                    return Err(OwnerError::Released { until: session.released_until });
                }
                if session.owner.is_none() && !may_claim {
                    return Ok(None);
                }
                let (owner, token) = session.owner.get_or_insert_with(|| (gateway.number, CancellationToken::new()));
                Ok(Some(if *owner == gateway.number {
                    Owner::Here(Box::new(Here { world: gateway.world.clone(), id: id.clone(), token: token.clone() }))
                } else {
                    Owner::There(Box::new(There))
                }))
            })
        }
        .boxed()
    }

    fn others(&self) -> Vec<Arc<str>> {
        Vec::new()
    }
}

#[derive(Debug)]
struct Here {
    world: World,
    id: SessionId,
    token: CancellationToken,
}

impl Ours for Here {
    fn open(&self, _most: u64) -> BoxFuture<'_, Result<Opened, OwnerError>> {
        let (world, id, token) = (self.world.clone(), self.id.clone(), self.token.clone());
        let unread = world.with(&id, |session| {
            session.log.iter().map(|(at, record)| (Place { sequence: *at, index: 0 }, record.clone())).collect()
        });
        let (wishes, mut wanted) = mpsc::unbounded_channel();
        let log: Arc<dyn SessionLog> = Arc::new(Log { token: token.clone(), wishes });
        tokio::spawn(async move {
            while let Some(wish) = wanted.recv().await {
                world.fulfils(&id, wish, token.is_cancelled());
            }
        });
        async move { Ok((log, unread)) }.boxed()
    }

    fn release(&self, until: u64) -> BoxFuture<'_, Result<(), OwnerError>> {
        self.world.with(&self.id, |session| {
            session.owner = None;
            session.released_until = until;
            session.log.clear();
        });
        self.token.cancel();
        async { Ok(()) }.boxed()
    }

    fn give_back(self: Box<Self>, is_empty: bool) -> BoxFuture<'static, Result<bool, OwnerError>> {
        self.world.with(&self.id, |session| {
            session.owner = None;
            if is_empty {
                session.log.clear();
            }
        });
        self.token.cancel();
        async { Ok(true) }.boxed()
    }
}

/// Nobody is called here: that is what the program's tests are about.
#[derive(Debug)]
struct There;

impl Theirs for There {
    fn address(&self) -> Option<Arc<str>> {
        None
    }

    fn refused(&self) {}

    fn is_gone(&self) -> BoxFuture<'static, bool> {
        async { false }.boxed()
    }
}

#[derive(Debug)]
struct Log {
    token: CancellationToken,
    wishes: mpsc::UnboundedSender<Wish>,
}

/// What is wanted of a log, in order.
enum Wish {
    Append(Bytes, Begin, Landed),
    Consume(Vec<Place>, oneshot::Sender<Result<(), OwnerError>>),
}

impl World {
    fn fulfils(&self, id: &SessionId, wish: Wish, has_moved: bool) {
        match wish {
            Wish::Append(_, _, landed) if has_moved => landed(Err(OwnerError::Moved)),
            Wish::Append(record, begin, landed) => {
                if !begin() {
                    return landed(Err(OwnerError::Withdrawn));
                }
                let sequence = {
                    let mut state = self.0.lock();
                    state.next += 1;
                    state.next
                };
                self.with(id, |session| session.log.insert(sequence, record));
                landed(Ok(Place { sequence, index: 0 }));
            }
            Wish::Consume(places, done) => {
                let consumed = if has_moved { Err(OwnerError::Moved) } else { Ok(()) };
                if !has_moved {
                    let is_gone = |at: &u64| places.iter().any(|place| place.sequence == *at);
                    self.with(id, |session| session.log.retain(|at, _| !is_gone(at)));
                }
                // Nobody may wait for it.
                let _ = done.send(consumed);
            }
        }
    }
}

impl SessionLog for Log {
    fn append(&self, record: Bytes, begin: Begin, landed: Landed) {
        self.wishes.send(Wish::Append(record, begin, landed)).unwrap_or_else(|_| panic!("its task has ended"));
    }

    fn note(&self, record: Bytes, landed: Landed) {
        self.append(record, Box::new(|| true), landed);
    }

    fn consume(&self, places: Vec<Place>) -> BoxFuture<'static, Result<(), OwnerError>> {
        let (done, is_done) = oneshot::channel();
        self.wishes.send(Wish::Consume(places, done)).unwrap_or_else(|_| panic!("its task has ended"));
        async move { is_done.await.unwrap_or(Err(OwnerError::Unsure)) }.boxed()
    }

    fn written(&self) -> BoxFuture<'static, ()> {
        let written = self.consume(Vec::new());
        async move { drop(written.await) }.boxed()
    }

    fn moved(&self) -> BoxFuture<'static, ()> {
        self.token.clone().cancelled_owned().boxed()
    }

    fn has_moved(&self) -> bool {
        self.token.is_cancelled()
    }
}

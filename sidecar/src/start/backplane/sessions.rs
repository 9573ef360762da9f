//! Whose the channels' sessions are, and the logs of those that are ours: what the transport room asks, answered by the backplane.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _, Shared};
use mesh_backplane::{Hold, Log, Owner as Has, Peer, SessionError, Sessions};
use mesh_core::SessionId;
use mesh_transport::{Begin, Channels, Landed, Opened, Ours, Owner, OwnerError, Owners, Place, SessionLog, Theirs};
use parking_lot::Mutex;
use tokio::time::sleep;

use super::{
    BackplanePlace,
    copies::Means,
    joining::{FIRST_PAUSE, LONGEST_PAUSE},
};

impl BackplanePlace {
    /// Has the channels share their sessions with the other gateways, if there is a backplane. Waits until its servers keep what is shared.
    pub(in super::super) async fn share_sessions(&self, channels: &Arc<Channels>) {
        let Some(joined) = self.joined.get() else { return };
        let mut pause = FIRST_PAUSE;
        let sessions = loop {
            match Sessions::open(&joined.nats).await {
                Ok(sessions) => break sessions,
                Err(problem) => {
                    let problem = format!("no sessions can be shared: {problem}");
                    let before = self.waits.lock().replace(problem.clone());
                    if before.as_ref() != Some(&problem) {
                        tracing::error!("this gateway serves nothing before its sessions are shared: {problem}");
                    }
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        };
        *self.waits.lock() = None;
        if self.address.is_empty() {
            tracing::warn!(
                "other gateways cannot pass calls on to this one: say where they reach it in MESH_BACKPLANE_ADDRESS"
            );
        }
        if let Some((copies, grid)) = self.copies.get() {
            let (sessions, grid, live) = (sessions.clone(), grid.clone(), Arc::clone(&self.live));
            copies.start(Means { sessions, grid, live, standing: joined.standing.clone() });
        }
        channels.share(Arc::new(Gateways { sessions, missed: Arc::default() })).await;
    }
}

/// All gateways of the node.
#[derive(Clone, Debug)]
struct Gateways {
    sessions: Sessions,
    /// Who is being asked for, by their numbers: whoever wants to know meanwhile shares the answer.
    missed: Arc<Mutex<HashMap<u16, Missing>>>,
}

/// Whether a gateway is gone.
type Missing = Shared<BoxFuture<'static, bool>>;

impl Gateways {
    fn is_gone(&self, peer: &Peer) -> Missing {
        let (all, asked) = (self.clone(), peer.clone());
        let mut missed = self.missed.lock();
        let missing = missed.entry(peer.number).or_insert_with(|| {
            async move {
                let is_gone = all.sessions.is_gone(&asked).await;
                all.missed.lock().remove(&asked.number);
                is_gone
            }
            .boxed()
            .shared()
        });
        missing.clone()
    }
}

impl Owners for Gateways {
    fn owner(&self, session: &SessionId, may_claim: bool) -> BoxFuture<'static, Result<Option<Owner>, OwnerError>> {
        let (gateways, session) = (self.clone(), session.clone());
        async move {
            let sessions = gateways.sessions.clone();
            let owner = if may_claim {
                sessions.owner(session.as_str()).await.map(Some)
            } else {
                sessions.present_owner(session.as_str()).await
            };
            Ok(owner.map_err(why)?.map(|owner| match owner {
                Has::Here(hold) => Owner::Here(Box::new(Here { sessions, session, hold, log: OnceLock::new() })),
                Has::There(peer) => Owner::There(Box::new(There { gateways, session, peer })),
            }))
        }
        .boxed()
    }

    fn others(&self) -> Vec<Arc<str>> {
        self.sessions.others()
    }
}

/// A session that this gateway owns.
#[derive(Debug)]
struct Here {
    sessions: Sessions,
    session: SessionId,
    hold: Hold,
    log: OnceLock<Log>,
}

impl Ours for Here {
    fn open(&self, most: u64) -> BoxFuture<'_, Result<Opened, OwnerError>> {
        async move {
            let (log, unread) = self.sessions.log(&self.hold, most).await.map_err(why)?;
            // Once, by whoever is the first to use the session here.
            let _ = self.log.set(log.clone());
            let unread = unread.into_iter().map(|(at, record)| (place(at), record)).collect();
            Ok((Arc::new(Written(log)) as Arc<dyn SessionLog>, unread))
        }
        .boxed()
    }

    fn release(&self, until: u64) -> BoxFuture<'_, Result<(), OwnerError>> {
        async move { self.sessions.release(&self.hold, until).await.map_err(why) }.boxed()
    }

    fn give_back(self: Box<Self>, is_empty: bool) -> BoxFuture<'static, Result<bool, OwnerError>> {
        let Self { sessions, session, hold, log } = *self;
        // What is held is not given back.
        drop(hold);
        let log = log.into_inner().filter(|_| is_empty);
        async move { sessions.give_back(session.as_str(), log).await.map_err(why) }.boxed()
    }
}

/// Another gateway that owns a session.
#[derive(Debug)]
struct There {
    gateways: Gateways,
    session: SessionId,
    peer: Peer,
}

impl Theirs for There {
    fn address(&self) -> Option<Arc<str>> {
        self.gateways.sessions.address(&self.peer)
    }

    fn refused(&self) {
        self.gateways.sessions.refused(self.session.as_str(), &self.peer);
    }

    fn is_gone(&self) -> BoxFuture<'static, bool> {
        self.gateways.is_gone(&self.peer).boxed()
    }
}

/// The log of a session that this gateway owns.
#[derive(Debug)]
struct Written(Log);

impl SessionLog for Written {
    fn append(&self, record: Bytes, begin: Begin, landed: Landed) {
        self.0.append(record, begin, Box::new(move |at| landed(at.map(place).map_err(why))));
    }

    fn note(&self, record: Bytes, landed: Landed) {
        self.0.note(record, Box::new(move |at| landed(at.map(place).map_err(why))));
    }

    fn consume(&self, places: Vec<Place>) -> BoxFuture<'static, Result<(), OwnerError>> {
        let places: Vec<_> =
            places.into_iter().map(|Place { sequence, index }| mesh_backplane::Place { sequence, index }).collect();
        let consumed = self.0.consume(&places);
        async move { consumed.await.map_err(why) }.boxed()
    }

    fn written(&self) -> BoxFuture<'static, ()> {
        let log = self.0.clone();
        async move { log.written().await }.boxed()
    }

    fn moved(&self) -> BoxFuture<'static, ()> {
        let log = self.0.clone();
        async move { log.moved().await }.boxed()
    }

    fn has_moved(&self) -> bool {
        self.0.has_moved()
    }
}

fn place(at: mesh_backplane::Place) -> Place {
    Place { sequence: at.sequence, index: at.index }
}

fn why(why: SessionError) -> OwnerError {
    match why {
        SessionError::Released { until } => OwnerError::Released { until },
        SessionError::Moved => OwnerError::Moved,
        SessionError::Full(why) => OwnerError::Full(why),
        SessionError::Away(why) => OwnerError::Away(why),
        SessionError::Unsure => OwnerError::Unsure,
        SessionError::Withdrawn => OwnerError::Withdrawn,
        SessionError::Damaged(why) => OwnerError::Damaged(why),
    }
}

//! The sessions of the node, as one gateway sees them: whose each is, and the logs of its own.

use std::{collections::HashSet, fmt, sync::Arc, time::Duration};

use async_nats::jetstream::kv::{Entry, Operation};
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, stream};
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    batch::Place,
    claims::{Claimed, Claims},
    deed::{Deed, Says},
    error::SessionError,
    key::Key,
    log::{self, Log},
    missed::Missed,
    shelf::Shelf,
    table::{Asking, Hold, Look, News, Owner, Peer, Table, Tenure},
};
use crate::{
    BackplaneError,
    member::Present,
    nats::{ANSWER, Nats, now_ms},
};

/// How long is waited before the bucket is followed again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long the others' records may take to be here when the gateway starts: before that nobody is known to be gone.
const MEETING: Duration = Duration::from_secs(10);
/// How often deeds that nobody needs are looked for: what is left of a gateway that was killed is small.
pub(super) const SWEEP: Duration = Duration::from_secs(60);
/// Sessions of ours that are looked after at once: as many questions as the servers answer in some milliseconds.
const VERIFIED: usize = 64;
/// What is followed of the bucket.
const EVERY_KEY: &str = ">";

/// The sessions of the node.
#[derive(Clone)]
pub struct Sessions {
    pub(super) inner: Arc<Inner>,
    /// Ends the task that follows the bucket.
    _end: Arc<DropGuard>,
}

pub(super) struct Inner {
    pub(super) claims: Claims,
    pub(super) shelf: Shelf,
    pub(super) life: u64,
    pub(super) table: Mutex<Table>,
    pub(super) present: watch::Receiver<Present>,
    pub(super) missed: Missed,
    /// What was held by nobody when it was last looked at.
    unheld: Mutex<HashSet<Key>>,
}

impl Sessions {
    /// The sessions of the node that `nats` has joined, which must serve by now.
    ///
    /// # Errors
    /// The servers are away, or do not let us make what is needed.
    pub async fn open(nats: &Nats) -> Result<Self, BackplaneError> {
        let (jetstream, settings) = (nats.jetstream(), nats.settings());
        let me = (nats.number, nats.life);
        let claims = Claims::open(&jetstream, nats.names().sessions(), settings, me).await?;
        let shelf = Shelf::open(jetstream, nats.names().clone(), settings).await?;
        let (present, missed) = (nats.present(), Missed::default());
        let inner = Arc::new(Inner {
            claims,
            shelf,
            life: nats.life,
            table: Mutex::default(),
            present,
            missed,
            unheld: Mutex::default(),
        });
        let end = CancellationToken::new();
        let (following, sweeping) = (Arc::clone(&inner).follow(), Arc::clone(&inner).keep_swept());
        tokio::spawn(end.clone().run_until_cancelled_owned(following));
        tokio::spawn(end.clone().run_until_cancelled_owned(sweeping));
        Ok(Self { inner, _end: Arc::new(end.drop_guard()) })
    }

    /// Who owns a session: this gateway, if nobody has it who is there.
    ///
    /// # Errors
    /// [`SessionError::Released`], or the servers are away and it is not known yet.
    pub async fn owner(&self, session: &str) -> Result<Owner, SessionError> {
        self.owner_of(&Key::of(session)).await
    }

    /// The same without claiming it; `None`: nobody has it who is there.
    ///
    /// # Errors
    /// As [`Self::owner`] has.
    pub async fn present_owner(&self, session: &str) -> Result<Option<Owner>, SessionError> {
        let session = Key::of(session);
        let look = self.inner.table.lock().look(&session);
        match look {
            Look::Owner(owner) => Ok(Some(owner)),
            Look::Asked(asking) => match asking.await {
                // It was just being given back.
                Err(SessionError::Moved) => Ok(None),
                owner => owner.map(Some),
            },
            Look::Nothing => self.inner.present_owner(&session).await,
        }
    }

    pub(super) async fn owner_of(&self, session: &Key) -> Result<Owner, SessionError> {
        loop {
            match self.asking(session) {
                Ok(owner) => return Ok(owner),
                Err(asking) => match asking.await {
                    // It was just being given back.
                    Err(SessionError::Moved) => {}
                    owner => return owner,
                },
            }
        }
    }

    /// The owner, or the question who it is.
    fn asking(&self, session: &Key) -> Result<Owner, Asking> {
        let mut table = self.inner.table.lock();
        match table.look(session) {
            Look::Owner(owner) => Ok(owner),
            Look::Asked(asking) => Err(asking),
            Look::Nothing => {
                let asking = Arc::clone(&self.inner).claim(session.clone()).boxed().shared();
                table.asked(session.clone(), asking.clone());
                // It goes on when nobody waits for it: what is claimed is known to be.
                tokio::spawn(asking.clone());
                Err(asking)
            }
        }
    }

    /// Whether this gateway owns a session, without asking anybody.
    #[must_use]
    pub fn is_here(&self, session: &str) -> bool {
        matches!(self.inner.table.lock().look(&Key::of(session)), Look::Owner(Owner::Here(_)))
    }

    /// The other gateway says that it does not own the session, or does not answer: whoever comes next looks again.
    pub fn refused(&self, session: &str, peer: &Peer) {
        self.inner.table.lock().refused(&Key::of(session), peer);
    }

    /// Where another gateway listens; `None`: it is not there, or does not say.
    #[must_use]
    pub fn address(&self, peer: &Peer) -> Option<Arc<str>> {
        let present = self.inner.present.borrow();
        let address = present.there.get(&peer.number).filter(|there| there.life == peer.life)?;
        (!address.address.is_empty()).then(|| Arc::clone(&address.address))
    }

    /// Where the other gateways listen that are there and say so.
    #[must_use]
    pub fn others(&self) -> Vec<Arc<str>> {
        let present = self.inner.present.borrow();
        present.there.values().map(|there| &there.address).filter(|address| !address.is_empty()).cloned().collect()
    }

    /// A call to the other gateway failed, as nobody listens there. Whether it is gone: no server of NATS hears it either. What it owns
    /// may be claimed then before it was silent for long.
    pub async fn is_gone(&self, peer: &Peer) -> bool {
        self.inner.is_gone(peer.number, peer.life).await
    }

    /// Removes deeds that nobody needs, as one of the gateways does each minute; answers how many.
    ///
    /// # Errors
    /// The servers are away.
    pub async fn sweep(&self) -> Result<usize, SessionError> {
        Arc::clone(&self.inner).sweep().await
    }

    /// Gives back what this gateway owns and nobody here holds, nor did when this was called before, as is done each minute.
    pub async fn give_unheld_back(&self) {
        self.inner.give_unheld_back().await;
    }

    /// Opens the log of a session that is ours, and answers what is unread in it, in order. No record has more than `most` bytes.
    ///
    /// # Errors
    /// The servers are away, or what is kept cannot be read.
    pub async fn log(&self, hold: &Hold, most: u64) -> Result<(Log, Vec<(Place, Bytes)>), SessionError> {
        let Tenure { session, epoch, ended, .. } = &*hold.0;
        let opened = log::open(&self.inner.shelf, session.clone(), *epoch, most, ended.clone()).await?;
        if hold.has_ended() { Err(SessionError::Moved) } else { Ok(opened) }
    }

    /// Gives a session back that nobody holds and that has nothing in it; `log` is its log, if it has one. `false`: it is held, or
    /// not ours.
    ///
    /// # Errors
    /// The servers are away: nobody has it until this gateway uses it again, or goes.
    pub async fn give_back(&self, session: &str, log: Option<Log>) -> Result<bool, SessionError> {
        self.give_back_of(Key::of(session), log).await
    }

    pub(super) async fn give_back_of(&self, session: Key, log: Option<Log>) -> Result<bool, SessionError> {
        let taken = self.inner.table.lock().take_unheld(&session, |tenure| {
            let (inner, tenure) = (Arc::clone(&self.inner), Arc::clone(tenure));
            inner.leave(tenure, log).boxed().shared()
        });
        match taken {
            None => Ok(false),
            Some(leaving) => match tokio::spawn(leaving).await {
                // It was given back, and is nobody's now.
                Ok(Err(SessionError::Moved)) => Ok(true),
                Ok(Err(why)) => Err(why),
                Ok(Ok(_)) | Err(_) => Ok(false),
            },
        }
    }

    /// Releases a session that is ours: its id is refused until `until`, in milliseconds since 1970, and what is kept of it is
    /// purged, now or before its next use. Nobody is served by this ownership any more.
    ///
    /// # Errors
    /// [`SessionError::Moved`], or the servers are away: whoever uses it next finds whether it is released.
    pub async fn release(&self, hold: &Hold, until: u64) -> Result<(), SessionError> {
        let (inner, tenure) = (&self.inner, &hold.0);
        if hold.has_ended() {
            return Err(SessionError::Moved);
        }
        // What is released is what stands before this fence, and no append that is under way comes behind it.
        let below = log::fence(&inner.shelf, &tenure.session, tenure.epoch).await? + 1;
        let claim = (tenure.revision(), tenure.epoch);
        let written = inner.claims.release(&tenure.session, claim, (until, below)).await;
        inner.ends(tenure);
        written?.ok_or(SessionError::Moved)?;
        inner.purge(&tenure.session, below).await
    }
}

impl Inner {
    /// Claims a session for this gateway, unless another has it.
    async fn claim(self: Arc<Self>, session: Key) -> Result<Owner, SessionError> {
        let claimed = self.claimed(&session).await;
        let mut table = self.table.lock();
        match &claimed {
            Ok(owner) => table.owned(session, owner),
            Err(_) => table.unknown(&session),
        }
        claimed
    }

    async fn claimed(&self, session: &Key) -> Result<Owner, SessionError> {
        let mut present = self.present.clone();
        // In vain: then nobody is known to be gone.
        let _ = timeout(MEETING, present.wait_for(|present| present.is_known)).await;
        let is_there = |number, life| self.is_there(number, life);
        Ok(match self.claims.claim(session, is_there).await? {
            Claimed::Theirs { number, life, revision } => Owner::There(Peer { number, life, revision }),
            Claimed::Ours { mut revision, epoch, unpurged_below } => {
                if let Some(below) = unpurged_below {
                    self.purge(session, below).await?;
                    let purged = self.claims.purged(session, revision, epoch).await?;
                    revision = purged.ok_or(SessionError::Moved)?;
                }
                Owner::Here(Hold(Arc::new(Tenure::new(session.clone(), epoch, revision))))
            }
        })
    }

    /// Who has the deed of a session, if that one is there.
    async fn present_owner(&self, session: &Key) -> Result<Option<Owner>, SessionError> {
        let Some((revision, Some(deed))) = self.claims.deed(session).await? else { return Ok(None) };
        match deed.says(self.life, now_ms(), |number, life| self.is_there(number, life)) {
            Says::Theirs => Ok(Some(Owner::There(Peer { number: deed.number, life: deed.life, revision }))),
            Says::Released(until) => Err(SessionError::Released { until }),
            Says::Ours | Says::Free => Ok(None),
        }
    }

    /// Gives sessions back that nobody here holds, nor did when this was called before: whoever had them claimed went meanwhile.
    pub(super) async fn give_unheld_back(self: &Arc<Self>) {
        let unheld = self.table.lock().unheld();
        let before = std::mem::replace(&mut *self.unheld.lock(), unheld.clone());
        for session in unheld.intersection(&before) {
            let leaves = |tenure: &Arc<Tenure>| Arc::clone(self).leave(Arc::clone(tenure), None).boxed().shared();
            let taken = self.table.lock().take_unheld(session, leaves);
            if let Some(leaving) = taken {
                // In vain: the next one tries again.
                let _ = tokio::spawn(leaving).await;
            }
        }
    }

    /// Gives a session back. The answer is for those who ask meanwhile whose it is: nobody's.
    async fn leave(self: Arc<Self>, tenure: Arc<Tenure>, log: Option<Log>) -> Result<Owner, SessionError> {
        let left = async {
            if let Some(log) = log {
                log.purge().await?;
            }
            self.claims.give_back(&tenure.session, tenure.revision()).await
        };
        let left = left.await;
        tenure.ended.cancel();
        self.table.lock().unknown(&tenure.session);
        left?;
        Err(SessionError::Moved)
    }

    /// Purges all that is kept of a session below a number of the stream.
    pub(super) async fn purge(&self, session: &Key, below: u64) -> Result<(), SessionError> {
        self.shelf.purge(self.shelf.names.all_of_session(session), Some(below)).await
    }

    /// Whether a gateway is there, as far as is known here.
    pub(super) fn is_there(&self, number: u16, life: u64) -> bool {
        let present = self.present.borrow();
        let is_heard = !present.is_known || present.there.get(&number).is_some_and(|there| there.life == life);
        is_heard && !self.missed.has(life)
    }

    /// An ownership has ended.
    fn ends(&self, tenure: &Arc<Tenure>) {
        self.table.lock().lost(tenure);
        tenure.ended.cancel();
    }

    /// Follows the bucket: a session that another has claimed is ours no more, whether we could be heard or not.
    async fn follow(self: Arc<Self>) {
        loop {
            match timeout(ANSWER, self.claims.store().watch(EVERY_KEY)).await {
                Ok(Ok(mut watch)) => {
                    // What happened before it was followed.
                    self.verify().await;
                    while let Some(Ok(entry)) = watch.next().await {
                        self.heard(&entry).await;
                    }
                }
                Ok(Err(e)) => tracing::debug!("owners of sessions cannot be followed: {e}"),
                Err(_) => tracing::debug!("owners of sessions cannot be followed: no answer in {ANSWER:?}"),
            }
            sleep(AGAIN).await;
        }
    }

    async fn heard(&self, entry: &Entry) {
        let Some(session) = Key::read(&entry.key) else { return };
        let deed = (entry.operation == Operation::Put).then(|| Deed::read(&entry.value)).flatten();
        let news = self.table.lock().heard(&session, entry.revision, deed.as_ref(), self.life);
        match news {
            News::Nothing => {}
            News::Lost(tenure) => tenure.ended.cancel(),
            News::Missing(tenure) => self.missing(&tenure).await,
        }
    }

    /// Somebody has removed the deed of a session of ours: it is written anew, or another gateway was faster.
    async fn missing(&self, tenure: &Arc<Tenure>) {
        match self.claims.reclaim(&tenure.session, tenure.epoch).await {
            Ok(Some(revision)) => tenure.rewritten(revision),
            Ok(None) => self.check(tenure).await,
            // The bucket cannot be followed either, and all is looked after when it can be.
            Err(_) => {}
        }
    }

    /// Whether a session of ours is ours still.
    async fn check(&self, tenure: &Arc<Tenure>) {
        match self.claims.deed(&tenure.session).await {
            // A server that follows has not heard of it yet.
            Ok(Some((revision, _))) if revision < tenure.revision() => {}
            Ok(Some((revision, Some(deed)))) if deed.is_owned_by(self.life) => tenure.rewritten(revision),
            Ok(Some(_)) => self.ends(tenure),
            Ok(None) => Box::pin(self.missing(tenure)).await,
            Err(_) => {}
        }
    }

    /// Looks after all sessions of ours: the bucket was not followed for a while.
    async fn verify(&self) {
        let ours = self.table.lock().ours();
        stream::iter(ours).for_each_concurrent(VERIFIED, async |tenure| self.check(&tenure).await).await;
    }
}

/// Questions under way are no part of what it says.
impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("claims", &self.inner.claims).finish_non_exhaustive()
    }
}

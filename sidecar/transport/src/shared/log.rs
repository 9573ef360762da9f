//! The log of a session that is ours, as the channels use it: records with what they are known by, and the ids of what was read.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures::future::{BoxFuture, FutureExt as _};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::{
    OwnerError, Place, Record, SessionLog,
    recent::{Recent, Written},
};
use crate::{
    log::{Block, Claim, millis},
    queue::{Numbered, Origin},
    sync::Mutex,
};

/// The log of a session.
pub(crate) struct SharedLog {
    log: Arc<dyn SessionLog>,
    recent: Mutex<Recent>,
}

/// A record in a session's log.
#[derive(Debug)]
pub(crate) struct Recorded {
    log: Arc<SharedLog>,
    place: Place,
    /// When it was first written, in milliseconds since 1970.
    time: u64,
    /// The id of the push, and who pushed.
    numbered: Option<(Origin, Arc<Numbered>)>,
}

impl SharedLog {
    pub(crate) fn new(log: Arc<dyn SessionLog>) -> Arc<Self> {
        Arc::new(Self { log, recent: Mutex::new(Recent::default()) })
    }

    /// Appends a record unless `claim` is withdrawn before. `landed` is called in the order of the calls where it lands, and never
    /// before this returns.
    pub(crate) fn append(
        self: &Arc<Self>,
        record: Record,
        numbered: Option<(Origin, Arc<Numbered>)>,
        claim: Claim,
        landed: impl FnOnce(Result<Arc<Recorded>, OwnerError>) + Send + 'static,
    ) {
        let (log, Record { bytes, time }) = (Arc::clone(self), record);
        let told = move |place: Result<Place, OwnerError>| match place {
            Ok(place) => landed(Ok(Arc::new(Recorded { log, place, time, numbered }))),
            // It may be refused while this is called, under locks that whoever hears of it takes.
            Err(why) => drop(tokio::spawn(async move { landed(Err(why)) })),
        };
        self.log.append(bytes, Box::new(move || claim.take()), Box::new(told));
    }

    /// The same, waiting until it stands, or until then.
    pub(crate) async fn keep(
        self: &Arc<Self>,
        record: Record,
        numbered: Option<(Origin, Arc<Numbered>)>,
        until: Instant,
    ) -> Result<Arc<Recorded>, OwnerError> {
        let (claim, (tell, mut told)) = (Claim::default(), oneshot::channel());
        self.append(record, numbered, claim.clone(), move |landed| drop(tell.send(landed)));
        match timeout_at(until, &mut told).await {
            Ok(landed) => landed.unwrap_or(Err(OwnerError::Unsure)),
            Err(_) if claim.withdraw() => Err(OwnerError::Withdrawn),
            Err(_) => Err(OwnerError::Unsure),
        }
    }

    /// A record that was found, at `place`.
    pub(crate) fn found(
        self: &Arc<Self>,
        place: Place,
        time: u64,
        numbered: Option<(Origin, Arc<Numbered>)>,
    ) -> Arc<Recorded> {
        Arc::new(Recorded { log: Arc::clone(self), place, time, numbered })
    }

    /// A record was found at `place` that says which pushes of a sender were read.
    pub(crate) fn found_recent(&self, sender: &Origin, blocks: &[Block], time: u64, place: Place) {
        self.recent.lock().found(sender, blocks, time, place);
    }

    /// Ready when this gateway does not own the session any more.
    pub(crate) fn moved(&self) -> BoxFuture<'static, ()> {
        self.log.moved()
    }

    /// Ready when all that was wanted before is written down, or is known not to be.
    pub(crate) fn written(&self) -> BoxFuture<'static, ()> {
        self.log.written()
    }

    /// Whether pushes were read that somebody may repeat.
    pub(crate) fn remembers(&self) -> bool {
        !self.remembers_for().is_zero()
    }

    /// For how long somebody may repeat pushes that were read.
    pub(crate) fn remembers_for(&self) -> Duration {
        Duration::from_millis(self.recent.lock().matters_for(millis(SystemTime::now())))
    }

    /// Whether this gateway does not own the session any more.
    pub(crate) fn has_moved(&self) -> bool {
        self.log.has_moved()
    }

    /// Has written down that records count no more, and remembers the ids of those that were pushes.
    fn consume(self: &Arc<Self>, gone: &[&Recorded]) -> BoxFuture<'static, Result<(), OwnerError>> {
        if self.log.has_moved() {
            return std::future::ready(Err(OwnerError::Moved)).boxed();
        }
        let now = millis(SystemTime::now());
        let mut places: Vec<Place> = gone.iter().map(|one| one.place).collect();
        let written: Vec<Written> = {
            let mut recent = self.recent.lock();
            let read = gone.iter().filter_map(|one| {
                let (sender, numbered) = one.numbered.as_ref().filter(|(_, numbered)| numbered.may_come_again())?;
                recent.read(sender, numbered.id, one.time, now)
            });
            let written = read.collect();
            places.extend(recent.forget(now));
            written
        };
        // First: whoever finds that a message was read finds its id too.
        written.into_iter().for_each(|one| self.write(one));
        self.log.consume(places)
    }

    fn write(self: &Arc<Self>, Written { record, name, writing }: Written) {
        let log = Arc::clone(self);
        let landed = move |place: Result<Place, OwnerError>| {
            // In vain: it is written again with the next one, or nobody learns of the repeat.
            let Ok(place) = place else { return };
            let of_no_use = log.recent.lock().stands(&name, writing, place);
            if let Some(place) = of_no_use {
                drop(log.log.consume(vec![place]));
            }
        };
        self.log.note(record.bytes, Box::new(landed));
    }
}

/// Has written down that records count no more, whichever sessions they are of; ready once that lasts.
pub(crate) fn consume(gone: &[Arc<Recorded>]) -> BoxFuture<'static, Result<(), OwnerError>> {
    let mut rest: Vec<&Recorded> = gone.iter().map(|one| &**one).collect();
    let mut all = Vec::new();
    while let Some(first) = rest.first() {
        let log = Arc::clone(&first.log);
        let (same, others) = rest.into_iter().partition::<Vec<_>, _>(|one| Arc::ptr_eq(&one.log, &log));
        all.push(log.consume(&same));
        rest = others;
    }
    futures::future::try_join_all(all).map(|done| done.map(drop)).boxed()
}

impl PartialEq for Recorded {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.log, &other.log) && self.place == other.place
    }
}

impl Eq for Recorded {}

impl fmt::Debug for SharedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.log, f)
    }
}

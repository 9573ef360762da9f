//! The directory over HTTP, under `/datanet/v1` (contract section 2): a request whose body was read in, an answer out.
//!
//! ```text
//! paths.rs    which path is what, and which methods it takes
//! who.rs      who is asking, and what they may
//! coding.rs   packed bodies
//! lines.rs    snapshots as lines
//! call.rs     the nine messages, one by one
//! repeats.rs  writes that come twice
//! rate.rs     who writes too often
//! audit.rs    who wrote, and who was turned away
//! get.rs      the retrievals by GET
//! batch.rs    many messages in one
//! desk.rs     long messages, few at once
//! pace.rs     how fast a body has to come
//! watch.rs    what changes, as events
//! audience.rs  what all watchers together may have
//! log.rs      the log's files and proofs
//! witness.rs  checkpoints of other logs
//! page.rs     the directory for people
//! replica.rs  lookups that a verified copy answers
//! schema.rs   the messages as JSON Schema
//! answer.rs   what was found, or why not, as HTTP
//! ```
//! Who calls it has [`Front::admits`] asked, reads the body up to what that says and as long as its [`Pace`] lets, and knows whose certificate the connection has.

mod answer;
mod audience;
mod audit;
mod batch;
mod call;
mod coding;
mod desk;
mod get;
mod lines;
mod log;
mod pace;
mod page;
mod paths;
mod rate;
mod repeats;
mod replica;
mod schema;
#[cfg(test)]
mod tests;
mod watch;
mod who;
mod witness;

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, request::Parts};
use mesh_core::Leaf;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

#[cfg(test)]
pub(crate) use batch::messages;
pub use desk::Place;
#[cfg(test)]
pub(crate) use lines::gathered;
pub use pace::Pace;
pub use page::is_page;
pub use paths::PREFIX;
pub use replica::{Lookup, Manners};
pub use watch::Events;
pub use who::Shown;

use self::{
    audience::Audience,
    coding::Coding,
    desk::{Desk, Turn},
    paths::Room,
    who::Who,
};
use crate::{
    DirectoryError,
    directory::{Directory, Status},
    error::{Code, Why},
    identity::Vouched,
    message,
    metrics::Metrics,
};

/// The front of an open directory; a clone is the same front.
#[derive(Clone, Debug)]
pub struct Front {
    directory: Arc<Directory>,
    metrics: Metrics,
    repeats: Arc<Mutex<repeats::Repeats>>,
    rates: Arc<Mutex<rate::Rates>>,
    audience: Arc<Audience>,
    desk: Arc<Desk>,
    witnessing: Arc<Semaphore>,
    vouched: Arc<ArcSwapOption<Vouched>>,
}

/// What is said of a request before any of its body is read.
#[derive(Debug)]
pub struct Admission {
    /// Whether it is a central system that calls, by its token or its certificate.
    pub known: bool,
    /// Bytes that its body may have.
    pub longest: usize,
    /// The body's place, which is kept until the request is answered; or the answer.
    pub place: Result<Place, Box<Response<Content>>>,
}

/// The body of a request.
struct Whole {
    bytes: Bytes,
    turn: Option<Turn>,
}

/// The body of an answer.
#[derive(Debug)]
pub enum Content {
    /// All of it.
    Whole(Bytes),
    /// What comes, for as long as somebody listens.
    Events(Events),
}

impl Front {
    /// A front of `directory`.
    #[must_use]
    pub fn new(directory: Arc<Directory>, metrics: Metrics) -> Self {
        let (repeats, rates, audience, desk) = Default::default();
        let witnessing = Arc::new(Semaphore::new(witness::AT_ONCE));
        let vouched = Arc::default();
        Self { directory, metrics, repeats, rates, audience, desk, witnessing, vouched }
    }

    /// Has the node `node` say under its certificate which keys are the directory's: what strangers see of that. Each time that the
    /// certificate may be another; the same is not signed again.
    pub fn vouch(&self, node: &str, leaf: &Leaf) {
        let keys = self.directory.keys(node);
        if self.vouched.load().as_ref().is_some_and(|known| known.is_of(&keys, leaf)) {
            return;
        }
        self.vouched.store(Some(Arc::new(Vouched::by(keys, leaf))));
    }

    /// The directory behind it.
    #[must_use]
    pub const fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// What is said of a request before any of its body is read. `announced` is how long the body says to be at least: all of it where
    /// it names its length, else nothing.
    pub fn admits(&self, head: &Parts, shown: &Shown, announced: Option<u64>) -> Admission {
        let path = head.uri.path();
        let longest = Room::of(path).map_or(paths::SHORT, Room::longest).max(lines::longest(&head.headers));
        let who = who::who(&self.directory, &head.headers, shown, now());
        let Some(csid) = who.as_ref().ok().and_then(|who| who.member().ok()) else {
            // Nobody who is unknown sends much.
            return Admission { known: false, longest: longest.min(paths::SHORT), place: Ok(Place::SHORT) };
        };
        let is_packed = !matches!(Coding::of(&head.headers), Ok(None));
        let announced = announced.filter(|_| !is_packed).and_then(|bytes| usize::try_from(bytes).ok());
        let place = self.desk.place(csid, announced.map_or(longest, |bytes| bytes.min(longest)));
        let refused = |error| Box::new(self.refused(path, &error).map(Content::Whole));
        Admission { known: true, longest, place: place.map_err(refused) }
    }

    /// Answers a request.
    pub async fn answer(&self, request: Request<Bytes>, shown: &Shown) -> Response<Content> {
        let (head, body) = request.into_parts();
        if let Some(page) = page::answer(&head) {
            return packed(&head, page).await.map(Content::Whole);
        }
        let path = head.uri.path();
        let Some(room) = Room::of(path) else { return self.refused(path, &paths::unknown()).map(Content::Whole) };
        if room == Room::Watch && head.method == Method::GET {
            let watched = self.watch(&head.headers, head.uri.query(), shown);
            let code = watched.as_ref().map_or_else(|error| error.code, |_| Code::Success);
            self.metrics.called(room.name(), code.number());
            return watched.unwrap_or_else(|error| self.refused(path, &error).map(Content::Whole));
        }
        let answer = match self.dispatch(room, &head, body, shown).await {
            Ok(answer) => answer,
            Err(error) => {
                self.metrics.called(room.name(), error.code.number());
                self.refused(path, &error)
            }
        };
        packed(&head, answer).await.map(Content::Whole)
    }

    /// A request whose body is longer than it may be.
    #[must_use]
    pub fn too_large(&self, path: &str) -> Response<Content> {
        let text = "the message is too large: 8 MiB for a sync (above that as lines), 64 KiB for all others";
        self.refused(path, &DirectoryError::new(Code::BadRequest, Why::TooLarge, text)).map(Content::Whole)
    }

    /// A request whose body stood still, or came by drops.
    #[must_use]
    pub fn too_slow(&self, path: &str) -> Response<Content> {
        let text = "the body came too slowly: 1 MiB of it, or its end, comes within each 60 s; nothing of it was taken, send it again";
        self.refused(path, &DirectoryError::new(Code::BadRequest, Why::TooSlow, text)).map(Content::Whole)
    }

    /// A request whose body broke off.
    #[must_use]
    pub fn broken_off(&self, path: &str) -> Response<Content> {
        self.refused(path, &DirectoryError::malformed("the body broke off")).map(Content::Whole)
    }

    async fn dispatch(
        &self,
        room: Room<'_>,
        head: &Parts,
        body: Bytes,
        shown: &Shown,
    ) -> Result<Response<Bytes>, DirectoryError> {
        room.takes(&head.method)?;
        let who = who::who(&self.directory, &head.headers, shown, now());
        if matches!(head.method, Method::GET | Method::HEAD) {
            return self.read_out(room, head, &who?).await;
        }
        let turned_away = |holder: Option<&str>, error: &DirectoryError| {
            if room.may_write() {
                audit::turned_away(room.name(), holder, error);
            }
        };
        let who = who.inspect_err(|error| turned_away(None, error))?;
        let longest = room.longest().max(lines::longest(&head.headers));
        let whole = self.whole(&head.headers, body, longest, &who).await;
        let whole = whole.inspect_err(|error| turned_away(who.member().ok(), error))?;
        let said = match room {
            Room::AddCheckpoint => return Ok(self.add_checkpoint(whole.bytes).await),
            Room::Batch => self.batch(&head.headers, whole, &who).await,
            Room::Message(message) => self.read_and_call(&head.headers, whole, Some(message), &who).await,
            _ => self.read_and_call(&head.headers, whole, None, &who).await,
        };
        self.said(room, said)
    }

    /// A body as it was before it was packed. Where it is long, with its turn and paid for: also what is refused then took its time.
    async fn whole(
        &self,
        headers: &HeaderMap,
        body: Bytes,
        longest: usize,
        who: &Who,
    ) -> Result<Whole, DirectoryError> {
        let coding = Coding::of(headers)?;
        // A stranger has nothing unpacked that is long.
        let longest = if who.member().is_ok() { longest } else { paths::SHORT };
        let turn = self.desk.turn(if coding.is_some() { longest } else { body.len() }).await;
        let bytes = match coding {
            None => body,
            Some(coding) => {
                let unpacked = tokio::task::spawn_blocking(move || coding.unpack(&body, longest)).await;
                unpacked.unwrap_or_else(|_| Err(call::given_up()))?
            }
        };
        if bytes.len() <= desk::LONG {
            return Ok(Whole { bytes, turn: None });
        }
        // A stranger does not keep threads busy.
        self.rates.lock().take(who.member()?, bytes.len(), now())?;
        Ok(Whole { bytes, turn })
    }

    /// What is asked for by GET.
    async fn read_out(&self, room: Room<'_>, head: &Parts, who: &Who) -> Result<Response<Bytes>, DirectoryError> {
        match room {
            Room::Message(message) => self.got(message, head, who).await,
            Room::Log(path) => {
                let file = self.log_file(path, who).await?;
                self.metrics.called(room.name(), Code::Success.number());
                Ok(file)
            }
            Room::Proof(proof) => {
                let proven = self.proof(proof, head.uri.query(), who).await;
                self.said(room, proven)
            }
            Room::Schema => {
                self.metrics.called(room.name(), Code::Success.number());
                Ok(schema::answer())
            }
            Room::About | Room::Batch | Room::Watch | Room::AddCheckpoint => Ok(answer::json(200, &self.about())),
        }
    }

    /// What somebody needs who wants to verify what this directory says.
    fn about(&self) -> Value {
        let directory = &self.directory;
        let published = directory.view().published();
        let recovery: Vec<String> = directory.rules().recovery.iter().map(ToString::to_string).collect();
        let mut about = json!({
            "version": "datanet 1.0",
            "origin": directory.log_key().name().as_str(),
            "logKey": directory.log_key().to_string(),
            "directoryKey": directory.custodian().to_string(),
            "recoveryKeys": recovery,
            "witnessKey": directory.witness_key().to_string(),
            "size": published.size,
            "revision": published.size,
        });
        if let Some(statement) = self.vouched.load().as_ref().and_then(|vouched| vouched.said()) {
            about["identity"] = statement.clone();
        }
        if let Some(cosigned) = directory.cosigned() {
            let cosigned = cosigned.lock();
            let keys: Vec<String> = cosigned.members().map(|(member, _)| member.verifier.to_string()).collect();
            about["witnesses"] = json!({"quorum": cosigned.quorum(), "keys": keys, "covered": cosigned.covered()});
        }
        about
    }

    /// An answer with a code, counted.
    fn said(&self, room: Room<'_>, said: Result<Value, DirectoryError>) -> Result<Response<Bytes>, DirectoryError> {
        let value = said?;
        let code = value["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or_default();
        self.metrics.called(room.name(), code);
        Ok(answer::found(&value, self.status(Some(room))))
    }

    fn refused(&self, path: &str, error: &DirectoryError) -> Response<Bytes> {
        answer::refused(error, &self.refusal(error), self.status(Room::of(path)))
    }

    /// A refusal as it is answered, at the revision that readers see (D-8).
    fn refusal(&self, error: &DirectoryError) -> Value {
        message::refused(error, self.directory.view().published().size)
    }

    /// What HTTP says of what is there. The setting is for messages: who reads the log and proofs knows HTTP alone.
    fn status(&self, room: Option<Room<'_>>) -> Status {
        match room {
            Some(Room::Log(_) | Room::Proof(_) | Room::Watch | Room::AddCheckpoint | Room::Schema) => Status::Mirror,
            Some(Room::About | Room::Message(_) | Room::Batch) | None => self.directory.rules().status,
        }
    }
}

/// The answer as its caller takes it.
async fn packed(head: &Parts, mut answer: Response<Bytes>) -> Response<Bytes> {
    coding::packed(head, &mut answer).await;
    if head.method == Method::HEAD {
        *answer.body_mut() = Bytes::new();
    }
    answer
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

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
//! get.rs      the retrievals by GET
//! batch.rs    many messages in one
//! watch.rs    what changes, as events
//! audience.rs  what all watchers together may have
//! log.rs      the log's files and proofs
//! witness.rs  checkpoints of other logs
//! page.rs     the directory for people
//! answer.rs   what was found, or why not, as HTTP
//! ```
//! Who calls it read the body, up to [`Front::longest`], and knows whose certificate the connection has.

mod answer;
mod audience;
mod batch;
mod call;
mod coding;
mod get;
mod lines;
mod log;
mod page;
mod paths;
mod rate;
mod repeats;
#[cfg(test)]
mod tests;
mod watch;
mod who;
mod witness;

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, request::Parts};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

#[cfg(test)]
pub(crate) use lines::gathered;
pub use page::is_page;
pub use paths::PREFIX;
pub use watch::Events;
pub use who::Shown;

use self::{audience::Audience, coding::Coding, paths::Room, who::Who};
use crate::{
    DirectoryError,
    directory::{Directory, Status},
    error::{Code, Why},
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
    witnessing: Arc<Semaphore>,
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
        let (repeats, rates, audience) = Default::default();
        Self { directory, metrics, repeats, rates, audience, witnessing: Arc::new(Semaphore::new(witness::AT_ONCE)) }
    }

    /// The directory behind it.
    #[must_use]
    pub const fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// Bytes that the body of a request may have, known before any of it is read: nobody who is unknown sends much.
    #[must_use]
    pub fn longest(&self, path: &str, headers: &HeaderMap, shown: &Shown) -> usize {
        let longest = Room::of(path).map_or(paths::SHORT, Room::longest).max(lines::longest(headers));
        if longest <= paths::SHORT || self.knows(headers, shown) { longest } else { paths::SHORT }
    }

    /// Whether it is a central system that calls, by its token or its certificate.
    #[must_use]
    pub fn knows(&self, headers: &HeaderMap, shown: &Shown) -> bool {
        who::who(&self.directory, headers, shown, now()).is_ok_and(|who| who.member().is_ok())
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

    /// A request whose body is longer than [`Front::longest`].
    #[must_use]
    pub fn too_large(&self, path: &str) -> Response<Content> {
        let text = "the message is too large: 8 MiB for a sync (above that as lines), 64 KiB for all others";
        self.refused(path, &DirectoryError::new(Code::BadRequest, Why::TooLarge, text)).map(Content::Whole)
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
        let who = who::who(&self.directory, &head.headers, shown, now())?;
        if matches!(head.method, Method::GET | Method::HEAD) {
            return self.read_out(room, head, &who).await;
        }
        let longest = room.longest().max(lines::longest(&head.headers));
        let body = match Coding::of(&head.headers)? {
            None => body,
            Some(coding) => {
                // A stranger has nothing unpacked that is long.
                let longest = if who.member().is_ok() { longest } else { paths::SHORT };
                let unpacked = tokio::task::spawn_blocking(move || coding.unpack(&body, longest)).await;
                unpacked.unwrap_or_else(|_| Err(call::given_up()))?
            }
        };
        let said = match room {
            Room::AddCheckpoint => return Ok(self.add_checkpoint(body).await),
            Room::Batch => self.batch(body, &who).await,
            Room::Message(message) => self.read_and_call(&head.headers, body, Some(message), &who).await,
            _ => self.read_and_call(&head.headers, body, None, &who).await,
        };
        self.said(room, said)
    }

    /// What is asked for by GET.
    async fn read_out(&self, room: Room<'_>, head: &Parts, who: &Who) -> Result<Response<Bytes>, DirectoryError> {
        match room {
            Room::Message(message) => self.got(message, head, who),
            Room::Log(path) => self.log_file(path, who).await,
            Room::Proof(proof) => {
                let proven = self.proof(proof, head.uri.query(), who).await;
                self.said(room, proven)
            }
            Room::About | Room::Batch | Room::Watch | Room::AddCheckpoint => Ok(answer::json(200, &self.about())),
        }
    }

    /// What somebody needs who wants to verify what this directory says.
    fn about(&self) -> Value {
        let directory = &self.directory;
        let recovery: Vec<String> = directory.rules().recovery.iter().map(ToString::to_string).collect();
        let mut about = json!({
            "version": "datanet 1.0",
            "origin": directory.log_key().name().as_str(),
            "logKey": directory.log_key().to_string(),
            "directoryKey": directory.custodian().to_string(),
            "recoveryKeys": recovery,
            "witnessKey": directory.witness_key().to_string(),
            "size": directory.view().published().size,
        });
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
        answer::refused(error, &message::refused(error), self.status(Room::of(path)))
    }

    /// What HTTP says of what is there. The setting is for messages: who reads the log and proofs knows HTTP alone.
    fn status(&self, room: Option<Room<'_>>) -> Status {
        match room {
            Some(Room::Log(_) | Room::Proof(_) | Room::Watch | Room::AddCheckpoint) => Status::Mirror,
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

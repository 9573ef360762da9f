//! The directory over HTTP, under `/datanet/v1` (contract section 2): a request whose body was read in, an answer out.
//!
//! ```text
//! paths.rs    which path is what, and which methods it takes
//! who.rs      who is asking, and what they may
//! call.rs     the nine messages, one by one
//! get.rs      the retrievals by GET
//! batch.rs    many messages in one
//! log.rs      the log's files and proofs
//! answer.rs   what was found, or why not, as HTTP
//! ```
//! Who calls it read the body, up to [`Front::longest`], and knows whose certificate the connection has.

mod answer;
mod batch;
mod call;
mod get;
mod log;
mod paths;
#[cfg(test)]
mod tests;
mod who;

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use serde_json::{Value, json};

pub use paths::PREFIX;
pub use who::Shown;

use self::paths::Room;
use crate::{
    DirectoryError,
    directory::Directory,
    error::{Code, Why},
    message,
};

/// The front of an open directory.
#[derive(Clone, Debug)]
pub struct Front {
    directory: Arc<Directory>,
}

impl Front {
    /// A front of `directory`.
    #[must_use]
    pub const fn new(directory: Arc<Directory>) -> Self {
        Self { directory }
    }

    /// The directory behind it.
    #[must_use]
    pub const fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// Bytes that the body of a request may have, known before any of it is read: nobody who is unknown sends much.
    #[must_use]
    pub fn longest(&self, path: &str, headers: &HeaderMap, shown: &Shown) -> usize {
        let is_member = || who::who(&self.directory, headers, shown, now()).is_ok_and(|who| who.member().is_ok());
        let longest = Room::of(path).map_or(paths::SHORT, Room::longest);
        if longest <= paths::SHORT || is_member() { longest } else { paths::SHORT }
    }

    /// Answers a request.
    pub async fn answer(&self, request: Request<Bytes>, shown: &Shown) -> Response<Bytes> {
        let head = *request.method() == Method::HEAD;
        let answered = self.dispatch(request, shown).await;
        let mut answer = answered.unwrap_or_else(|error| self.refused(&error));
        if head {
            *answer.body_mut() = Bytes::new();
        }
        answer
    }

    /// A request whose body is longer than [`Front::longest`].
    #[must_use]
    pub fn too_large(&self) -> Response<Bytes> {
        let text = "the message is too large: 8 MiB for a sync, 64 KiB for all others";
        self.refused(&DirectoryError::new(Code::BadRequest, Why::TooLarge, text))
    }

    /// A request whose body broke off.
    #[must_use]
    pub fn broken_off(&self) -> Response<Bytes> {
        self.refused(&DirectoryError::malformed("the body broke off"))
    }

    async fn dispatch(&self, request: Request<Bytes>, shown: &Shown) -> Result<Response<Bytes>, DirectoryError> {
        let (head, body) = request.into_parts();
        let room = Room::of(head.uri.path()).ok_or_else(paths::unknown)?;
        let gets = matches!(head.method, Method::GET | Method::HEAD);
        room.takes(&head.method)?;
        answer::uncoded(&head.headers)?;
        let who = who::who(&self.directory, &head.headers, shown, now())?;
        match room {
            Room::About if gets => Ok(answer::json(200, &self.about())),
            Room::About => self.coded(self.read_and_call(body, None, &who).await),
            Room::Message(message) if gets => self.got(message, &head, &who),
            Room::Message(message) => self.coded(self.read_and_call(body, Some(message), &who).await),
            Room::Batch => self.coded(self.batch(body, &who).await),
            Room::Log(path) => self.log_file(path, &who).await,
            Room::Proof(proof) => self.coded(self.proof(proof, head.uri.query(), &who).await),
        }
    }

    /// What somebody needs who wants to verify what this directory says.
    fn about(&self) -> Value {
        let directory = &self.directory;
        let recovery: Vec<String> = directory.rules().recovery.iter().map(ToString::to_string).collect();
        json!({
            "version": "datanet 1.0",
            "origin": directory.log_key().name().as_str(),
            "logKey": directory.log_key().to_string(),
            "directoryKey": directory.custodian().to_string(),
            "recoveryKeys": recovery,
            "size": directory.view().published().size,
        })
    }

    /// An answer with a code, as the listener says it.
    #[expect(clippy::unnecessary_wraps, reason = "as the other rooms answer")]
    fn coded(&self, answered: Result<Value, DirectoryError>) -> Result<Response<Bytes>, DirectoryError> {
        Ok(answered
            .map_or_else(|error| self.refused(&error), |value| answer::found(&value, self.directory.rules().status)))
    }

    fn refused(&self, error: &DirectoryError) -> Response<Bytes> {
        answer::refused(error, &message::refused(error), self.directory.rules().status)
    }
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

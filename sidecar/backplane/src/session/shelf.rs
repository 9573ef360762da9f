//! The stream in which the logs of all sessions stand, one subject each: what is asked of the servers, and what their answers mean.

use std::{
    error::Error as _,
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::{
    Client,
    jetstream::{
        self, Context, ErrorCode,
        consumer::{AckPolicy, DeliverPolicy, pull},
        context::{PublishError, PublishErrorKind},
        message::{PublishMessage, StreamMessage},
        stream::{Config, DiscardPolicy, Info, LastRawMessageErrorKind, Stream},
    },
};
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use tokio::time::timeout;

use super::{capacity::Capacity, error::SessionError, key::Key};
use crate::{
    BackplaneError,
    names::Names,
    nats::{ANSWER, Settings, bring_in_step, storage},
};

/// Messages that are fetched at once: 64 MiB of the largest, and a thousand small batches are read in some round trips.
const FETCHED: usize = 64;
/// A reader that goes away is forgotten after so long.
const READER: Duration = Duration::from_secs(30);
/// A message is of this size at most, whatever the servers allow: what waits behind it in their buffers waits no longer for it.
const LARGEST: usize = 1 << 20;
/// What headers and the subject take of the servers' limit.
const HEADERS: usize = 4 << 10;

/// What a message takes in a stream beside its payload: its subject and headers, and a little of the servers'.
const MESSAGE: usize = 256;
/// What a stream without a bound says of it.
const UNBOUNDED: i64 = -1;

/// The stream with the logs.
#[derive(Clone, Debug)]
pub(crate) struct Shelf {
    jetstream: Context,
    stream: Stream,
    pub(crate) names: Names,
    /// The largest payload of a message.
    pub(crate) largest: usize,
    capacity: Arc<Capacity>,
}

/// Why something was not appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Something else was appended before it.
    Behind,
    /// It was not, and this is why.
    Refused(SessionError),
    /// Nobody knows.
    Unsure(String),
}

impl Shelf {
    /// Opens the stream, and makes it where it is not there.
    pub(crate) async fn open(jetstream: Context, names: Names, settings: &Settings) -> Result<Self, BackplaneError> {
        let bound = settings.max_bytes.map_or(UNBOUNDED, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
        let config = Config {
            name: names.logs(),
            description: Some("what is unread in the node's sessions".into()),
            subjects: vec![names.all_of_logs()],
            storage: storage(settings),
            num_replicas: settings.replicas,
            // Whoever bounds the stream has pushes refused then, and loses nothing that was confirmed.
            discard: DiscardPolicy::New,
            max_bytes: bound,
            ..Config::default()
        };
        let stream = jetstream.get_or_create_stream(config).await.map_err(BackplaneError::away)?;
        let info = stream.cached_info();
        bring_in_step(&jetstream, info, bound_of(info, bound), settings).await;
        let capacity = Arc::new(Capacity::new(bound, stream.cached_info().state.bytes, Instant::now()));
        let largest = jetstream.client().server_info().max_payload.min(LARGEST).saturating_sub(HEADERS).max(HEADERS);
        Ok(Self { jetstream, stream, names, largest, capacity })
    }

    /// The connection to the servers.
    pub(crate) fn client(&self) -> Client {
        self.jetstream.client()
    }

    /// Whether the stream has room for a record of so many bytes.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        if self.capacity.asks(Instant::now()) {
            let shelf = self.clone();
            tokio::spawn(async move {
                let info = timeout(ANSWER, shelf.stream.get_info()).await;
                shelf.capacity.knows(info.ok().and_then(Result::ok).map(|info| info.state.bytes));
            });
        }
        self.capacity.takes(bytes.saturating_add(MESSAGE))
    }

    /// Appends after `expected`, the last message of `subject` (0: there is none); answers its sequence number.
    pub(crate) async fn append(&self, subject: String, payload: Bytes, expected: u64) -> Result<u64, Failure> {
        let message = PublishMessage::build().payload(payload).expected_last_subject_sequence(expected);
        let sent = self.jetstream.send_publish(subject, message).await.map_err(|e| failure(&e))?;
        Ok(sent.await.map_err(|e| failure(&e))?.sequence)
    }

    /// Appends something that nothing else stands beside.
    pub(crate) async fn put(&self, subject: String, payload: Bytes) -> Result<(), SessionError> {
        let sent = self.jetstream.publish(subject, payload).await.map_err(|e| refusal(&e))?;
        sent.await.map_err(|e| refusal(&e))?;
        Ok(())
    }

    /// The last message of a subject.
    pub(crate) async fn last(&self, subject: &str) -> Result<Option<(u64, Bytes)>, SessionError> {
        let asked = timeout(ANSWER, self.stream.get_last_raw_message_by_subject(subject)).await;
        match asked.map_err(SessionError::away)? {
            Ok(message) => Ok(Some((message.sequence, message.payload))),
            Err(e) if e.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(e) => Err(SessionError::away(e)),
        }
    }

    /// Whether there is any message of a subject. None is sent for that: one may have a MiB.
    pub(crate) async fn has_any(&self, subject: String) -> Result<bool, SessionError> {
        let asked = timeout(ANSWER, self.stream.info_with_subjects(subject)).await.map_err(SessionError::away)?;
        let mut found = asked.map_err(SessionError::away)?;
        Ok(found.next().now_or_never().flatten().is_some())
    }

    /// The message with this number.
    pub(crate) async fn message(&self, sequence: u64) -> Result<Bytes, SessionError> {
        Ok(self.raw(sequence).await?.payload)
    }

    /// The same where it is one of this subject: in a stream that was made anew others have its number.
    pub(crate) async fn message_of(&self, subject: &str, sequence: u64) -> Result<Bytes, SessionError> {
        let message = self.raw(sequence).await?;
        if message.subject.as_str() == subject {
            Ok(message.payload)
        } else {
            Err(SessionError::Away(format!("message {sequence} is of another log")))
        }
    }

    async fn raw(&self, sequence: u64) -> Result<StreamMessage, SessionError> {
        let asked = timeout(ANSWER, self.stream.get_raw_message(sequence)).await;
        asked.map_err(SessionError::away)?.map_err(SessionError::away)
    }

    /// Hands all messages of a subject from the number `first` to the one with the number `last` to `found`, in order. `false`: some were
    /// missed, as messages of the subject were purged meanwhile: a reader may then be sent on beyond others that stand still.
    pub(crate) async fn read(
        &self,
        subject: String,
        first: u64,
        last: u64,
        mut found: impl FnMut(u64, Bytes) -> Result<(), SessionError>,
    ) -> Result<bool, SessionError> {
        let config = pull::Config {
            filter_subject: subject,
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: first.max(1) },
            ack_policy: AckPolicy::None,
            inactive_threshold: READER,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let consumer = self.stream.create_consumer(config).await.map_err(SessionError::away)?;
        let (mut at, mut count) = (0, 0);
        while at < last {
            let fetch = consumer.fetch().max_messages(FETCHED).expires(ANSWER);
            let mut messages = fetch.messages().await.map_err(SessionError::away)?;
            let before = at;
            while let Some(message) = messages.next().await {
                let message = message.map_err(SessionError::away)?;
                at = message.info().map_err(SessionError::away)?.stream_sequence;
                count += 1;
                if at <= last {
                    found(at, message.message.payload)?;
                }
            }
            if at == before {
                return Err(SessionError::Away("what is kept of a session is not sent".into()));
            }
        }
        let _ = self.stream.delete_consumer(&consumer.cached_info().name).await;
        Ok(count >= consumer.cached_info().num_pending)
    }

    /// Purges the messages of `subjects`; only those below a number, if one is given.
    pub(crate) async fn purge(&self, subjects: String, below: Option<u64>) -> Result<(), SessionError> {
        let purge = self.stream.purge().filter(subjects);
        let done = match below {
            Some(below) => timeout(ANSWER, purge.sequence(below).into_future()).await,
            None => timeout(ANSWER, purge.into_future()).await,
        };
        done.map_err(SessionError::away)?.map(drop).map_err(SessionError::away)
    }

    /// The names under which a session has pieces.
    pub(crate) async fn names_of_pieces(&self, session: &Key) -> Result<Vec<u64>, SessionError> {
        let mut found =
            self.stream.info_with_subjects(self.names.pieces(session, "*")).await.map_err(SessionError::away)?;
        let mut names = Vec::new();
        while let Some(subject) = found.next().await {
            let (subject, _) = subject.map_err(SessionError::away)?;
            names.extend(subject.rsplit('.').next().and_then(|name| u64::from_str_radix(name, 16).ok()));
        }
        Ok(names)
    }
}

/// The bound of a stream that is there. One that holds more gets as much as it holds and a little: servers that are above their bound
/// take nothing, not even what makes room.
fn bound_of(info: &Info, bound: i64) -> i64 {
    let held = i64::try_from(info.state.bytes).unwrap_or(i64::MAX);
    if bound == UNBOUNDED { bound } else { bound.max(held.saturating_add(bound / 8)) }
}

fn failure(e: &PublishError) -> Failure {
    let said = e.source().and_then(|e| e.downcast_ref::<jetstream::Error>()).map(jetstream::Error::error_code);
    match (e.kind(), said) {
        (PublishErrorKind::WrongLastSequence, _) | (_, Some(ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT)) => {
            Failure::Behind
        }
        // Others write to that subject: whose is first is not known yet.
        (_, Some(ErrorCode::STREAM_EXPECTED_LAST_SEQ_PER_SUBJECT_NOT_READY)) => Failure::Unsure(e.to_string()),
        (PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe, _) | (PublishErrorKind::Other, None) => {
            Failure::Unsure(e.to_string())
        }
        _ => Failure::Refused(refusal(e)),
    }
}

fn refusal(e: &PublishError) -> SessionError {
    let said = e.source().and_then(|e| e.downcast_ref::<jetstream::Error>());
    let text = said.map_or_else(|| e.to_string(), ToString::to_string);
    match said.map(jetstream::Error::error_code) {
        Some(
            ErrorCode::INSUFFICIENT_RESOURCES
            | ErrorCode::MEMORY_RESOURCES_EXCEEDED
            | ErrorCode::STORAGE_RESOURCES_EXCEEDED
            | ErrorCode::ACCOUNT_RESOURCES_EXCEEDED
            | ErrorCode::STREAM_STORE_FAILED,
        ) => SessionError::Full(text),
        _ => SessionError::Away(text),
    }
}

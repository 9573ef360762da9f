//! `/watch`: what changes, as server-sent events, from any revision on (D-10). The log is what is read out, so that nobody who was away
//! misses anything: a watcher that comes again names the last revision that it has.

use std::{convert::Infallible, ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response,
    header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout},
};

use super::{
    Content, Front, Shown,
    audience::{Audience, Place, Seat},
    get::pairs,
    now,
    who::{Who, who},
};
use crate::{
    DirectoryError,
    change::Change,
    directory::Directory,
    error::{Code, Why},
    names,
};

/// A line that says nothing, so that nobody in between takes the connection for dead (gateways cut idle ones at 60 s).
const QUIET: Duration = Duration::from_secs(20);

/// Entries that are read out at once: what a slow watcher may have before it in memory.
const AT_ONCE: u64 = 64;

/// Bytes of text at which a piece ends, whatever entries it has: one body alone may have 64 MiB, and 64 of them would be 4 GiB. Its
/// last entry is whole, so that there is always one.
const PIECE: usize = 1 << 20;

/// Bytes that are handed out at once: each part has its own time, so that a slow watcher gets a long entry too. One part waits here, and
/// one in the connection, for as long as a seat is taken.
const PART: usize = 64 << 10;

/// A watcher that takes no part for so long does not read; gateways give up on it as soon.
const SLOWEST: Duration = Duration::from_secs(60);

/// The last event that a browser had (HTML, section 9.2.4).
const LAST: &str = "last-event-id";

impl Front {
    /// Begins to read out: `from` is the first revision that is wanted, `csid` the only central system.
    pub(super) fn watch(
        &self,
        headers: &HeaderMap,
        query: Option<&str>,
        shown: &Shown,
    ) -> Result<Response<Content>, DirectoryError> {
        let asking = Asking::of(headers, shown);
        let who = asking.may_read(self.directory())?;
        let pairs = pairs(query.unwrap_or_default())?;
        let wrong = |what: &str| DirectoryError::malformed(format!("{what} is no revision"));
        let last = headers.get(LAST).map(|value| value.to_str().ok().and_then(|text| text.parse::<u64>().ok()));
        let last = last.map(|last| last.ok_or_else(|| wrong(LAST))).transpose()?;
        let from = pairs.get("from").map(|text| text.parse::<u64>().map_err(|_| wrong("from"))).transpose()?;
        let csid = pairs.get("csid").map(|text| names::csid(text).map(|_| names::fold(text)));
        let csid = csid.map(|csid| csid.ok_or_else(|| DirectoryError::malformed("csid is no id"))).transpose()?;
        let seat = self.audience.seat(&who, shown.address).ok_or_else(|| {
            DirectoryError::new(Code::Internal, Why::Busy, "you or all have too many watchers: come again")
        })?;
        // A revision is the number of entries that led to it: entry n-1 made revision n.
        let size = self.directory().view().published().size;
        let next = last.or(from.map(|from| from.saturating_sub(1))).unwrap_or(size);
        let (events, parts) = mpsc::channel(1);
        let (directory, audience) = (Arc::clone(self.directory()), Arc::clone(&self.audience));
        let mut reader = Reader { directory, audience, asking, csid, next };
        let ((here, gone), (let_go, told)) = (oneshot::channel(), oneshot::channel());
        tokio::spawn(async move {
            let end = reader.read_out(events).await;
            // It keeps the store open.
            drop(reader);
            // What was handed out before may still be taken.
            if end == Err(Gone::Stalled) || timeout(SLOWEST, gone).await.is_err() {
                // Its connection may have ended this moment.
                let _ = let_go.send(());
            }
        });
        let mut answer = Response::new(Content::Events(Events { parts, let_go: Some(told), _here: here, _seat: seat }));
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(answer)
    }
}

/// What a watcher hears. Its seat is taken for as long as this is there, and not only while something is read out to it: a connection
/// that takes nothing keeps a part of the text when its reader has long given up.
#[derive(Debug)]
pub struct Events {
    parts: mpsc::Receiver<Bytes>,
    let_go: Option<oneshot::Receiver<()>>,
    _here: oneshot::Sender<Infallible>,
    _seat: Seat,
}

impl Events {
    /// The next part, which ends anywhere; `None` when the watch is over.
    pub async fn next(&mut self) -> Option<Bytes> {
        self.parts.recv().await
    }

    /// Resolves to true when it is let go though it has not taken all, as it takes nothing: whoever has its connection is to end it, for the
    /// seat is taken until then. To be asked once.
    pub fn let_go(&mut self) -> impl Future<Output = bool> + Send + use<> {
        let told = self.let_go.take();
        async move {
            match told {
                Some(told) => told.await.is_ok(),
                None => false,
            }
        }
    }

    /// Whether no part waits.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
}

/// What a caller is known by, for as long as it watches: a token may be revoked or end meanwhile.
#[derive(Default)]
pub(super) struct Asking {
    authorization: HeaderMap,
    shown: Shown,
}

impl Asking {
    fn of(headers: &HeaderMap, shown: &Shown) -> Self {
        let authorization = headers.get_all(AUTHORIZATION).iter().map(|value| (AUTHORIZATION, value.clone()));
        Self { authorization: authorization.collect(), shown: shown.clone() }
    }

    fn may_read(&self, directory: &Directory) -> Result<Who, DirectoryError> {
        let who = who(directory, &self.authorization, &self.shown, now())?;
        who.may_read(directory.rules().reading).map(|()| who)
    }
}

/// Why a watch is over.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Gone {
    /// Its caller takes nothing.
    Stalled,
    /// Its caller went away or may not read any more, another needs the room, or the log cannot be read.
    Over,
}

/// Reads the log out to one watcher.
pub(super) struct Reader {
    pub(super) directory: Arc<Directory>,
    pub(super) audience: Arc<Audience>,
    pub(super) asking: Asking,
    pub(super) csid: Option<String>,
    /// The entry that comes next.
    pub(super) next: u64,
}

impl Reader {
    /// Reads out until its caller goes or the directory closes, whatever it waits for: who watches keeps the store open, and nobody
    /// else can open it meanwhile.
    pub(super) async fn read_out(&mut self, events: mpsc::Sender<Bytes>) -> Result<(), Gone> {
        let directory = Arc::clone(&self.directory);
        tokio::select! {
            // Asked first, so that no further piece is read for one who is gone.
            biased;
            () = events.closed() => Ok(()),
            () = directory.closing() => Ok(()),
            // The watcher comes again, and hears then what is wrong.
            end = self.go_on(&events) => end,
        }
    }

    async fn go_on(&mut self, events: &mpsc::Sender<Bytes>) -> Result<(), Gone> {
        let mut changes = self.directory.view().changes();
        // The head of the answer is on its way before there is anything to say.
        let mut text = Piece::of_nothing(b": datanet\n\n");
        loop {
            self.asking.may_read(&self.directory).map_err(|_| Gone::Over)?;
            text.hand_out(events).await?;
            // Once for all that comes meanwhile, so that a line also comes where all of it is another's.
            let quiet = Instant::now() + QUIET;
            text = loop {
                if let Some(text) = self.some().await? {
                    break text;
                }
                tokio::select! {
                    changed = changes.changed() => changed.map_err(|_| Gone::Over)?,
                    () = tokio::time::sleep_until(quiet) => break Piece::of_nothing(b":\n\n"),
                }
            };
        }
    }

    /// The next events, if there are any.
    async fn some(&mut self) -> Result<Option<Piece>, Gone> {
        loop {
            self.asking.may_read(&self.directory).map_err(|_| Gone::Over)?;
            let (from, size) = (self.next, self.directory.view().published().size);
            if from >= size {
                return Ok(None);
            }
            let to = size.min(from.saturating_add(AT_ONCE));
            let turn = self.audience.turn().await;
            let (directory, csid) = (Arc::clone(&self.directory), self.csid.clone());
            let read = tokio::task::spawn_blocking(move || (piece(&directory, csid.as_deref(), from..to), turn));
            let (read, turn) = read.await.map_err(|_| Gone::Over)?;
            let (text, next) = read.ok_or(Gone::Over)?;
            self.next = next;
            if !text.is_empty() {
                let place = self.audience.hold(text.len());
                drop(turn);
                return Ok(Some(Piece { text: text.into(), place: Some(place) }));
            }
        }
    }
}

/// Some events, and their place in memory.
struct Piece {
    text: Bytes,
    place: Option<Place>,
}

impl Piece {
    const fn of_nothing(line: &'static [u8]) -> Self {
        Self { text: Bytes::from_static(line), place: None }
    }

    async fn hand_out(self, events: &mpsc::Sender<Bytes>) -> Result<(), Gone> {
        let Self { text, place } = self;
        let Some(mut place) = place else { return hand_out(events, text, SLOWEST).await };
        tokio::select! {
            done = hand_out(events, text, SLOWEST) => done,
            () = place.gave_way() => Err(Gone::Over),
        }
    }
}

/// Hands a text out in parts, each within `slowest`. They are copies: a slice would keep the whole text in memory for as long as a
/// connection has the slice, and the text has given its place back by then.
pub(super) async fn hand_out(events: &mpsc::Sender<Bytes>, text: Bytes, slowest: Duration) -> Result<(), Gone> {
    for part in text.chunks(PART) {
        let part = Bytes::copy_from_slice(part);
        timeout(slowest, events.send(part)).await.map_err(|_| Gone::Stalled)?.map_err(|_| Gone::Over)?;
    }
    Ok(())
}

/// The events of these entries up to [`PIECE`] bytes, and the entry that comes next; `None` where the log cannot be read.
pub(super) fn piece(directory: &Directory, csid: Option<&str>, entries: Range<u64>) -> Option<(String, u64)> {
    let (mut text, end) = (String::new(), entries.end);
    for index in entries {
        text.push_str(&event(directory, csid, index)?);
        if text.len() > PIECE {
            return Some((text, index.saturating_add(1)));
        }
    }
    Some((text, end))
}

/// One event; empty for another's, `None` where the log cannot be read.
fn event(directory: &Directory, csid: Option<&str>, index: u64) -> Option<String> {
    let change = Change::read(directory.store(), index)?;
    if csid.is_some_and(|csid| csid != change.folded()) {
        return Some(String::new());
    }
    Some(format!("id: {}\nevent: entry\ndata: {}\n\n", change.revision(), change.whole(directory.store())?))
}

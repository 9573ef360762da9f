//! Bodies as they are taken in: bounded, paid for before they are held, and without a copy where they arrive in one piece.
//!
//! A body has room for what came of it and as much again; one that hardly comes is given up, with the room that it holds.

use std::{future::poll_fn, pin::Pin, time::Duration};

use bytes::Bytes;
use futures::FutureExt as _;
use http_body::Body as _;
use mesh_core::Body;
use tokio::time::{Instant, timeout_at};

use crate::{
    TransportError,
    channels::{Purse, Room},
};

/// A body brings [`LEAST`], or its end, in such a time. As long as middle boxes let a stream be idle.
const WINDOW: Duration = Duration::from_secs(60);

/// 35 kbit/s: a link that is slower carries nothing of use, and whoever holds room at that pace must keep sending.
const LEAST: u64 = 256 * 1024;

/// Why a body was not taken in.
#[derive(Debug)]
pub(crate) enum Unread {
    /// Larger than the limit.
    TooLarge,
    /// It broke off; the text says how.
    Broken(String),
    /// There was no room for it, or it kept its room from others for nothing.
    Refused(TransportError),
}

impl From<TransportError> for Unread {
    fn from(e: TransportError) -> Self {
        Self::Refused(e)
    }
}

/// How fast a body comes. Only the time in which somebody waits for it counts.
#[derive(Debug)]
pub(crate) struct Pace {
    window: Option<Duration>,
    since: Option<Instant>,
    came: u64,
}

/// Takes in a body of at most `limit` bytes. One that announces more, or for which there is no room, is not read at all.
pub(crate) async fn read(body: Body, limit: u64, purse: &mut Purse<'_>) -> Result<Bytes, Unread> {
    take(body, limit, Some(purse)).await
}

/// Takes in a body that says little: at most `limit` bytes, which are few, and not charged.
pub(crate) async fn read_short(body: Body, limit: u64) -> Result<Bytes, Unread> {
    take(body, limit, None).await
}

async fn take(mut body: Body, limit: u64, purse: Option<&mut Purse<'_>>) -> Result<Bytes, Unread> {
    let mut till = Till { announced: body.size_hint().lower(), limit, purse, pace: Pace::default() };
    till.pay(0).await?;
    let Some(first) = next(&mut body, &mut till.pace).await? else { return Ok(Bytes::new()) };
    till.pay(first.len()).await?;
    let Some(second) = next(&mut body, &mut till.pace).await? else { return Ok(first) };
    let (mut whole, mut pieces) = (Vec::new(), [first, second].into_iter());
    let mut piece = pieces.next();
    while let Some(bytes) = piece {
        let paid = till.pay(whole.len() + bytes.len()).await?;
        set_aside(&mut whole, paid, bytes.len());
        whole.extend_from_slice(&bytes);
        drop(bytes);
        piece = match pieces.next() {
            Some(second) => Some(second),
            None => next(&mut body, &mut till.pace).await?,
        };
    }
    Ok(whole.into())
}

/// Sets memory aside for what is paid for; `more` are here already.
pub(crate) fn set_aside(whole: &mut Vec<u8>, paid: u64, more: usize) {
    let arrived = whole.len() + more;
    match usize::try_from(paid) {
        Ok(paid) if paid > arrived && whole.capacity() < arrived => whole.reserve_exact(paid - whole.len()),
        _ => whole.reserve(more),
    }
}

/// Where a body is paid for as it comes.
struct Till<'a, 'b> {
    announced: u64,
    limit: u64,
    purse: Option<&'a mut Purse<'b>>,
    pace: Pace,
}

impl Till<'_, '_> {
    /// Pays for what has arrived. Answers how much may be set aside for it.
    async fn pay(&mut self, arrived: usize) -> Result<u64, Unread> {
        let arrived = arrived as u64;
        if self.announced.max(arrived) > self.limit {
            return Err(Unread::TooLarge);
        }
        let Some(purse) = &mut self.purse else { return Ok(arrived) };
        Ok(pay(purse, &mut self.pace, arrived, self.announced).await?)
    }
}

/// Pays for what has `arrived` of a body. While it waits for room, nobody waits for its bytes.
pub(crate) async fn pay(
    purse: &mut Purse<'_>,
    pace: &mut Pace,
    arrived: u64,
    announced: u64,
) -> Result<u64, TransportError> {
    let had = purse.bytes();
    let paid = purse.grow(arrived, announced).await?;
    if purse.bytes() > had {
        *pace = Pace::default();
    }
    Ok(paid)
}

/// Bytes that hold their room until the last of them is gone, in however many pieces they are passed on.
pub(crate) fn with_room(bytes: Bytes, room: Option<Room>) -> Bytes {
    match room {
        Some(room) => Bytes::from_owner(Roomed { bytes, _room: room }),
        None => bytes,
    }
}

struct Roomed {
    bytes: Bytes,
    _room: Room,
}

impl AsRef<[u8]> for Roomed {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The next piece of data; trailers are passed over.
pub(crate) async fn next(body: &mut Body, pace: &mut Pace) -> Result<Option<Bytes>, Unread> {
    loop {
        let mut arriving = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx));
        let frame = match (&mut arriving).now_or_never() {
            Some(frame) => frame,
            None => pace.waits_for(arriving).await?,
        };
        let Some(frame) = frame else { return Ok(None) };
        if let Ok(data) = frame.map_err(|e| Unread::Broken(e.to_string()))?.into_data() {
            pace.came(data.len());
            return Ok(Some(data));
        }
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self::within(WINDOW)
    }
}

impl Pace {
    pub(crate) fn within(window: Duration) -> Self {
        Self { window: Some(window), since: None, came: 0 }
    }

    /// There is no hurry.
    pub(crate) fn unbounded() -> Self {
        Self { window: None, since: None, came: 0 }
    }

    /// Waits for what arrives, as long as enough may still come in time.
    async fn waits_for<T>(&mut self, arriving: impl Future<Output = T>) -> Result<T, Unread> {
        let Some(window) = self.window else { return Ok(arriving.await) };
        let end = *self.since.get_or_insert_with(Instant::now) + window;
        timeout_at(end, arriving)
            .await
            .map_err(|_| Unread::Refused(TransportError::TooSlow { least: LEAST, seconds: window.as_secs() }))
    }

    fn came(&mut self, bytes: usize) {
        self.came += bytes as u64;
        if self.came >= LEAST {
            *self = Self { window: self.window, since: None, came: 0 };
        }
    }
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod crowd;
#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests;

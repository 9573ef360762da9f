//! Bodies as they are taken in: bounded, announced or counted, and without a copy where they arrive in one piece.

use std::{future::poll_fn, pin::Pin};

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use mesh_core::Body;

/// What is set aside for a body on its announcement alone; the rest grows as it really arrives.
const ON_TRUST: usize = 1 << 20;

/// Why a body was not taken in.
#[derive(Debug)]
pub(crate) enum Unread {
    /// Larger than the limit.
    TooLarge,
    /// It broke off; the text says how.
    Broken(String),
}

/// Takes in a body of at most `limit` bytes. One that announces more is not read at all.
pub(crate) async fn read(mut body: Body, limit: u64) -> Result<Bytes, Unread> {
    let announced = body.size_hint().lower();
    if announced > limit {
        return Err(Unread::TooLarge);
    }
    let Some(first) = next(&mut body).await? else { return Ok(Bytes::new()) };
    let Some(second) = next(&mut body).await? else { return bounded(first, limit) };
    let mut whole = BytesMut::with_capacity(first.len() + usize::try_from(announced).unwrap_or(0).min(ON_TRUST));
    whole.extend_from_slice(&first);
    let mut piece = Some(second);
    while let Some(bytes) = piece {
        if (whole.len() + bytes.len()) as u64 > limit {
            return Err(Unread::TooLarge);
        }
        whole.extend_from_slice(&bytes);
        piece = next(&mut body).await?;
    }
    Ok(whole.freeze())
}

fn bounded(bytes: Bytes, limit: u64) -> Result<Bytes, Unread> {
    if bytes.len() as u64 > limit { Err(Unread::TooLarge) } else { Ok(bytes) }
}

/// The next piece of data; trailers are passed over.
pub(crate) async fn next(body: &mut Body) -> Result<Option<Bytes>, Unread> {
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        let frame = frame.map_err(|e| Unread::Broken(e.to_string()))?;
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_at_the_limit_is_taken_and_one_above_it_is_not() {
        for (size, taken) in [(0, true), (10, true), (11, false)] {
            let whole = read(Body::from(vec![1; size]), 10).await;
            assert_eq!(whole.is_ok(), taken, "{size}");
        }
    }

    #[tokio::test]
    async fn a_whole_body_is_not_copied() {
        let bytes = Bytes::from(vec![1; 100]);
        assert_eq!(read(Body::from(bytes.clone()), 100).await.unwrap().as_ptr(), bytes.as_ptr());
    }
}

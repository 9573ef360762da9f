//! Bodies that are read whole, up to a limit, and where it is said at a pace.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use mesh_core::{Body, BoxError, Code, Refusal};
use mesh_directory::front::Pace;
use tokio::time::{Instant, Sleep, sleep_until};

/// Reads a body of at most `limit` bytes. One that announces more is refused without being read (PTP section 13.2).
pub(super) async fn whole<B>(body: B, limit: u64) -> Result<Bytes, Refusal>
where
    B: HttpBody<Data = Bytes, Error = BoxError>,
{
    if body.size_hint().lower() > limit {
        return Err(too_large(limit));
    }
    match Limited::new(body, usize::try_from(limit).unwrap_or(usize::MAX)).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large(limit)),
        Err(error) if error.is::<TooSlow>() => Err(Refusal::of_caller(Code::TIMEOUT, format_args!("{error}"))),
        Err(error) => Err(Refusal::of_caller(Code::BAD_REQUEST, format_args!("the body broke off: {error}"))),
    }
}

/// A refusal of what is too large, said before the rest is read.
fn too_large(limit: u64) -> Refusal {
    Refusal::of_caller(Code::TOO_LARGE, format_args!("the body is larger than the limit of {limit} bytes"))
}

/// A body that keeps a pace, or ends with [`TooSlow`].
pub(super) struct Paced {
    body: Body,
    pace: Pace,
    /// None until the body is waited for: most are there at once.
    timer: Option<Pin<Box<Sleep>>>,
}

/// A body stood still, or came by drops.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the body came too slowly")]
struct TooSlow;

impl Paced {
    pub(super) fn new(body: Body) -> Self {
        Self { body, pace: Pace::begin(Instant::now()), timer: None }
    }
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            if let Some(Ok(frame)) = &frame {
                self.pace.came(frame.data_ref().map_or(0, Bytes::len), Instant::now());
            }
            return Poll::Ready(frame);
        }
        let until = self.pace.until();
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if timer.deadline() != until {
            timer.as_mut().reset(until);
        }
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Some(Err(TooSlow.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, time::Duration};

    use futures::stream;
    use http_body_util::StreamBody;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_body_above_the_limit_is_refused() {
        assert_eq!(whole(Body::from("1234"), 4).await.unwrap(), "1234");
        assert_eq!(whole(Body::from("12345"), 4).await.unwrap_err().code, Code::TOO_LARGE);
    }

    /// Pieces, each after its time, and then an end or none.
    fn arriving(pieces: Vec<(u64, usize)>, ends: bool) -> Body {
        let arrived = stream::unfold(pieces.into_iter(), move |mut left| async move {
            match left.next() {
                Some((seconds, bytes)) => {
                    tokio::time::sleep(Duration::from_secs(seconds)).await;
                    Some((Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b'x'; bytes]))), left))
                }
                None if ends => None,
                None => std::future::pending().await,
            }
        });
        Body::boxed(StreamBody::new(Box::pin(arrived)))
    }

    /// It kept its place among the few of long messages for as long as its connection lived.
    #[tokio::test(start_paused = true)]
    async fn a_body_that_stands_still_or_comes_by_drops_is_given_up_and_one_that_comes_is_not() {
        const MIB: usize = 1 << 20;
        for (pieces, ends, expected) in [
            (vec![], false, Err((Code::TIMEOUT, 60))),
            (vec![(0, 3 * MIB), (30, MIB)], false, Err((Code::TIMEOUT, 90))),
            (vec![(1, MIB - 1); 1], false, Err((Code::TIMEOUT, 60))),
            (vec![(1, 1); 1000], true, Err((Code::TIMEOUT, 60))),
            (vec![(59, MIB); 50], true, Ok(50 * MIB)),
            (vec![(59, MIB), (59, 1)], true, Ok(MIB + 1)),
            (vec![(1, 1); 50], true, Ok(50)),
            (vec![(0, 65 * MIB)], false, Err((Code::TOO_LARGE, 0))),
        ] {
            let (said, begun) = (format!("{pieces:?}"), Instant::now());
            let reading = whole(Paced::new(arriving(pieces, ends)), 64 << 20);
            // Of a clock that goes on when all wait.
            let read = timeout(Duration::from_secs(3600), reading).await.unwrap_or_else(|_| panic!("{said} hangs"));
            let read = read.map(|body| body.len()).map_err(|e| (e.code, begun.elapsed().as_secs()));
            assert_eq!(read, expected, "{said}");
        }
    }
}

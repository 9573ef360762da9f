//! What went of a request's body to a service that may yet say that it did not begin with it (REFUSED_STREAM, RFC 9113 section 8.7):
//! then all of it can go elsewhere.
//!
//! The frames are kept by reference, and no more of them than [`MOST`]. What comes behind those was not asked for yet.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, request};
use http_body::Frame;
use tokio::{sync::oneshot, time::timeout};

use super::body::Outgoing;

/// A service that has enough says so at once. What goes until then is at most what it takes unasked: 64 KiB, unless it says more.
const MOST: usize = 64 << 10;
/// The body is let go of by the connection's own task, which hears of the end at the same time.
const LET_GO: Duration = Duration::from_secs(5);

/// The frames that went.
#[derive(Debug, Default)]
pub(super) struct Spare {
    frames: Vec<Kept>,
    bytes: usize,
    /// The first that goes next, when they go again.
    pub(super) next: usize,
    /// Who has the body again when it is dropped.
    pub(super) back: Option<oneshot::Sender<Outgoing>>,
}

#[derive(Debug)]
enum Kept {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl Kept {
    fn len(&self) -> usize {
        match self {
            Self::Data(data) => data.len(),
            Self::Trailers(_) => 0,
        }
    }

    fn frame(&self) -> Frame<Bytes> {
        match self {
            Self::Data(data) => Frame::data(data.clone()),
            Self::Trailers(trailers) => Frame::trailers(trailers.clone()),
        }
    }
}

impl Spare {
    /// With a frame that goes now; `None` when that is too much.
    pub(super) fn with(mut self, frame: &Frame<Bytes>) -> Option<Self> {
        let kept = match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) => Kept::Data(data.clone()),
            (None, Some(trailers)) => Kept::Trailers(trailers.clone()),
            (None, None) => return None,
        };
        self.bytes += kept.len();
        self.frames.push(kept);
        self.next = self.frames.len();
        // Empty frames are none to collect either.
        (self.bytes <= MOST && self.frames.len() <= MOST / 64).then_some(self)
    }

    /// The next of those that go again.
    pub(super) fn next(&mut self) -> Option<Frame<Bytes>> {
        let frame = self.frames.get(self.next)?.frame();
        self.next += 1;
        Some(frame)
    }

    /// Whether all of them went.
    pub(super) fn is_gone(&self) -> bool {
        self.next >= self.frames.len()
    }

    /// Whether nobody will want them again: the service has answered.
    pub(super) fn is_over(&self) -> bool {
        self.is_gone() && self.back.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    /// The bytes of those that are to go again.
    pub(super) fn left(&self) -> u64 {
        self.frames.iter().skip(self.next).map(|kept| kept.len() as u64).sum()
    }
}

/// The body of a request, once the connection has let go of it.
pub(crate) struct Returning(pub(super) oneshot::Receiver<Outgoing>);

/// A request that can be made a second time.
pub(super) struct Again {
    head: request::Parts,
    body: Returning,
}

impl Again {
    /// Of a request that is about to go.
    pub(super) fn of(request: &mut Request<Outgoing>) -> Self {
        let body = request.body_mut().spared();
        let (mut head, ()) = Request::new(()).into_parts();
        head.method.clone_from(request.method());
        head.uri.clone_from(request.uri());
        head.version = request.version();
        head.headers.clone_from(request.headers());
        Self { head, body }
    }

    /// The request as it was; `None` where too much of it went.
    pub(super) async fn request(self) -> Option<Box<Request<Outgoing>>> {
        let body = timeout(LET_GO, self.body.0).await.ok()?.ok()?;
        Some(Box::new(Request::from_parts(self.head, body)))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full, StreamBody};
    use mesh_core::Body;

    use super::*;
    use crate::proxy::body::Progress;

    fn pieces(lengths: &[usize]) -> Body {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "1".parse().unwrap());
        let data = lengths.iter().map(|length| Frame::data(Bytes::from(vec![7; *length])));
        let frames: Vec<_> = data.chain([Frame::trailers(trailers)]).map(Ok::<_, std::io::Error>).collect();
        Body::boxed(StreamBody::new(futures::stream::iter(frames)))
    }

    /// A body of which `taken` frames went, and that came back.
    async fn back(body: Body, taken: usize) -> Option<Outgoing> {
        let mut request = Request::new(Outgoing::new(body, Progress::new()));
        let again = Again::of(&mut request);
        for _ in 0..taken {
            request.body_mut().frame().await;
        }
        drop(request);
        again.request().await.map(|request| request.into_body())
    }

    #[tokio::test]
    async fn a_body_goes_again_from_its_beginning_however_much_of_it_went() {
        for taken in 0..5 {
            let body = back(pieces(&[1, 2, 3]), taken).await.unwrap();
            let all = body.collect().await.unwrap();
            assert_eq!(all.trailers().unwrap()["x-sum"], "1");
            assert_eq!(all.to_bytes(), vec![7; 6], "{taken}");
        }
        for taken in [0, 1, 2] {
            let body = back(Body::boxed(Full::new(Bytes::from("hello"))), taken).await.unwrap();
            assert_eq!(http_body::Body::size_hint(&body).exact(), Some(5));
            assert!(!http_body::Body::is_end_stream(&body));
            assert_eq!(body.collect().await.unwrap().to_bytes(), "hello");
        }
    }

    #[tokio::test]
    async fn it_may_come_back_more_than_once() {
        let body = back(pieces(&[1, 2, 3]), 3).await.unwrap();
        let mut request = Request::new(body);
        let again = Again::of(&mut request);
        request.body_mut().frame().await;
        drop(request);
        let body = again.request().await.unwrap().into_body();
        assert_eq!(body.collect().await.unwrap().to_bytes(), vec![7; 6]);
    }

    #[tokio::test]
    async fn what_was_answered_is_kept_no_longer() {
        let data = Bytes::from(vec![7; 100]);
        let frames = [data.clone(), Bytes::new()].map(|data| Ok::<_, std::io::Error>(Frame::data(data)));
        let body = Body::boxed(StreamBody::new(futures::stream::iter(frames)));
        let mut request = Request::new(Outgoing::new(body, Progress::new()));
        let again = Again::of(&mut request);
        request.body_mut().frame().await;
        assert!(!data.is_unique());
        drop(again);
        request.body_mut().frame().await;
        assert!(data.is_unique());
    }

    #[tokio::test]
    async fn of_a_long_body_nothing_is_kept() {
        assert!(back(pieces(&[MOST, 1]), 1).await.is_some());
        assert!(back(pieces(&[MOST, 1]), 2).await.is_none());
        assert!(back(pieces(&[0; MOST]), MOST).await.is_none());
    }
}

//! A directory as a caller with a token sees it: questions, asked again where that may help, and files of its log.
//!
//! Asked again is what the node itself says will be otherwise soon (503, 429, `Retry-After`), and where a node that has answered before
//! is gone for a moment. A refusal stays one however often it is asked for.

use std::{cell::Cell, time::Duration};

use http::{
    HeaderMap, Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER},
};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::{
    Response,
    body::{Body as _, Incoming},
};
use mesh_core::Body;
use mesh_directory::{
    entry::Leaf,
    front::PREFIX,
    log::{Checkpoint, Note, bundle},
};
use serde_json::{Value, json};

use super::super::client;
use crate::{args::DirectoryCall, exit::Exit};

/// Answers come from memory, files of the log from a disk.
const LIMIT: Duration = Duration::from_secs(60);

/// A full bundle of the longest entries has 16 MiB, a body 64.
const LARGEST: usize = 128 << 20;

/// How often the same is asked: with a second between them longer than a node takes to start again.
const TRIES: usize = 10;

/// What is waited for where a node does not say, and at most where it does.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Entries of a bundle (contract 5.2).
pub(super) const BUNDLE: u64 = 256;

/// A refusal in the directory's words; where it said none, in those that came.
pub(super) fn refused(body: &[u8]) -> Exit {
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    match said["message"].as_str() {
        Some(message) => Exit::Refused(format!("{} {message}", said["code"])),
        None => Exit::Refused(String::from_utf8_lossy(body).into_owned()),
    }
}

/// Whether it says success, as a number or, as some say it, as a text of one (leniency 17).
fn is_success(said: &Value) -> bool {
    said["code"] == 200 || said["code"] == "200"
}

/// For how long to wait before the same is asked again; `None`: it would be answered the same.
fn again(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    let said = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    let is_busy = matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
    let waits = is_busy || headers.contains_key(RETRY_AFTER);
    waits.then(|| said.map_or(PAUSE, Duration::from_secs).min(LONGEST_PAUSE))
}

/// What is asked for.
enum Question<'a> {
    Get(&'a str),
    Post(&'a str, String),
}

/// The directory, and the token.
pub(super) struct Api<'a> {
    call: &'a DirectoryCall,
    /// Whether it was there a moment ago, and is expected to be there again.
    has_answered: Cell<bool>,
}

impl<'a> Api<'a> {
    pub(super) fn new(call: &'a DirectoryCall) -> Self {
        Self { call, has_answered: Cell::new(false) }
    }

    /// What is there to be read for as long as it comes, asked once.
    pub(super) async fn open(&self, path: &str) -> Result<Response<Incoming>, Exit> {
        self.send(&Question::Get(path)).await
    }

    async fn send(&self, question: &Question<'_>) -> Result<Response<Incoming>, Exit> {
        let (request, body) = match question {
            Question::Get(path) => (Request::get(format!("{PREFIX}{path}")), Body::Empty),
            Question::Post(path, text) => {
                let request = Request::post(format!("{PREFIX}{path}")).header(CONTENT_TYPE, "application/json");
                (request, Body::from(text.clone()))
            }
        };
        let bearer = self.call.token.iter().map(|token| format!("Bearer {token}"));
        let request = bearer.fold(request, |request, bearer| request.header(AUTHORIZATION, bearer));
        let request = request.body(body).map_err(|e| Exit::local("the call cannot be sent", e))?;
        client::send(&self.call.address, crds::DATA_PORT, request, LIMIT).await
    }

    /// Status, headers and bytes of one answer.
    async fn once(&self, question: &Question<'_>) -> Result<(StatusCode, HeaderMap, Vec<u8>), Exit> {
        let (head, body) = self.send(question).await?.into_parts();
        Ok((head.status, head.headers, self.bytes(body).await?))
    }

    async fn bytes(&self, body: Incoming) -> Result<Vec<u8>, Exit> {
        // However often it is asked for, it is as long.
        let too_long = || Exit::Refused(format!("{}: the answer has more than {LARGEST} bytes", self.call.address));
        if !usize::try_from(body.size_hint().lower()).is_ok_and(|length| length <= LARGEST) {
            return Err(too_long());
        }
        let body = Limited::new(body, LARGEST).collect().await;
        let failed = |e: Box<dyn std::error::Error + Send + Sync>| {
            if e.is::<LengthLimitError>() { too_long() } else { self.unreachable(&*e) }
        };
        Ok(body.map_err(failed)?.to_bytes().to_vec())
    }

    /// Status and bytes of the answer to a question that changes nothing.
    async fn whole(&self, question: Question<'_>) -> Result<(StatusCode, Vec<u8>), Exit> {
        let mut left = TRIES;
        loop {
            let came = self.once(&question).await;
            self.has_answered.set(self.has_answered.get() || came.is_ok());
            let pause = match &came {
                Ok((status, headers, _)) => again(*status, headers),
                Err(Exit::Unreachable(_)) => self.has_answered.get().then_some(PAUSE),
                Err(_) => None,
            };
            left = left.saturating_sub(1);
            match pause.filter(|_| left > 0) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return came.map(|(status, _, body)| (status, body)),
            }
        }
    }

    /// A file of the log.
    pub(super) async fn file(&self, path: &str) -> Result<Vec<u8>, Exit> {
        match self.whole(Question::Get(path)).await? {
            (status, body) if status.is_success() => Ok(body),
            (_, body) => Err(refused(&body)),
        }
    }

    /// The answer of a message. Its code counts: with `httpStatus: AlwaysOk` HTTP says nothing of it.
    async fn said(&self, question: Question<'_>) -> Result<Value, Exit> {
        let (_, body) = self.whole(question).await?;
        match serde_json::from_slice::<Value>(&body) {
            Ok(said) if is_success(&said) => Ok(said),
            _ => Err(refused(&body)),
        }
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, Exit> {
        self.said(Question::Get(path)).await
    }

    /// The same, where an answer that comes with a proof counts though it says that nothing is there.
    pub(super) async fn found(&self, path: &str, with_proof: bool) -> Result<Value, Exit> {
        let (_, body) = self.whole(Question::Get(path)).await?;
        match serde_json::from_slice::<Value>(&body) {
            Ok(said) if is_success(&said) || (with_proof && said["proof"].is_object()) => Ok(said),
            _ => Err(refused(&body)),
        }
    }

    pub(super) async fn ask(&self, path: &str, body: &Value) -> Result<Value, Exit> {
        let message = json!({"header": {"version": "datanet 1.0"}, "body": body}).to_string();
        self.said(Question::Post(path, message)).await
    }

    pub(super) fn unreachable(&self, error: &dyn std::fmt::Display) -> Exit {
        Exit::Unreachable(format!("{}: {error}", self.call.address))
    }

    /// Why what was asked for by [`open`](Self::open) is not there.
    pub(super) async fn refusal(&self, answer: Response<Incoming>) -> Exit {
        self.bytes(answer.into_body()).await.map_or_else(|error| error, |body| refused(&body))
    }

    /// The last checkpoint, as text and read.
    pub(super) async fn checkpoint(&self) -> Result<(String, Checkpoint), Exit> {
        let text = self.file("/log/checkpoint").await?;
        let read = Note::parse(&text).ok().and_then(|note| Checkpoint::parse(note.text()));
        let text = String::from_utf8(text).ok();
        text.zip(read).ok_or_else(|| Exit::Refused("the directory's checkpoint is none".into()))
    }

    /// The entries of bundle `number` of a log of `size`.
    pub(super) async fn bundle(&self, number: u64, size: u64) -> Result<Vec<String>, Exit> {
        let width = size.saturating_sub(number.saturating_mul(BUNDLE)).min(BUNDLE);
        let partial = if width == BUNDLE { String::new() } else { format!(".p/{width}") };
        let bytes = self.file(&format!("/log/tile/entries/{}{partial}", elements(number))).await?;
        let leaves = bundle::leaves(&bytes);
        let texts =
            leaves.and_then(|leaves| leaves.into_iter().map(|leaf| String::from_utf8(leaf.to_vec()).ok()).collect());
        texts.ok_or_else(|| Exit::Refused("the directory's entries are none".into()))
    }

    pub(super) async fn body(&self, leaf: &Leaf) -> Result<String, Exit> {
        let body = self.file(&format!("/log/body/{}", leaf.entry.body)).await?;
        String::from_utf8(body).map_err(|e| Exit::Refused(format!("a body: {e}")))
    }
}

/// The number of a tile in its path (c2sp.org/tlog-tiles).
fn elements(number: u64) -> String {
    let last = format!("{:03}", number % 1000);
    let mut rest = number / 1000;
    let mut parts = vec![last];
    while rest > 0 {
        parts.push(format!("x{:03}", rest % 1000));
        rest /= 1000;
    }
    parts.reverse();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use super::*;

    #[test]
    fn a_tile_has_the_path_of_the_specification() {
        for (number, path) in [(0, "000"), (999, "999"), (1000, "x001/000"), (1_234_067, "x001/x234/067")] {
            assert_eq!(elements(number), path);
        }
    }

    #[test]
    fn only_what_may_help_is_asked_again() {
        let headers = |said: Option<&str>| said.map(|said| (RETRY_AFTER, said.parse().unwrap())).into_iter().collect();
        for (status, said, expected) in [
            (200, None, None),
            (400, None, None),
            (404, None, None),
            (500, None, None),
            (503, None, Some(1)),
            (429, Some("3"), Some(3)),
            (503, Some("86400"), Some(30)),
            (503, Some("Sun, 22 Nov 2026 21:00:00 GMT"), Some(1)),
            // With httpStatus AlwaysOk.
            (200, Some("1"), Some(1)),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(again(status, &headers(said)), expected.map(Duration::from_secs), "{status} {said:?}");
        }
    }

    /// A node that answers one call after the other so, and closes the connection where there is nothing to say. Its address, and how
    /// many calls came.
    fn node(answers: Vec<&'static str>) -> (String, Arc<AtomicUsize>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, calls) = (listener.local_addr().unwrap().to_string(), Arc::<AtomicUsize>::default());
        let count = Arc::clone(&calls);
        std::thread::spawn(move || {
            for (answer, stream) in answers.iter().zip(listener.incoming()) {
                let mut stream = stream.unwrap();
                let (mut read, mut byte) = (Vec::new(), [0]);
                while !read.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read > 0) {
                    read.push(byte[0]);
                }
                count.fetch_add(1, Ordering::SeqCst);
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        (address, calls)
    }

    fn call(address: String) -> DirectoryCall {
        DirectoryCall { address, token: None }
    }

    const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n{\"code\":200}";

    /// Any refusal was repeated ten times.
    #[tokio::test]
    async fn a_refusal_is_asked_for_once() {
        let refusal = "HTTP/1.1 400 Bad Request\r\ncontent-length: 31\r\n\r\n{\"code\":7300,\"message\":\"words\"}";
        let (address, calls) = node(vec![refusal, GOOD]);
        let refused = Api::new(&call(address)).get("/x").await.unwrap_err();
        assert_eq!((refused.to_string(), calls.load(Ordering::SeqCst)), ("7300 words".to_owned(), 1));
    }

    #[tokio::test]
    async fn a_node_that_is_busy_or_gone_for_a_moment_is_asked_again() {
        let busy = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n";
        let (address, calls) = node(vec![busy, busy, GOOD, "", GOOD]);
        let call = call(address);
        let api = Api::new(&call);
        assert_eq!(api.get("/x").await.unwrap(), json!({"code": 200}));
        assert_eq!(calls.load(Ordering::SeqCst), 3);
        assert_eq!(api.get("/x").await.unwrap(), json!({"code": 200}), "it was there, and comes again");
        assert_eq!(calls.load(Ordering::SeqCst), 5);
    }

    /// It was taken for a node that is gone.
    #[tokio::test]
    async fn an_answer_that_is_too_long_is_asked_for_once() {
        let long = "HTTP/1.1 200 OK\r\ncontent-length: 134217729\r\n\r\n";
        let (address, calls) = node(vec![GOOD, long, GOOD]);
        let call = call(address);
        let api = Api::new(&call);
        assert!(api.get("/x").await.is_ok());
        let refused = api.get("/x").await.unwrap_err();
        assert!(
            matches!(refused, Exit::Refused(_)) && refused.to_string().contains("more than 134217728"),
            "{refused}"
        );
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_node_that_was_never_there_is_not_waited_for() {
        let (address, calls) = node(vec!["", GOOD]);
        assert!(matches!(Api::new(&call(address)).get("/x").await, Err(Exit::Unreachable(_))));
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_code_is_a_number_or_the_text_of_one() {
        assert!(is_success(&json!({"code": 200})) && is_success(&json!({"code": "200"})));
        assert!(!is_success(&json!({"code": 7300})) && !is_success(&json!({})));
    }
}

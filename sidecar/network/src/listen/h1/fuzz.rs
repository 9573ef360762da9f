//! The short way's reader against hyper's: what it takes, hyper takes too, with the same meaning and the same end. How it runs,
//! and where its inputs lie, says `sidecar/fuzz`.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri, Version};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt as _;

use super::head::{self, Head};

/// What comes behind every input that is taken. If a reader is wrong about the end of a request, it does not come as itself.
const MARKER: &[u8] = b"GET /marker HTTP/1.1\r\nhost: marker\r\n\r\n";

/// Bodies are given whole up to this; longer ones are compared by what is announced.
const LONGEST: u64 = 1 << 12;

/// A request as a reader understood it.
#[derive(Debug, PartialEq)]
struct Read {
    method: Method,
    uri: Uri,
    version: Version,
    headers: HeaderMap,
    body: Bytes,
}

/// Whatever the short way takes for a request is that request to a reader that knows all of HTTP/1.1, and what stands behind
/// it is the next one. What it does not take is read by that one alone.
#[test]
fn http1_head() {
    fuzz::run("http1-head", |bytes| {
        let Ok(Some(end)) = head::end(bytes) else { return };
        let (head, rest) = bytes.split_at(end);
        assert!(head::end(head) == Ok(Some(end)), "a head is as long with its body as without");
        let Ok(Head { request, length }) = head::read(head) else { return };
        assert!(request.headers().len() <= 32 && request.version() == Version::HTTP_11);
        if length > LONGEST {
            return;
        }
        let mut body = rest.to_vec();
        body.resize(usize::try_from(length).unwrap(), b'x');
        let ours = read(request, body.clone().into());
        let marker = Read {
            method: Method::GET,
            uri: Uri::from_static("/marker"),
            version: Version::HTTP_11,
            headers: HeaderMap::from_iter([(http::header::HOST, http::HeaderValue::from_static("marker"))]),
            body: Bytes::new(),
        };
        assert_eq!(by_hyper(&[head, &body, MARKER].concat()), [ours, marker]);
    });
}

fn read(request: Request<()>, body: Bytes) -> Read {
    let (head, ()) = request.into_parts();
    Read { method: head.method, uri: head.uri, version: head.version, headers: head.headers, body }
}

/// The requests that hyper reads of these bytes.
fn by_hyper(bytes: &[u8]) -> Vec<Read> {
    let all = Arc::<Mutex<Vec<Read>>>::default();
    let seen = Arc::clone(&all);
    let service = service_fn(move |request: Request<Incoming>| {
        let seen = Arc::clone(&seen);
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            seen.lock().push(read(Request::from_parts(head, ()), body));
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let work = async {
        let (mut client, server) = tokio::io::duplex(bytes.len() + (1 << 16));
        client.write_all(bytes).await.unwrap();
        client.shutdown().await.unwrap();
        // The end behind the bytes is not the client's: all of them are read. What comes of it is of no interest here.
        let _ = http1::Builder::new().half_close(true).serve_connection(TokioIo::new(server), service).await;
    };
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work);
    Arc::try_unwrap(all).unwrap().into_inner()
}

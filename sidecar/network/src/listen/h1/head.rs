//! The head of a request, read strictly: whatever leaves a doubt about where a request ends, or asks for more than one
//! answer, is odd and is not read here.
//!
//! Pure: bytes in, a request out.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version,
    header::{self, Entry},
    uri::PathAndQuery,
};
use memchr::memchr_iter;

/// Headers of a plain request; SDKs send about ten. A request with more is odd.
const MOST_HEADERS: usize = 32;
/// Whoever passes a request on adds about as many headers; there is room for them from the beginning.
const ADDED: usize = 5;

/// The names that every SDK sends (PTP section 4.1) and that `http` does not know: taken from here, they cost no allocation.
static KNOWN: [HeaderName; 8] = [
    HeaderName::from_static("x-ptp-version"),
    HeaderName::from_static("x-ptp-tech-provider-code"),
    HeaderName::from_static("x-ptp-token"),
    HeaderName::from_static("x-ptp-trace-id"),
    HeaderName::from_static("x-ptp-session-id"),
    HeaderName::from_static("x-ptp-topic"),
    HeaderName::from_static("x-ptp-source-node-id"),
    HeaderName::from_static("x-ptp-target-node-id"),
];

/// A plain request, and how long its body is.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) request: Request<()>,
    pub(super) length: u64,
}

/// The request is for a reader that knows all of HTTP/1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Odd;

/// Where the head of the first request ends, behind the empty line; `None` where it is not whole yet.
///
/// # Errors
/// A line that does not end with CR LF: readers differ in whether it ends at all.
pub(super) fn end(bytes: &[u8]) -> Result<Option<usize>, Odd> {
    let mut line = 0;
    for feed in memchr_iter(b'\n', bytes) {
        match feed.checked_sub(1).and_then(|before| bytes.get(before)) {
            Some(b'\r') if feed == line + 1 => return Ok(Some(feed + 1)),
            Some(b'\r') => line = feed + 1,
            _ => return Err(Odd),
        }
    }
    Ok(None)
}

/// Whether these first bytes of a request can still become a plain one.
pub(super) fn begins_plainly(bytes: &[u8]) -> bool {
    [&b"POST /"[..], b"GET /"].iter().any(|begin| begin.iter().zip(bytes).all(|(a, b)| a == b))
}

/// Reads a whole head, as [`end`] found it.
pub(super) fn read(bytes: &[u8]) -> Result<Head, Odd> {
    if !begins_plainly(bytes) {
        return Err(Odd);
    }
    // One copy of the head; names, values and the target are parts of it.
    let bytes = Bytes::copy_from_slice(bytes);
    let mut lines = [const { MaybeUninit::uninit() }; MOST_HEADERS];
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(&bytes, &mut lines) {
        Ok(httparse::Status::Complete(end)) if end == bytes.len() && parsed.version == Some(1) => {}
        _ => return Err(Odd),
    }
    let mut request = Request::new(());
    *request.version_mut() = Version::HTTP_11;
    *request.method_mut() = if parsed.method == Some("GET") { Method::GET } else { Method::POST };
    let target = parsed.path.filter(|target| target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'));
    let target = bytes.slice_ref(target.ok_or(Odd)?.as_bytes());
    *request.uri_mut() = Uri::from(PathAndQuery::from_maybe_shared(target).map_err(|_| Odd)?);
    let mut headers = HeaderMap::with_capacity(parsed.headers.len() + ADDED);
    for line in parsed.headers.iter() {
        let name = name(line.name)?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(line.value)).map_err(|_| Odd)?;
        take(&mut headers, name, value)?;
    }
    let length = length(&headers)?;
    if request.method() == Method::GET && length > 0 {
        return Err(Odd);
    }
    *request.headers_mut() = headers;
    Ok(Head { request, length })
}

fn name(text: &str) -> Result<HeaderName, Odd> {
    let known = KNOWN.iter().find(|known| known.as_str().eq_ignore_ascii_case(text));
    known.map_or_else(|| HeaderName::from_bytes(text.as_bytes()).map_err(|_| Odd), |known| Ok(known.clone()))
}

/// Takes a header in, unless it changes how requests and answers are told apart.
fn take(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) -> Result<(), Odd> {
    let is_odd = match name {
        header::TRANSFER_ENCODING | header::TE | header::TRAILER | header::UPGRADE | header::EXPECT => true,
        header::CONNECTION => !value.as_bytes().eq_ignore_ascii_case(b"keep-alive"),
        _ => false,
    };
    if is_odd {
        return Err(Odd);
    }
    match headers.try_entry(name).map_err(|_| Odd)? {
        Entry::Vacant(place) => {
            place.try_insert(value).map_err(|_| Odd)?;
        }
        // What says where a request ends or whom it is for is said once.
        Entry::Occupied(place)
            if matches!(*place.key(), header::CONTENT_LENGTH | header::HOST | header::CONNECTION) =>
        {
            return Err(Odd);
        }
        Entry::Occupied(mut place) => place.append(value),
    }
    Ok(())
}

/// The length of the body.
fn length(headers: &HeaderMap) -> Result<u64, Odd> {
    let Some(value) = headers.get(header::CONTENT_LENGTH) else { return Ok(0) };
    number(value.as_bytes()).ok_or(Odd)
}

/// Plain digits, few enough that they cannot overflow.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    let fits = !digits.is_empty() && digits.len() <= 18 && digits.iter().all(u8::is_ascii_digit);
    fits.then(|| digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_plain_request_is_read() {
        let bytes = b"POST /v1/x?a=b HTTP/1.1\r\nHost: localhost\r\nX-Ptp-Topic:  t \r\naccept: a\r\naccept: b\r\nContent-Length: 12\r\n\r\n";
        assert_eq!(end(bytes), Ok(Some(bytes.len())));
        let Head { request, length } = read(bytes).unwrap();
        assert_eq!((request.method(), request.uri(), length), (&Method::POST, &Uri::from_static("/v1/x?a=b"), 12));
        let headers: Vec<_> = request.headers().iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
        let expected =
            [("host", "localhost"), ("x-ptp-topic", "t"), ("accept", "a"), ("accept", "b"), ("content-length", "12")];
        assert_eq!(headers, expected);
    }

    #[test]
    fn whatever_leaves_a_doubt_is_odd() {
        let odd = [
            "PUT / HTTP/1.1\r\n\r\n",
            "\r\nGET / HTTP/1.1\r\n\r\n",
            "GET http://localhost/ HTTP/1.1\r\n\r\n",
            "GET /a b HTTP/1.1\r\n\r\n",
            "GET /a#b HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "GET / HTTP/1.1\nhost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\rb\r\n\r\n",
            "GET / HTTP/1.1\r\nhost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nx: a\r\n b\r\n\r\n",
            "GET / HTTP/1.1\r\ncontent-length: 1\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 1, 1\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: +1\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 0x1\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length:\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 1000000000000000000\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: identity\r\n\r\n",
            "POST / HTTP/1.1\r\nexpect: 100-continue\r\n\r\n",
            "GET / HTTP/1.1\r\nupgrade: h2c\r\n\r\n",
            "GET / HTTP/1.1\r\nconnection: close\r\n\r\n",
            "GET / HTTP/1.1\r\nconnection: keep-alive, upgrade\r\n\r\n",
            "GET / HTTP/1.1\r\nx: \x01\r\n\r\n",
        ];
        for text in odd {
            let whole = end(text.as_bytes()).map(|end| read(&text.as_bytes()[..end.unwrap()]));
            assert_eq!(whole.and_then(|read| read).unwrap_err(), Odd, "{text:?}");
        }
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(MOST_HEADERS + 1));
        assert_eq!(read(many.as_bytes()).unwrap_err(), Odd);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (end(&bytes), read(&bytes));
            let _ = read(&[b"POST / HTTP/1.1\r\n", &bytes[..], b"\r\n\r\n"].concat());
        }
    }
}

//! Heads of HTTP/1.1 towards a service: the request's is written, the answer's is read strictly. Whatever leaves a doubt about
//! where an answer ends is no answer (RFC 9112 section 6.3): its rest would be taken for another caller's.
//!
//! Pure: bytes in, bytes out.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version,
    header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING},
    request::Parts,
};

/// Headers of an answer; real ones have some twenty.
const MOST_HEADERS: usize = 128;

/// How a body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// So many bytes; nought is no body at all.
    Exact(u64),
    /// Chunk by chunk, with trailers behind.
    Chunked,
    /// By the end of the connection.
    Close,
}

/// What becomes of the connection behind an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// It takes the next request.
    Stays,
    /// It is closed.
    Closes,
}

/// The head of an answer.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) answer: Response<()>,
    pub(super) length: Length,
    pub(super) after: After,
}

/// Why an answer is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Bad(pub(super) &'static str);

/// Writes the head of a request. The headers say nothing about the length of its body; `length` does.
pub(super) fn put(out: &mut Vec<u8>, head: &Parts, length: Length) {
    out.extend_from_slice(head.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.uri.path_and_query().map_or("/", |target| target.as_str()).as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    for (name, value) in &head.headers {
        if *name != CONTENT_LENGTH && *name != TRANSFER_ENCODING {
            put_header(out, name, value);
        }
    }
    match length {
        Length::Exact(0) if !expects_a_body(&head.method) => {}
        Length::Exact(length) => out.extend_from_slice(format!("content-length: {length}\r\n").as_bytes()),
        Length::Chunked | Length::Close => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    out.extend_from_slice(b"\r\n");
}

/// One line of a head or of trailers.
pub(super) fn put_header(out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// RFC 9110 section 8.6: who has nothing to send says so where something is expected.
fn expects_a_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// Reads the first head among `bytes`, with the number of bytes that it takes; `None` until it is whole. `method` is the
/// request's.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(bytes: &[u8], method: &Method) -> Result<Option<(Head, usize)>, Bad> {
    let mut lines = [const { MaybeUninit::uninit() }; MOST_HEADERS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let end = match config.parse_response_with_uninit_headers(&mut parsed, bytes, &mut lines) {
        Ok(httparse::Status::Complete(end)) => end,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Bad("its head has more than 128 headers")),
        Err(_) => return Err(Bad("it answered no HTTP/1.1")),
    };
    // One copy of the head; names and values are parts of it.
    let own = Bytes::copy_from_slice(&bytes[..end]);
    let place = |part: &[u8]| {
        if part.is_empty() {
            return Bytes::new();
        }
        let start = part.as_ptr() as usize - bytes.as_ptr() as usize;
        own.slice(start..start + part.len())
    };
    let mut headers = HeaderMap::with_capacity(parsed.headers.len());
    for line in parsed.headers.iter() {
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| Bad("a header has no name"))?;
        let value = HeaderValue::from_maybe_shared(place(line.value)).map_err(|_| Bad("a header has no value"))?;
        headers.try_append(name, value).map_err(|_| Bad("its head has too many headers"))?;
    }
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Bad("its status is none"))?;
    let version = if parsed.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    let length = length(method, status, version, &mut headers)?;
    let after = after(version, length, &headers);
    let mut answer = Response::new(());
    (*answer.status_mut(), *answer.headers_mut()) = (status, headers);
    Ok(Some((Head { answer, length, after }, end)))
}

fn length(method: &Method, status: StatusCode, version: Version, headers: &mut HeaderMap) -> Result<Length, Bad> {
    let coded = is_chunked(version, headers)?;
    let announced = announced(headers)?;
    if coded && announced.is_some() {
        return Err(Bad("it says its length in two ways"));
    }
    let has_none = status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    Ok(match announced {
        _ if has_none || method == Method::HEAD => Length::Exact(0),
        Some(length) => Length::Exact(length),
        None if coded => Length::Chunked,
        None => Length::Close,
    })
}

fn is_chunked(version: Version, headers: &HeaderMap) -> Result<bool, Bad> {
    let mut values = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(value) = values.next() else { return Ok(false) };
    let is_plain = value.as_bytes().eq_ignore_ascii_case(b"chunked") && values.next().is_none();
    if is_plain && version == Version::HTTP_11 {
        Ok(true)
    } else {
        Err(Bad("its transfer-encoding is not chunked alone"))
    }
}

/// The length that is announced: once, or several times the same.
fn announced(headers: &mut HeaderMap) -> Result<Option<u64>, Bad> {
    let mut announced = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        for digits in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            let length = number(digits).ok_or(Bad("its content-length is no number"))?;
            if announced.replace(length).is_some_and(|before| before != length) {
                return Err(Bad("it says two lengths"));
            }
        }
    }
    if headers.get_all(CONTENT_LENGTH).iter().nth(1).is_some()
        && let Some(length) = announced
    {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    Ok(announced)
}

/// Plain digits, few enough that they cannot overflow.
fn number(digits: &[u8]) -> Option<u64> {
    let fits = !digits.is_empty() && digits.len() <= 18 && digits.iter().all(u8::is_ascii_digit);
    fits.then(|| digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

fn after(version: Version, length: Length, headers: &HeaderMap) -> After {
    let mut tokens = headers.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let closes = tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"));
    if closes || version != Version::HTTP_11 || length == Length::Close { After::Closes } else { After::Stays }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;

    use super::*;

    fn answer(bytes: &str) -> Result<(u16, Length, After), Bad> {
        let (head, end) = read(bytes.as_bytes(), &Method::GET)?.expect("a whole head");
        assert_eq!(end, bytes.len());
        Ok((head.answer.status().as_u16(), head.length, head.after))
    }

    #[test]
    fn where_an_answer_ends_is_said_in_one_way() {
        use self::{After::*, Length::*};
        for (lines, expected) in [
            ("200 OK\r\ncontent-length: 5", Ok((200, Exact(5), Stays))),
            ("200 OK\r\ncontent-length: 5\r\ncontent-length: 5", Ok((200, Exact(5), Stays))),
            ("200 OK\r\ncontent-length: 5, 5", Ok((200, Exact(5), Stays))),
            ("200 OK\r\nTransfer-Encoding: Chunked", Ok((200, Chunked, Stays))),
            ("200 OK\r\nconnection: Keep-Alive, Close\r\ncontent-length: 0", Ok((200, Exact(0), Closes))),
            ("200 OK", Ok((200, Close, Closes))),
            ("204 No Content", Ok((204, Exact(0), Stays))),
            ("304 Not Modified\r\ncontent-length: 7", Ok((304, Exact(0), Stays))),
            ("200", Ok((200, Close, Closes))),
            ("200 OK\r\ncontent-length: 5\r\ncontent-length: 6", Err("it says two lengths")),
            ("200 OK\r\ncontent-length: 5, 6", Err("it says two lengths")),
            ("200 OK\r\ncontent-length: -1", Err("its content-length is no number")),
            ("200 OK\r\ncontent-length: +1", Err("its content-length is no number")),
            ("200 OK\r\ncontent-length:", Err("its content-length is no number")),
            ("200 OK\r\ncontent-length: 9999999999999999999", Err("its content-length is no number")),
            ("200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked", Err("it says its length in two ways")),
            ("200 OK\r\ntransfer-encoding: gzip", Err("its transfer-encoding is not chunked alone")),
            ("200 OK\r\ntransfer-encoding: chunked, chunked", Err("its transfer-encoding is not chunked alone")),
            (
                "200 OK\r\ntransfer-encoding: x\r\ntransfer-encoding: chunked",
                Err("its transfer-encoding is not chunked alone"),
            ),
            ("200 OK\r\nx: a\r\n b", Err("it answered no HTTP/1.1")),
            ("200 OK\r\nx : a", Err("it answered no HTTP/1.1")),
            ("200 OK\r\nx: a\0b", Err("it answered no HTTP/1.1")),
            ("20 OK", Err("it answered no HTTP/1.1")),
            ("099 OK\r\ncontent-length: 0", Err("its status is none")),
        ] {
            assert_eq!(answer(&format!("HTTP/1.1 {lines}\r\n\r\n")), expected.map_err(Bad), "{lines}");
        }
        assert_eq!(answer("HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\n"), Ok((200, Exact(5), Closes)));
        let coded = "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(answer(coded), Err(Bad("its transfer-encoding is not chunked alone")));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(MOST_HEADERS + 1));
        assert_eq!(answer(&many), Err(Bad("its head has more than 128 headers")));
    }

    #[test]
    fn the_answer_of_a_head_request_has_no_body_whatever_it_says() {
        let bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
        let (head, _) = read(bytes, &Method::HEAD).unwrap().unwrap();
        assert_eq!((head.length, head.answer.headers()["content-length"].to_str().unwrap()), (Length::Exact(0), "5"));
    }

    #[test]
    fn a_head_is_read_once_it_is_whole_and_what_follows_is_left() {
        let bytes = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\n\r\nbody";
        for end in 0..34 {
            assert!(read(&bytes[..end], &Method::GET).unwrap().is_none(), "{end}");
        }
        let (head, end) = read(bytes, &Method::GET).unwrap().unwrap();
        assert_eq!(&bytes[end..], b"body");
        let values: Vec<_> = head.answer.headers().get_all("x-a").iter().collect();
        assert_eq!(values, ["1", "2"]);
    }

    #[test]
    fn a_request_says_its_length_once() {
        let written = |method: Method, length| {
            let request =
                Request::builder().method(method).uri("/a?b").header("host", "h").header("content-length", "9");
            let (parts, ()) = request.header("x", "y").body(()).unwrap().into_parts();
            let mut out = Vec::new();
            put(&mut out, &parts, length);
            String::from_utf8(out).unwrap()
        };
        let with = |line: &str| format!(" /a?b HTTP/1.1\r\nhost: h\r\nx: y\r\n{line}\r\n");
        assert_eq!(written(Method::POST, Length::Exact(5)), format!("POST{}", with("content-length: 5\r\n")));
        assert_eq!(written(Method::POST, Length::Exact(0)), format!("POST{}", with("content-length: 0\r\n")));
        assert_eq!(written(Method::GET, Length::Exact(0)), format!("GET{}", with("")));
        assert_eq!(written(Method::GET, Length::Chunked), format!("GET{}", with("transfer-encoding: chunked\r\n")));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes, &Method::GET);
            let _ = read(&[b"HTTP/1.1 200 OK\r\n", &bytes[..], b"\r\n\r\n"].concat(), &Method::GET);
        }
    }
}

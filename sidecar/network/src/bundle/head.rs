//! What stands before the body of a call or an answer in a bundle: where it goes or how it went, and headers. Names that
//! every call has are one byte, and every value is a part of what came.
//!
//! ```text
//! call     length of all of this (2 bytes), target (2 bytes of length, text), headers
//! answer   length of all of this (2 bytes), status (2 bytes), headers
//! header   a name by its number in the table (1 byte), or 0, 1 byte of length, text; value (2 bytes of length, bytes)
//! ```
//! All calls are POST. Pure.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};

use super::{LONGEST_HEAD, frame::Broken};

/// The names that are one byte: their place and one. Never reordered; a longer table is another [`super::ALPN`].
static NAMES: [HeaderName; 17] = [
    header::CONTENT_TYPE,
    HeaderName::from_static("x-ptp-uri"),
    HeaderName::from_static("x-ptp-version"),
    HeaderName::from_static("x-ptp-source-node-id"),
    HeaderName::from_static("x-ptp-source-inst-id"),
    HeaderName::from_static("x-ptp-target-node-id"),
    HeaderName::from_static("x-ptp-target-inst-id"),
    HeaderName::from_static("x-ptp-session-id"),
    HeaderName::from_static("x-ptp-topic"),
    HeaderName::from_static("x-ptp-timeout"),
    HeaderName::from_static("x-ptp-message-id"),
    HeaderName::from_static("mesh-mdc"),
    HeaderName::from_static("x-ptp-trace-id"),
    HeaderName::from_static("x-ptp-token"),
    HeaderName::from_static("x-ptp-tech-provider-code"),
    HeaderName::from_static("x-ptp-lease"),
    HeaderName::from_static("x-ptp-redelivered"),
];

/// Headers of one head; a call between nodes has about a dozen.
pub(crate) const MOST_HEADERS: usize = 64;

/// How long the head of this request is, or a little less.
pub(crate) fn length(request: &Request<impl Sized>) -> usize {
    let target = request.uri().path_and_query().map_or(1, |target| target.as_str().len());
    request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum::<usize>() + target + 4
}

/// Adds the head of a call.
pub(crate) fn put_call(out: &mut Vec<u8>, request: &Request<impl Sized>) {
    put_sized(out, |out| {
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        put_value(out, target.as_bytes());
        put_headers(out, request.headers());
    });
}

/// Adds the head of an answer.
pub(crate) fn put_answer(out: &mut Vec<u8>, status: StatusCode, headers: &HeaderMap) {
    put_sized(out, |out| {
        out.extend_from_slice(&status.as_u16().to_be_bytes());
        put_headers(out, headers);
    });
}

/// Reads a call: its request, and its body.
pub(crate) fn call(content: &[u8]) -> Result<(Request<()>, &[u8]), Broken> {
    let (head, body) = apart(content)?;
    let mut rest = head.clone();
    let target = take_value(&mut rest)?;
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = match Uri::from_maybe_shared(target) {
        Ok(uri) if uri.path().starts_with('/') && uri.authority().is_none() => uri,
        _ => return Err(Broken::Head("names no path")),
    };
    *request.headers_mut() = headers(rest)?;
    Ok((request, body))
}

/// Reads an answer: its head, and its body.
pub(crate) fn answer(content: &[u8]) -> Result<(Response<()>, &[u8]), Broken> {
    let (mut rest, body) = apart(content)?;
    let [high, low] = take(&mut rest)?;
    let mut response = Response::new(());
    *response.version_mut() = Version::HTTP_2;
    *response.status_mut() =
        StatusCode::from_u16(u16::from_be_bytes([high, low])).map_err(|_| Broken::Head("has no status"))?;
    *response.headers_mut() = headers(rest)?;
    Ok((response, body))
}

/// The head, copied: what is kept of it keeps no other call's bytes. And what follows.
fn apart(content: &[u8]) -> Result<(Bytes, &[u8]), Broken> {
    let (length, rest) = content.split_first_chunk().ok_or(CUT)?;
    let length = usize::from(u16::from_be_bytes(*length));
    if length > LONGEST_HEAD {
        return Err(Broken::Head("is too long"));
    }
    let (head, body) = rest.split_at_checked(length).ok_or(CUT)?;
    Ok((Bytes::copy_from_slice(head), body))
}

const CUT: Broken = Broken::Head("is cut short");

fn headers(mut rest: Bytes) -> Result<HeaderMap, Broken> {
    let mut headers = HeaderMap::with_capacity(16);
    while !rest.is_empty() {
        if headers.len() >= MOST_HEADERS {
            return Err(Broken::Head("has too many headers"));
        }
        let name = name(&mut rest)?;
        let value = HeaderValue::from_maybe_shared(take_value(&mut rest)?);
        let value = value.map_err(|_| Broken::Head("has a value that is none"))?;
        headers.try_append(name, value).map_err(|_| Broken::Head("has too many headers"))?;
    }
    Ok(headers)
}

fn name(rest: &mut Bytes) -> Result<HeaderName, Broken> {
    let [number] = take(rest)?;
    let Some(place) = usize::from(number).checked_sub(1) else {
        let [length] = take(rest)?;
        let text = take_bytes(rest, usize::from(length))?;
        return HeaderName::from_bytes(&text).map_err(|_| Broken::Head("has a name that is none"));
    };
    NAMES.get(place).cloned().ok_or(Broken::Head("has a name of which nobody knows"))
}

fn take<const N: usize>(rest: &mut Bytes) -> Result<[u8; N], Broken> {
    let taken = *rest.first_chunk().ok_or(CUT)?;
    drop(rest.split_to(N));
    Ok(taken)
}

fn take_bytes(rest: &mut Bytes, length: usize) -> Result<Bytes, Broken> {
    if rest.len() < length { Err(CUT) } else { Ok(rest.split_to(length)) }
}

fn take_value(rest: &mut Bytes) -> Result<Bytes, Broken> {
    let length = u16::from_be_bytes(take(rest)?);
    take_bytes(rest, usize::from(length))
}

/// What `fill` adds, behind its length.
fn put_sized(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 2]);
    fill(out);
    // Whoever calls has looked at the length before; the other side refuses what was cut.
    let length = u16::try_from(out.len() - start - 2).unwrap_or(u16::MAX).to_be_bytes();
    if let Some(place) = out.get_mut(start..start + 2) {
        place.copy_from_slice(&length);
    }
}

fn put_headers(out: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        match NAMES.iter().position(|known| known == name).and_then(|place| u8::try_from(place + 1).ok()) {
            Some(number) => out.push(number),
            None => {
                let text = name.as_str().as_bytes();
                // Longer names are nobody's.
                let Ok(length) = u8::try_from(text.len()) else { continue };
                out.extend_from_slice(&[0, length]);
                out.extend_from_slice(text);
            }
        }
        put_value(out, value.as_bytes());
    }
}

fn put_value(out: &mut Vec<u8>, value: &[u8]) {
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value.get(..usize::from(length)).unwrap_or(value));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request<()> {
        let mut request = Request::post("/v1/interconn/chan/invoke?a=b").body(()).unwrap();
        let all = [("x-ptp-topic", "t"), ("x-other", "o"), ("mesh-mdc", "a"), ("mesh-mdc", "b"), ("x-ptp-token", "")];
        for (name, value) in all {
            request.headers_mut().append(name, HeaderValue::from_static(value));
        }
        request
    }

    #[test]
    fn a_call_is_read_as_it_was_written() {
        let mut bytes = Vec::new();
        put_call(&mut bytes, &request());
        assert!(bytes.len() < length(&request()) + 16);
        bytes.extend_from_slice(b"body");
        let (read, body) = call(&bytes).unwrap();
        let whole = request();
        assert_eq!((read.method(), read.uri(), read.headers()), (whole.method(), whole.uri(), whole.headers()));
        assert_eq!((read.version(), body), (Version::HTTP_2, &b"body"[..]));
    }

    #[test]
    fn an_answer_is_read_as_it_was_written() {
        let mut bytes = Vec::new();
        put_answer(&mut bytes, StatusCode::SERVICE_UNAVAILABLE, request().headers());
        bytes.extend_from_slice(b"body");
        let (read, body) = answer(&bytes).unwrap();
        assert_eq!(
            (read.status(), read.headers(), body),
            (StatusCode::SERVICE_UNAVAILABLE, request().headers(), &b"body"[..])
        );
    }

    #[test]
    fn a_head_that_leaves_a_doubt_is_refused() {
        let odd: [&[u8]; 9] = [
            b"",
            b"\0\x09\0\x01/",
            b"\0\x03\0\x02/",
            b"\0\x03\0\x01*",
            b"\0\x0b\0\x09http://a/",
            b"\0\x04\0\x01/\x63",
            b"\0\x07\0\x01/\x01\0\x05a",
            b"\0\x07\0\x01/\x01\0\x01\n",
            b"\0\x09\0\x01/\0\x01 \0\x01a",
        ];
        for bytes in odd {
            assert!(call(bytes).is_err(), "{bytes:?}");
        }
        let mut many = HeaderMap::new();
        for _ in 0..=MOST_HEADERS {
            many.append("mesh-mdc", HeaderValue::from_static("a"));
        }
        let mut bytes = Vec::new();
        put_answer(&mut bytes, StatusCode::OK, &many);
        assert!(answer(&bytes).is_err());
    }
}

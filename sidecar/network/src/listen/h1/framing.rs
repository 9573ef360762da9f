//! How the end of an answer's body is told (RFC 9112 section 6.3): by its length where that is known, else chunk by chunk.
//!
//! Pure. Holds a body to what its head said: one that is shorter or longer ends the connection, never within another answer.

use std::io;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header, response::Parts};
use http_body::Body as _;
use mesh_core::Body;

/// A chunk up to this size is put together with what stands around it.
const SMALL: usize = 8 * 1024;

/// How a body is told from what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes of it are still to come.
    Length(u64),
    Chunked,
}

/// What the head must say of it beside its headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// There is no body, or a header says its length.
    Nothing,
    Length(u64),
    Chunked,
}

impl Framing {
    /// The parts that a piece becomes at most.
    pub(super) const MOST_PARTS: usize = 3;

    /// How an answer is framed. Takes off what its headers say otherwise.
    pub(super) fn of(head: &mut Parts, body: &mut Body) -> (Self, Said) {
        let headers = &mut head.headers;
        headers.remove(header::TRANSFER_ENCODING);
        if head.status.is_informational() || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            if head.status != StatusCode::NOT_MODIFIED {
                headers.remove(header::CONTENT_LENGTH);
            }
            *body = Body::Empty;
            return (Self::Length(0), Said::Nothing);
        }
        let said = said_length(headers);
        let Some(length) = body.size_hint().exact().or(said) else {
            headers.remove(header::CONTENT_LENGTH);
            return (Self::Chunked, Said::Chunked);
        };
        if said == Some(length) {
            return (Self::Length(length), Said::Nothing);
        }
        headers.remove(header::CONTENT_LENGTH);
        (Self::Length(length), Said::Length(length))
    }

    /// So much of the body went by another way. Only what has a length does.
    pub(super) fn passed(&mut self, bytes: usize) {
        if let Self::Length(left) = self {
            *left = left.saturating_sub(bytes as u64);
        }
    }

    /// Gives to `out` what is written for the next piece of the body, or for its end.
    ///
    /// # Errors
    /// The body is shorter, or longer, than its head said.
    pub(super) fn put(&mut self, piece: Option<Bytes>, mut out: impl FnMut(Bytes)) -> io::Result<()> {
        match (self, piece) {
            (Self::Length(0), None) => {}
            (Self::Length(_), None) => return Err(wrong("the answer is shorter than it was said to be")),
            (Self::Length(left), Some(piece)) => {
                let rest = left.checked_sub(piece.len() as u64);
                *left = rest.ok_or_else(|| wrong("the answer is longer than it was said to be"))?;
                out(piece);
            }
            (Self::Chunked, None) => out(Bytes::from_static(b"0\r\n\r\n")),
            (Self::Chunked, Some(piece)) => {
                let mut size = Vec::with_capacity(if piece.len() <= SMALL { piece.len() + 24 } else { 24 });
                put_number(&mut size, piece.len() as u64, 16);
                size.extend_from_slice(b"\r\n");
                if piece.len() <= SMALL {
                    size.extend_from_slice(&piece);
                    size.extend_from_slice(b"\r\n");
                    out(size.into());
                } else {
                    out(size.into());
                    out(piece);
                    out(Bytes::from_static(b"\r\n"));
                }
            }
        }
        Ok(())
    }
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The length that a header says, if one says it plainly.
fn said_length(headers: &HeaderMap) -> Option<u64> {
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    super::head::number(value.as_bytes())
}

/// Writes a number in this base, up to 16.
pub(super) fn put_number(out: &mut Vec<u8>, mut number: u64, base: u64) {
    let start = out.len();
    loop {
        let digit = usize::try_from(number % base).unwrap_or_default();
        out.extend(b"0123456789abcdef".get(digit));
        number /= base;
        if number == 0 {
            break;
        }
    }
    out.get_mut(start..).unwrap_or_default().reverse();
}

#[cfg(test)]
mod tests {
    use http::Response;

    use super::*;

    fn framed(status: u16, length: &[&str], mut body: Body) -> (Framing, Said, Vec<String>) {
        let mut answer = Response::builder().status(status).header("transfer-encoding", "chunked");
        for length in length {
            answer = answer.header("content-length", *length);
        }
        let (mut head, ()) = answer.body(()).unwrap().into_parts();
        let (framing, said) = Framing::of(&mut head, &mut body);
        let left = head.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        (framing, said, left)
    }

    fn unknown() -> Body {
        Body::boxed(http_body_util::StreamBody::new(futures::stream::empty::<Result<_, io::Error>>()))
    }

    #[test]
    fn an_answer_says_its_length_once_and_never_in_two_ways() {
        let five = || Body::from("hello");
        for (status, length, body, expected) in [
            (200, &[][..], five(), (Framing::Length(5), Said::Length(5), &[][..])),
            (200, &["5"], five(), (Framing::Length(5), Said::Nothing, &["content-length: 5"])),
            (200, &["6"], five(), (Framing::Length(5), Said::Length(5), &[])),
            (200, &["5", "5"], five(), (Framing::Length(5), Said::Length(5), &[])),
            (200, &[], unknown(), (Framing::Chunked, Said::Chunked, &[])),
            (200, &["7"], unknown(), (Framing::Length(7), Said::Nothing, &["content-length: 7"])),
            (200, &["+7"], unknown(), (Framing::Chunked, Said::Chunked, &[])),
            (204, &["5"], five(), (Framing::Length(0), Said::Nothing, &[])),
            (304, &["5"], five(), (Framing::Length(0), Said::Nothing, &["content-length: 5"])),
        ] {
            let (framing, said, left) = framed(status, length, body);
            let (wanted, says, headers) = expected;
            assert_eq!((framing, said), (wanted, says), "{status} {length:?}");
            assert_eq!(left, headers, "{status} {length:?}");
        }
    }

    fn written(mut framing: Framing, pieces: &[&'static str]) -> io::Result<String> {
        let mut out = Vec::new();
        for piece in pieces.iter().map(|piece| Some(Bytes::from_static(piece.as_bytes()))).chain([None]) {
            framing.put(piece, |part| out.extend_from_slice(&part))?;
        }
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_body_is_held_to_what_its_head_said() {
        assert_eq!(written(Framing::Length(5), &["hel", "lo"]).unwrap(), "hello");
        assert!(written(Framing::Length(5), &["hell"]).is_err());
        assert!(written(Framing::Length(5), &["hello", "!"]).is_err());
        let long: &str = "x".repeat(10_000).leak();
        let chunks = written(Framing::Chunked, &["hello, my world!", long]).unwrap();
        assert_eq!(chunks, format!("10\r\nhello, my world!\r\n2710\r\n{long}\r\n0\r\n\r\n"));
    }
}

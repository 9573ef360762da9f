//! A body in chunks (RFC 9112 section 7.1), out of the bytes of a connection and into them.
//!
//! Pure. Strict: a chunk that another reader could end elsewhere is none.

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use memchr::memchr;

use super::{
    super::headers::may_trail,
    head::{Bad, put_header},
};

/// A chunk's size with its extension, which nobody reads.
const LONGEST_SIZE: usize = 1024;
/// Trailers carry a status and a sum.
const LONGEST_TRAILERS: usize = 16 * 1024;
/// As few as a head has.
const MOST_TRAILERS: usize = 64;

/// How far the reader is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Chunks {
    /// A chunk's size comes next.
    #[default]
    Size,
    /// So many bytes of a chunk are left.
    Data(u64),
    /// The line end behind a chunk.
    DataEnd,
    /// Trailers, or the empty line.
    Trailers,
    /// Nothing comes any more.
    End,
}

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Bytes of the body.
    Data(Bytes),
    /// What stands behind it.
    Trailers(HeaderMap),
    /// The end.
    End,
    /// More must come.
    More,
}

impl Chunks {
    /// The next part among `bytes`, from which it is taken.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn next(&mut self, bytes: &mut BytesMut) -> Result<Part, Bad> {
        loop {
            match *self {
                Self::Size => {
                    let Some(size) = take_size(bytes)? else { return Ok(Part::More) };
                    *self = if size == 0 { Self::Trailers } else { Self::Data(size) };
                }
                Self::Data(_) if bytes.is_empty() => return Ok(Part::More),
                Self::Data(left) => {
                    let here = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
                    let left = left - here as u64;
                    *self = if left == 0 { Self::DataEnd } else { Self::Data(left) };
                    return Ok(Part::Data(bytes.split_to(here).freeze()));
                }
                Self::DataEnd => match bytes.get(..2) {
                    None => return Ok(Part::More),
                    Some(b"\r\n") => {
                        bytes.advance(2);
                        *self = Self::Size;
                    }
                    Some(_) => return Err(Bad("a chunk is longer than it says")),
                },
                Self::Trailers => {
                    let Some(trailers) = take_trailers(bytes)? else { return Ok(Part::More) };
                    *self = Self::End;
                    if !trailers.is_empty() {
                        return Ok(Part::Trailers(trailers));
                    }
                }
                Self::End => return Ok(Part::End),
            }
        }
    }
}

fn take_size(bytes: &mut BytesMut) -> Result<Option<u64>, Bad> {
    let Some(feed) = memchr(b'\n', bytes) else {
        return if bytes.len() > LONGEST_SIZE { Err(Bad("a chunk's size has no end")) } else { Ok(None) };
    };
    let line = bytes.split_to(feed + 1);
    let line = line.strip_suffix(b"\r\n").filter(|line| line.len() <= LONGEST_SIZE && !line.contains(&b'\r'));
    let line = line.ok_or(Bad("a chunk's size does not end its line"))?;
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii_end();
    let fits = !digits.is_empty() && digits.len() <= 15 && digits.iter().all(u8::is_ascii_hexdigit);
    let digits = std::str::from_utf8(digits).ok().filter(|_| fits);
    let size = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
    size.map(Some).ok_or(Bad("a chunk's size is no number"))
}

fn take_trailers(bytes: &mut BytesMut) -> Result<Option<HeaderMap>, Bad> {
    let mut lines = [httparse::EMPTY_HEADER; MOST_TRAILERS];
    let (end, trailers) = match httparse::parse_headers(bytes, &mut lines) {
        Ok(httparse::Status::Complete((end, lines))) => (end, lines.iter().filter_map(kept).collect()),
        Ok(httparse::Status::Partial) if bytes.len() <= LONGEST_TRAILERS => return Ok(None),
        _ => return Err(Bad("its trailers cannot be read")),
    };
    bytes.advance(end);
    Ok(Some(trailers))
}

fn kept(line: &httparse::Header<'_>) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::from_bytes(line.name.as_bytes()).ok()?;
    may_trail(&name).then_some((name, HeaderValue::from_bytes(line.value).ok()?))
}

/// Writes what stands before a chunk.
pub(super) fn put_size(out: &mut Vec<u8>, size: usize) {
    out.extend_from_slice(format!("{size:x}\r\n").as_bytes());
}

/// Writes the end of a body.
pub(super) fn put_end(out: &mut Vec<u8>, trailers: &HeaderMap) {
    out.extend_from_slice(b"0\r\n");
    trailers.iter().for_each(|(name, value)| put_header(out, name, value));
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All data, and the trailers, of a body that comes in pieces of this size; with what is left behind it.
    fn read(body: &[u8], piece: usize) -> Result<(Vec<u8>, HeaderMap, usize), Bad> {
        let (mut chunks, mut bytes) = (Chunks::default(), BytesMut::new());
        let (mut data, mut trailers) = (Vec::new(), HeaderMap::new());
        let mut pieces = body.chunks(piece);
        loop {
            match chunks.next(&mut bytes)? {
                Part::Data(part) => data.extend_from_slice(&part),
                Part::Trailers(all) => trailers = all,
                Part::End => return Ok((data, trailers, bytes.len() + pieces.map(<[u8]>::len).sum::<usize>())),
                Part::More => bytes.extend_from_slice(pieces.next().ok_or(Bad("cut"))?),
            }
        }
    }

    #[test]
    fn a_body_is_read_however_it_is_cut() {
        let body = b"5\r\nhello\r\nA ;x=\"y\"\r\n, my world\r\n0\r\nx-sum: 1\r\ncontent-length: 9\r\n\r\nHTTP";
        for piece in 1..body.len() {
            let (data, trailers, left) = read(body, piece).unwrap();
            assert_eq!(
                (&data[..], trailers.len(), &trailers["x-sum"]),
                (&b"hello, my world"[..], 1, &HeaderValue::from_static("1"))
            );
            assert!(left >= 4, "what follows is left alone");
        }
    }

    #[test]
    fn a_chunk_that_others_could_end_elsewhere_is_none() {
        for body in [
            &b"zz\r\nhello\r\n0\r\n\r\n"[..],
            b"\r\nhello",
            b" 5\r\nhello\r\n0\r\n\r\n",
            b"+5\r\nhello\r\n0\r\n\r\n",
            b"0x5\r\nhello\r\n0\r\n\r\n",
            b"5\nhello\r\n0\r\n\r\n",
            b"5\rx\r\nhello\r\n0\r\n\r\n",
            b"5\r\nhelloX\r\n0\r\n\r\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"ffffffffffffffff\r\nhello",
            b"0\r\nx y\r\n\r\n",
            b"0\r\nx : y\r\n\r\n",
            b"5\r\nhel",
        ] {
            assert!(read(body, 3).is_err(), "{body:?}");
        }
        assert!(read(&[b"5;", &[b'x'; 2000][..], b"\r\nhello\r\n0\r\n\r\n"].concat(), 500).is_err());
        assert!(read(&[b"0\r\nx: ", &[b'x'; 20_000][..], b"\r\n\r\n"].concat(), 500).is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6), piece in 1..50_usize) {
            let mut body = Vec::new();
            for part in &parts {
                put_size(&mut body, part.len());
                body.extend_from_slice(part);
                body.extend_from_slice(b"\r\n");
            }
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", HeaderValue::from(parts.len()));
            put_end(&mut body, &trailers);
            prop_assert_eq!(read(&body, piece).unwrap(), (parts.concat(), trailers, 0));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), piece in 1..50_usize) {
            let _ = read(&bytes, piece);
        }
    }
}

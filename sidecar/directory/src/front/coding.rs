//! Bodies that are packed (contract section 2): gzip and zstd, both ways. What is unpacked has its bound, whatever it was packed into.

use std::io::{self, Read, Write as _};

use bytes::Bytes;
use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use http::{
    HeaderMap, HeaderValue, Method, Response,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, VARY},
    request::Parts,
};

use crate::{
    DirectoryError,
    error::{Code, Why},
};

/// A shorter answer is not worth packing: it fits into one packet anyway.
const SHORTEST: usize = 1024;

/// Packing a longer answer takes longer than other requests should wait for a thread that serves them.
const LONG: usize = 64 << 10;

/// A longer answer goes as it is: packing it keeps a processor busy for a second, as often as somebody asks.
const LONGEST: usize = 8 << 20;

/// The largest window of a packed body that is unpacked, as a power of two: what RFC 8878 section 3.1.1.1.2 has decoders support.
const WINDOW: u32 = 23;

/// A level that costs little.
const LEVEL: i32 = 3;

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    Zstd,
}

impl Coding {
    const ALL: [Self; 2] = [Self::Zstd, Self::Gzip];

    const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// RFC 9110 section 8.4.1.3: `x-gzip` is gzip.
    fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        Self::ALL
            .into_iter()
            .find(|coding| text.eq_ignore_ascii_case(coding.name()))
            .or_else(|| text.eq_ignore_ascii_case("x-gzip").then_some(Self::Gzip))
    }

    /// How the body of these headers is packed; `None`: it is not.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, DirectoryError> {
        let mut given = headers.get_all(CONTENT_ENCODING).iter();
        let Some(first) = given.next() else { return Ok(None) };
        let text = first.to_str().ok().filter(|_| given.next().is_none());
        match text {
            Some(text) if text.trim().eq_ignore_ascii_case("identity") => Ok(None),
            text => text.and_then(Self::read).map(Some).ok_or_else(|| {
                let text = "the body's Content-Encoding is read where it is gzip or zstd, once";
                DirectoryError::new(Code::BadRequest, Why::Coding, text)
            }),
        }
    }

    /// The coding that a caller accepts and that packs best; `None`: none, or nobody asked.
    fn accepted(headers: &HeaderMap) -> Option<Self> {
        let lists = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        let accepted: Vec<&str> = lists.flat_map(|list| list.split(',')).filter(|one| weight(one) > 0.0).collect();
        let named = |coding: &Self| {
            accepted.iter().any(|one| Self::read(one.split(';').next().unwrap_or_default()) == Some(*coding))
        };
        Self::ALL.into_iter().find(named)
    }

    /// The body as it was before it was packed.
    ///
    /// # Errors
    /// 7300 for what cannot be unpacked (400), and for what has more than `longest` bytes (413).
    pub(super) fn unpack(self, body: &[u8], longest: usize) -> Result<Bytes, DirectoryError> {
        let bound = u64::try_from(longest).unwrap_or(u64::MAX).saturating_add(1);
        let mut plain = Vec::new();
        let read = match self {
            Self::Gzip => MultiGzDecoder::new(body).take(bound).read_to_end(&mut plain),
            Self::Zstd => zstd::stream::read::Decoder::new(body).and_then(|mut decoder| {
                decoder.window_log_max(WINDOW)?;
                decoder.take(bound).read_to_end(&mut plain)
            }),
        };
        if plain.len() > longest {
            let text = format!("the body has more than {longest} bytes when it is unpacked");
            return Err(DirectoryError::new(Code::BadRequest, Why::TooLarge, text));
        }
        match read {
            Ok(_) => Ok(plain.into()),
            Err(_) => Err(DirectoryError::malformed(format!("the body cannot be unpacked: it is no {}", self.name()))),
        }
    }

    fn pack(self, body: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip => {
                let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
                packed.write_all(body)?;
                packed.finish()
            }
            Self::Zstd => zstd::stream::encode_all(body, LEVEL),
        }
    }
}

/// RFC 9110 section 12.4.2; what is no number counts as nothing said.
fn weight(one: &str) -> f32 {
    let quality = one.split(';').skip(1).find_map(|parameter| parameter.trim().strip_prefix("q="));
    quality.and_then(|text| text.trim().parse().ok()).unwrap_or(1.0)
}

/// Packs an answer to what was asked so, where the caller takes it packed and it is long enough.
pub(super) async fn packed(asked: &Parts, answer: &mut Response<Bytes>) {
    if answer.body().len() < SHORTEST {
        return;
    }
    answer.headers_mut().append(VARY, HeaderValue::from_static("accept-encoding"));
    // Nobody sees the body of an answer to HEAD.
    if answer.body().len() > LONGEST || asked.method == Method::HEAD {
        return;
    }
    let Some(coding) = Coding::accepted(&asked.headers) else { return };
    let body = answer.body().clone();
    let packed = if body.len() <= LONG {
        coding.pack(&body)
    } else {
        tokio::task::spawn_blocking(move || coding.pack(&body)).await.unwrap_or_else(|error| Err(error.into()))
    };
    // Where there is no memory for it, it goes as it is.
    let Ok(packed) = packed else { return };
    *answer.body_mut() = packed.into();
    answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &http::HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_body_is_unpacked_up_to_its_bound() {
        let body = "datanet ".repeat(1000);
        for coding in Coding::ALL {
            let packed = coding.pack(body.as_bytes()).unwrap();
            assert_eq!(coding.unpack(&packed, body.len()).unwrap(), body);
            assert_eq!(coding.unpack(&packed, body.len() - 1).unwrap_err().status(), 413, "{coding:?}");
            for broken in [&packed[..packed.len() / 2], b"x", &packed[1..]] {
                assert_eq!(coding.unpack(broken, body.len()).unwrap_err().status(), 400, "{coding:?}");
            }
        }
    }

    /// A bomb: a gigabyte that is some kilobytes on the wire.
    #[test]
    fn a_bomb_is_given_up_at_its_bound() {
        for coding in Coding::ALL {
            let bomb = coding.pack(&vec![b' '; 64 << 20]).unwrap();
            assert!(bomb.len() < 1 << 20);
            assert_eq!(coding.unpack(&bomb, 8 << 20).unwrap_err().status(), 413, "{coding:?}");
        }
    }

    #[test]
    fn a_coding_is_named_once_and_known() {
        for (values, expected) in [
            (&[][..], Ok(None)),
            (&["identity"], Ok(None)),
            (&["GZip"], Ok(Some(Coding::Gzip))),
            (&["x-gzip"], Ok(Some(Coding::Gzip))),
            (&[" zstd "], Ok(Some(Coding::Zstd))),
            (&["gzip", "gzip"], Err(415)),
            (&["gzip, zstd"], Err(415)),
            (&["br"], Err(415)),
            (&[""], Err(415)),
        ] {
            let coding = Coding::of(&headers(&CONTENT_ENCODING, values)).map_err(|error| error.status());
            assert_eq!(coding, expected, "{values:?}");
        }
    }

    async fn answered(accepts: &[&str], method: Method, length: usize) -> Response<Bytes> {
        let (mut asked, ()) = http::Request::new(()).into_parts();
        (asked.method, asked.headers) = (method, headers(&ACCEPT_ENCODING, accepts));
        let mut answer = Response::new(Bytes::from("x".repeat(length)));
        packed(&asked, &mut answer).await;
        answer
    }

    #[tokio::test]
    async fn an_answer_is_packed_as_the_caller_takes_it() {
        for (accepts, length, expected) in [
            (&["gzip, deflate, br"][..], SHORTEST, Some("gzip")),
            (&["gzip;q=1, zstd;q=0.1"], SHORTEST, Some("zstd")),
            (&["gzip;q=0", "zstd; q=0.0"], SHORTEST, None),
            (&["*"], SHORTEST, None),
            (&[], SHORTEST, None),
            (&["gzip"], SHORTEST - 1, None),
            (&["gzip"], LONG + 1, Some("gzip")),
            (&["zstd"], LONGEST, Some("zstd")),
            (&["zstd"], LONGEST + 1, None),
        ] {
            let answer = answered(accepts, Method::POST, length).await;
            let coding = answer.headers().get(CONTENT_ENCODING).map(|value| value.to_str().unwrap());
            assert_eq!(coding, expected, "{accepts:?}");
            let plain = coding.and_then(Coding::read).map(|coding| coding.unpack(answer.body(), length).unwrap());
            assert!(plain.as_ref().unwrap_or(answer.body()) == &"x".repeat(length), "{accepts:?} {length}");
        }
    }

    #[tokio::test]
    async fn what_nobody_sees_is_not_packed() {
        let answer = answered(&["gzip"], Method::HEAD, SHORTEST).await;
        assert_eq!(
            (answer.headers().get(CONTENT_ENCODING), &answer.headers()[VARY]),
            (None, &"accept-encoding".parse().unwrap())
        );
    }
}

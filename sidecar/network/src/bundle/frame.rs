//! The frames of a bundle: kind (1 byte), length of the content (3 bytes), call (4 bytes), content. Numbers are big-endian.
//!
//! Pure: bytes in, frames out, and back.

/// What stands before the content.
const HEADER: usize = 8;
/// The longest content: an answer with its head.
pub(crate) const LONGEST: usize = 96 * 1024;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The first one of whoever is called: it is ready.
    Hello,
    /// A call: its head and its body.
    Call,
    /// What a call is answered.
    Answer,
    /// Nobody waits for the answer any more.
    Cancel,
    /// The call was not begun.
    Refused,
    /// Whoever is called wants no new calls; those that came are answered.
    Leaving,
    /// Are you there?
    Ping,
    /// Yes.
    Pong,
}

const KINDS: [Kind; 8] =
    [Kind::Hello, Kind::Call, Kind::Answer, Kind::Cancel, Kind::Refused, Kind::Leaving, Kind::Ping, Kind::Pong];

/// One frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'b> {
    pub(crate) kind: Kind,
    /// The number that the caller gave to the call; 0 where a frame is about none.
    pub(crate) call: u32,
    pub(crate) content: &'b [u8],
}

/// Bytes that are no bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    /// Unknown here.
    #[error("a frame of the unknown kind {0}")]
    Kind(u8),
    /// More than anybody may send.
    #[error("a frame of {0} bytes, where {LONGEST} are the most")]
    TooLong(usize),
    /// A head that cannot be read.
    #[error("a head that {0}")]
    Head(&'static str),
    /// It has no place in the conversation.
    #[error("a frame {0:?} out of turn")]
    OutOfTurn(Kind),
}

impl From<Broken> for std::io::Error {
    fn from(broken: Broken) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, broken)
    }
}

/// The first frame, and how many bytes it takes. `None`: more must come.
pub(crate) fn first(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, Broken> {
    let Some((&[kind, l2, l1, l0, c3, c2, c1, c0], rest)) = bytes.split_first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let kind = *KINDS.get(usize::from(kind)).ok_or(Broken::Kind(kind))?;
    let length = u32::from_be_bytes([0, l2, l1, l0]) as usize;
    if length > LONGEST {
        return Err(Broken::TooLong(length));
    }
    let call = u32::from_be_bytes([c3, c2, c1, c0]);
    Ok(rest.get(..length).map(|content| (Frame { kind, call, content }, HEADER + length)))
}

/// Adds a frame whose content `fill` adds.
pub(crate) fn put(out: &mut Vec<u8>, kind: Kind, call: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    let number = KINDS.iter().position(|known| *known == kind).unwrap_or_default();
    out.extend_from_slice(&[u8::try_from(number).unwrap_or_default(), 0, 0, 0]);
    out.extend_from_slice(&call.to_be_bytes());
    fill(out);
    let length = u32::try_from(out.len() - start - HEADER).unwrap_or(u32::MAX).to_be_bytes();
    if let (Some(place), [_, length @ ..]) = (out.get_mut(start + 1..start + 4), length) {
        place.copy_from_slice(&length);
    }
}

/// Adds a frame without content.
pub(crate) fn put_bare(out: &mut Vec<u8>, kind: Kind, call: u32) {
    put(out, kind, call, |_| {});
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in_and_not_before_they_are_whole() {
        let mut bytes = Vec::new();
        put(&mut bytes, Kind::Call, 7, |out| out.extend_from_slice(b"content"));
        put_bare(&mut bytes, Kind::Pong, u32::MAX);
        assert_eq!(bytes, b"\x01\0\0\x07\0\0\0\x07content\x07\0\0\0\xff\xff\xff\xff");
        for short in 0..15 {
            assert_eq!(first(&bytes[..short]), Ok(None), "{short}");
        }
        let call = Frame { kind: Kind::Call, call: 7, content: b"content" };
        assert_eq!(first(&bytes), Ok(Some((call, 15))));
        assert_eq!(first(&bytes[15..]), Ok(Some((Frame { kind: Kind::Pong, call: u32::MAX, content: b"" }, 8))));
    }

    #[test]
    fn what_nobody_may_send_is_known_by_its_first_bytes() {
        assert_eq!(first(b"\x08\0\0\0\0\0\0\0"), Err(Broken::Kind(8)));
        assert_eq!(first(b"\x01\x01\x80\x01\0\0\0\0"), Err(Broken::TooLong(LONGEST + 1)));
        assert_eq!(first(b"\x01\x01\x80\0\0\0\0\0"), Ok(None));
    }
}

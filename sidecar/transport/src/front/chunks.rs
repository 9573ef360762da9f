//! An encoded body as a few pieces, so that a large payload is written from where it lies. Where it goes out as base64, its
//! text is made as the connection takes it: it is never there as a whole, so nobody need pay for it.

use base64::{Engine, encoded_len, engine::general_purpose::STANDARD};
use bytes::Bytes;

/// A payload up to this size is copied beside its frame: one small write is cheaper than three. Above it the copy costs
/// more than the pieces.
pub(crate) const SMALL: usize = 8 * 1024;

/// At most five pieces: JSON with the payload twice and text before, between and behind.
const PIECES: usize = 5;

/// Bytes that are encoded at a time: three make four, without a rest, and their text is one write.
const AT_A_TIME: usize = 48 * 1024;

/// The same of what is encoded twice: nine make twelve make sixteen.
const AT_A_TIME_WITHIN: usize = 27 * 1024;

/// The pieces of a body, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chunks {
    pieces: [Piece; PIECES],
    next: usize,
}

/// A piece of a body.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    /// As it is.
    Plain(Bytes),
    /// To be written as base64.
    Base64(Bytes),
    /// A text with a payload within that is base64 itself, all of it to be written as base64 once more.
    Within {
        /// What stands before the payload: a multiple of three bytes, so that no piece has a rest.
        before: Bytes,
        payload: Bytes,
        after: Bytes,
    },
}

impl Chunks {
    /// The bytes that are left.
    pub(crate) fn len(&self) -> usize {
        self.pieces.iter().map(Piece::len).sum()
    }

    /// The next bytes, unless none are left.
    pub(crate) fn take(&mut self) -> Option<Bytes> {
        while let Some(piece) = self.pieces.get_mut(self.next) {
            let taken = piece.take();
            if piece.len() == 0 {
                self.next += 1;
            }
            if !taken.is_empty() {
                return Some(taken);
            }
        }
        None
    }

    /// The only piece, where there is one and it is there as a whole.
    pub(crate) fn single(&self) -> Option<&Bytes> {
        let mut pieces = self.pieces.iter().filter(|piece| piece.len() > 0);
        match (pieces.next(), pieces.next()) {
            (Some(Piece::Plain(whole)), None) => Some(whole),
            _ => None,
        }
    }
}

impl Piece {
    /// `before`, `payload` in base64 and `after`, in base64: a payload within an object within an `Inbound`. Blanks behind the
    /// object's first brace make it even.
    pub(crate) fn base64_within(mut before: String, payload: Bytes, after: String) -> Self {
        while !before.len().is_multiple_of(3) {
            before.insert(1, ' ');
        }
        Self::Within { before: before.into(), payload, after: after.into() }
    }

    fn len(&self) -> usize {
        match self {
            Self::Plain(bytes) => bytes.len(),
            Self::Base64(bytes) => base64_len(bytes.len()),
            Self::Within { before, payload, after } => {
                base64_len(before.len() + base64_len(payload.len()) + after.len())
            }
        }
    }

    fn take(&mut self) -> Bytes {
        match self {
            Self::Plain(bytes) => std::mem::take(bytes),
            Self::Base64(bytes) => {
                let part = bytes.split_to(bytes.len().min(AT_A_TIME));
                STANDARD.encode(part).into()
            }
            Self::Within { before, payload, after } => {
                let mut text = std::mem::take(before).to_vec();
                let part = payload.split_to(payload.len().min(AT_A_TIME_WITHIN));
                text.extend_from_slice(STANDARD.encode(part).as_bytes());
                if payload.is_empty() {
                    text.extend_from_slice(&std::mem::take(after));
                }
                STANDARD.encode(text).into()
            }
        }
    }
}

fn base64_len(bytes: usize) -> usize {
    encoded_len(bytes, true).unwrap_or(usize::MAX)
}

impl Default for Piece {
    fn default() -> Self {
        Self::Plain(Bytes::new())
    }
}

impl From<Bytes> for Piece {
    fn from(bytes: Bytes) -> Self {
        Self::Plain(bytes)
    }
}

impl<const N: usize> From<[Piece; N]> for Chunks {
    /// `N` is at most [`PIECES`]; more do not compile.
    fn from(pieces: [Piece; N]) -> Self {
        const { assert!(N <= PIECES) };
        let mut chunks = Self::default();
        for (place, piece) in chunks.pieces.iter_mut().zip(pieces) {
            *place = piece;
        }
        chunks
    }
}

impl<const N: usize> From<[Bytes; N]> for Chunks {
    fn from(pieces: [Bytes; N]) -> Self {
        pieces.map(Piece::from).into()
    }
}

impl From<Vec<u8>> for Chunks {
    fn from(bytes: Vec<u8>) -> Self {
        [Bytes::from(bytes)].into()
    }
}

impl From<String> for Piece {
    fn from(text: String) -> Self {
        Self::Plain(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_within_is_written_in_pieces_as_it_would_be_at_once() {
        for size in [0, 1, 2, 3, AT_A_TIME_WITHIN - 1, AT_A_TIME_WITHIN, AT_A_TIME_WITHIN + 1, 3 * AT_A_TIME_WITHIN + 7]
        {
            for before in ["{\"p\":\"", "{\"pa\":\"", "{\"pay\":\""] {
                let payload: Bytes = (0..size).map(|n| n as u8).collect::<Vec<_>>().into();
                let mut chunks = Chunks::from([Piece::base64_within(before.into(), payload.clone(), "\"}".into())]);
                let (length, mut text) = (chunks.len(), Vec::new());
                while let Some(piece) = chunks.take() {
                    text.extend_from_slice(&piece);
                }
                assert_eq!(text.len(), length, "{size}");
                let read = String::from_utf8(STANDARD.decode(text).unwrap()).unwrap().replace(' ', "");
                assert!(read == format!("{before}{}\"}}", STANDARD.encode(&payload)), "{size} {before}");
            }
        }
    }
}

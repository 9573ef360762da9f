//! An encoded body as a few pieces, so that a large payload is written from where it lies.

use bytes::Bytes;

/// A payload up to this size is copied beside its frame: one small write is cheaper than three. Above it the copy costs
/// more than the pieces.
pub(crate) const SMALL: usize = 8 * 1024;

/// At most five pieces: JSON with the payload twice and text before, between and behind.
const PIECES: usize = 5;

/// The pieces of a body, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chunks {
    pieces: [Bytes; PIECES],
    next: usize,
}

impl Chunks {
    /// The bytes that are left.
    pub(crate) fn len(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }

    /// The next piece that is not empty.
    pub(crate) fn take(&mut self) -> Option<Bytes> {
        while let Some(piece) = self.pieces.get_mut(self.next) {
            self.next += 1;
            if !piece.is_empty() {
                return Some(std::mem::take(piece));
            }
        }
        None
    }

    /// The only piece, where there is one.
    pub(crate) fn single(&self) -> Option<&Bytes> {
        let mut pieces = self.pieces.iter().filter(|piece| !piece.is_empty());
        pieces.next().filter(|_| pieces.next().is_none())
    }
}

impl<const N: usize> From<[Bytes; N]> for Chunks {
    /// `N` is at most [`PIECES`]; more do not compile.
    fn from(pieces: [Bytes; N]) -> Self {
        const { assert!(N <= PIECES) };
        let mut chunks = Self::default();
        for (place, piece) in chunks.pieces.iter_mut().zip(pieces) {
            *place = piece;
        }
        chunks
    }
}

impl From<Vec<u8>> for Chunks {
    fn from(bytes: Vec<u8>) -> Self {
        [Bytes::from(bytes)].into()
    }
}

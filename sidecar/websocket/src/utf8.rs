//! Text that arrives in pieces: each piece is checked when it comes, and a character that is cut waits for its rest.

/// The bytes of a character whose rest has not come: at most three.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cut {
    bytes: [u8; 3],
    length: u8,
}

/// What is no UTF-8.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoText;

impl Cut {
    /// Whether a character waits.
    pub(super) fn is_empty(self) -> bool {
        self.length == 0
    }

    /// Puts what waits before `piece`, and takes off `piece` what must wait: the rest is text.
    pub(super) fn joined(&mut self, mut piece: Vec<u8>) -> Result<String, NoText> {
        if self.length > 0 {
            piece.splice(0..0, self.bytes.into_iter().take(self.length.into()));
            self.length = 0;
        }
        let text = match String::from_utf8(piece) {
            Ok(text) => return Ok(text),
            Err(e) => e,
        };
        let error = text.utf8_error();
        if error.error_len().is_some() {
            return Err(NoText);
        }
        let mut bytes = text.into_bytes();
        let tail = bytes.split_off(error.valid_up_to());
        for (place, byte) in self.bytes.iter_mut().zip(&tail) {
            *place = *byte;
        }
        self.length = u8::try_from(tail.len()).map_err(|_| NoText)?;
        String::from_utf8(bytes).map_err(|_| NoText)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn text_cut_anywhere_is_the_same_text(text in ".{0,20}", at in proptest::collection::vec(any::<prop::sample::Index>(), 0..4)) {
            let mut cuts: Vec<usize> = at.iter().map(|at| at.index(text.len() + 1)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let mut cut = Cut::default();
            let mut joined = String::new();
            for pair in cuts.windows(2) {
                joined += &cut.joined(text.as_bytes()[pair[0]..pair[1]].to_vec()).unwrap();
            }
            prop_assert_eq!((joined, cut.is_empty()), (text, true));
        }

        #[test]
        fn what_is_no_text_is_no_text_in_pieces_either(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let mut cut = Cut::default();
            let in_pieces = bytes.iter().try_for_each(|byte| cut.joined(vec![*byte]).map(drop));
            let is_text = in_pieces.is_ok() && cut.is_empty();
            prop_assert_eq!(is_text, std::str::from_utf8(&bytes).is_ok());
        }
    }
}

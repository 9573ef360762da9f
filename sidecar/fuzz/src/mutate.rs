//! Inputs that are nearly right: pieces of the corpus, changed in a few places. The same row of them in every run.

/// What parsers stumble over, whatever they read.
const TOKENS: [&[u8]; 24] = [
    b"\0",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\x80",
    b"\r\n",
    b"\n",
    b" ",
    b"\t",
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"-1",
    b"0",
    b"18446744073709551616",
    b"1e999",
    b"%00",
    b"../",
    b"\xe2\x80\xae",
    b"null",
];

/// Makes inputs out of a corpus.
pub(crate) struct Mutator<'c> {
    corpus: &'c [Vec<u8>],
    longest: usize,
    state: u64,
}

impl<'c> Mutator<'c> {
    pub(crate) fn new(corpus: &'c [Vec<u8>], longest: usize) -> Self {
        Self { corpus, longest, state: 0x9e37_79b9_7f4a_7c15 }
    }

    /// The next input: one of the corpus with one to four changes.
    pub(crate) fn next(&mut self) -> Vec<u8> {
        let mut bytes = self.member().to_vec();
        for _ in 0..=self.below(4) {
            self.change(&mut bytes);
        }
        bytes.truncate(self.longest);
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len() + 1);
        let end = at + self.below(bytes.len() - at + 1).min(32);
        match self.below(7) {
            0 => flip(bytes, at, 1 << self.below(8)),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let token = TOKENS[self.below(TOKENS.len())];
                drop(bytes.splice(at..at, token.iter().copied()));
            }
            3 => {
                let token = TOKENS[self.below(TOKENS.len())];
                drop(bytes.splice(at..end, token.iter().copied()));
            }
            4 => {
                let piece = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, piece));
            }
            5 => bytes.truncate(at),
            _ => {
                let other = self.member();
                let from = self.below(other.len() + 1);
                let piece = &other[from..from + self.below(other.len() - from + 1)];
                drop(bytes.splice(at..end, piece.iter().copied()));
            }
        }
    }

    fn member(&mut self) -> &'c [u8] {
        let at = self.below(self.corpus.len());
        &self.corpus[at]
    }

    /// A number below `bound`, which is above 0 (xorshift64*: even enough, and needs no dependency).
    fn below(&mut self, bound: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}

fn flip(bytes: &mut [u8], at: usize, bit: u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= bit;
    }
}

#[cfg(test)]
mod tests {
    use super::Mutator;

    #[test]
    fn every_run_makes_the_same_inputs_within_the_bound_and_they_differ() {
        let corpus = [b"one".to_vec(), (0..100).collect(), Vec::new()];
        let row = || {
            let mut mutator = Mutator::new(&corpus, 50);
            (0..1000).map(|_| mutator.next()).collect::<Vec<_>>()
        };
        let (first, again) = (row(), row());
        assert_eq!(first, again);
        assert!(first.iter().all(|bytes| bytes.len() <= 50));
        let different = first.iter().collect::<std::collections::BTreeSet<_>>().len();
        assert!(different > 500, "{different}");
    }
}

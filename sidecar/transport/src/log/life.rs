//! The life of a segment: a secret number by which its records are told from whatever else stands in its file.
//!
//! A file is used again and keeps what it held, and what is pushed stands in it as it came. So a record names the life that it was
//! written in, and only those of the present one count. It is 64 random bits that no answer and no log ever shows: who
//! pushes can write down a record that looks genuine, but not one that counts.

use std::{fmt, num::NonZeroU64};

/// The life of a segment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Life(NonZeroU64);

impl Life {
    /// A life that nobody can guess.
    pub(crate) fn begin() -> Self {
        Self(rand::random())
    }

    /// The life that a title names, if it names one.
    pub(crate) fn of(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    pub(crate) fn get(self) -> u64 {
        self.0.get()
    }
}

/// It stays secret.
impl fmt::Debug for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Life")
    }
}

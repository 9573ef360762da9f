//! Tokens: the text that people carry, how long it is worth something, and how often somebody may try (NC sections 2 and 8).
//!
//! Pure but for the random source. What is kept of a token is a keyed hash; the text itself is shown once.

mod digest;
#[cfg(test)]
mod fuzz;
mod life;
mod rate;
mod text;

pub use digest::{Digest, HashKey};
pub use life::{Life, Unrepresentable};
pub use rate::Rates;
pub use text::{NoRandomness, RESERVED, Secret, presented};

//! Randomness as text, for what must not be guessed or must not repeat.

use ring::rand::{SecureRandom as _, SystemRandom};

use crate::exit::Exit;

/// `N` random bytes in hex.
pub(crate) fn hex<const N: usize>() -> Result<String, Exit> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Exit::Local("the system has no randomness".into()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

//! Key text that must not leak: it prints as nothing and is wiped when dropped.

use std::fmt;

use zeroize::Zeroizing;

/// The PEM text of a private key. `Debug` shows nothing of it; [`expose`](Self::expose) is the one way to the text.
#[derive(Clone)]
pub struct PrivateKeyPem(Zeroizing<String>);

impl PrivateKeyPem {
    /// Takes the text as it is; [`crate::check_pair`] says whether it is a key.
    pub fn new(pem: String) -> Self {
        Self(Zeroizing::new(pem))
    }

    /// The text, for the file, the Secret or the TLS stack that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PrivateKeyPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKeyPem(..)")
    }
}

/// A certificate with its chain, and the key that belongs to it.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The leaf first, then what leads to the root; the root itself stays out.
    pub chain_pem: String,
    /// The leaf's key.
    pub key: PrivateKeyPem,
}

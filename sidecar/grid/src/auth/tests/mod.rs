//! Tokens and hooks as users have them.

pub(super) mod bench;
mod hooks;
mod keys;
mod server;
mod signer;
mod tokens;
mod urls;

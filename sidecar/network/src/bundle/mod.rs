//! The bundle: many small calls between two nodes of our kind on one TLS connection, many of them in one record and one
//! system call (docs/delivery.md, "On the wire between our kind").
//!
//! Each is a call like any other: it has a path, headers and a body, is admitted and answered by itself, and can be cancelled.
//! What it saves is everything that HTTP/2 does once more for each of them. Whoever is of another kind does not agree on it
//! in TLS and is spoken to in HTTP.
//!
//! ```text
//! frame.rs   frames as bytes (pure)
//! head.rs    what stands before the body of a call or an answer (pure)
//! ```
//! `partners/bundle.rs` calls by it, `listen/bundle.rs` answers.

pub(crate) mod frame;
pub(crate) mod head;

/// What both sides agree on in TLS (ALPN). Another layout of frames is another name.
pub(crate) const ALPN: &[u8] = b"interconn/1";

/// The longest body of a call. The larger ones gain little from company, and all others would wait for them.
pub(crate) const LONGEST_BODY: usize = 16 * 1024;
/// The longest body of an answer: a code and a text, in any encoding.
pub(crate) const LONGEST_ANSWER: usize = 64 * 1024;
/// The longest head: a dozen of ids, topics and tokens of 1 KiB at most.
pub(crate) const LONGEST_HEAD: usize = 16 * 1024;
/// Calls at a time on one connection, at which whoever is called refuses more. A caller opens another connection at half of it (`lane.rs`), and
/// comes near it only where it has as many connections as it may have.
pub(crate) const CALLS_OF_A_BUNDLE: usize = 512;

const _: () = assert!(LONGEST_HEAD + LONGEST_ANSWER + 2 <= frame::LONGEST);

#[cfg(test)]
mod fuzz;

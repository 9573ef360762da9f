//! Names that callers make up: channels and topics (G-11, G-17).

use std::{fmt, hash::Hash, marker::PhantomData, sync::Arc};

/// Bytes of a channel's or a topic's name.
pub const MOST_OF_NAME: usize = 255;

/// How the channels begin that the node's directory publishes to, and nobody else (Datanet D-10).
pub const OF_DIRECTORY: &str = "datanet:";

/// What connections are subscribed to.
pub type Channel = Name<OfChannel>;
/// Where a listener puts what its clients send.
pub type Topic = Name<OfTopic>;

/// A name: 1 to 255 bytes, without blanks and control characters.
pub struct Name<Of>(Arc<str>, PhantomData<Of>);

/// Marks a [`Channel`].
#[derive(Debug)]
pub enum OfChannel {}
/// Marks a [`Topic`].
#[derive(Debug)]
pub enum OfTopic {}

/// What is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to {MOST_OF_NAME} bytes, without blanks and control characters")]
pub struct NoName;

impl<Of> Name<Of> {
    /// Checks a name.
    ///
    /// # Errors
    /// When it is empty or too long, or has a blank or a control character.
    pub fn new(text: &str) -> Result<Self, NoName> {
        let is_name = (1..=MOST_OF_NAME).contains(&text.len());
        if !is_name || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(NoName);
        }
        Ok(Self(text.into(), PhantomData))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Channel {
    /// Whether the node's directory alone publishes there.
    #[must_use]
    pub fn is_of_directory(&self) -> bool {
        self.as_str().starts_with(OF_DIRECTORY)
    }
}

// By hand, for the mark itself need be none of these.
impl<Of> Clone for Name<Of> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0), PhantomData)
    }
}

impl<Of> PartialEq for Name<Of> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<Of> Eq for Name<Of> {}

impl<Of> Hash for Name<Of> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<Of> fmt::Debug for Name<Of> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<Of> fmt::Display for Name<Of> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_blanks_no_control_characters_and_a_bound() {
        let longest = "c".repeat(MOST_OF_NAME);
        for text in ["room:1002", "ex:1001@balance", "频道", "*", &longest] {
            assert_eq!(Channel::new(text).map(|name| name.to_string()).as_deref(), Ok(text));
        }
        for text in ["", " ", "a b", "a\u{3000}b", "a\tb", "a\0", "\u{7f}", &"c".repeat(MOST_OF_NAME + 1)] {
            assert_eq!(Channel::new(text), Err(NoName), "{text:?}");
        }
    }
}

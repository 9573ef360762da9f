//! The names of things on the wire. Ids of nodes and institutions compare without regard to case (PTP decision D2).

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

/// The ids that SDKs send when they know none (PTP section 8.2). They count as absent.
const PLACEHOLDERS: [&str; 2] = [crds::PLACEHOLDER_NODE, crds::PLACEHOLDER_INSTITUTION];

macro_rules! caseless_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id as it was written; `None` for an empty text and for the SDKs' placeholders.
            #[must_use]
            pub fn given(text: &str) -> Option<Self> {
                let known = !text.is_empty() && !PLACEHOLDERS.iter().any(|p| p.eq_ignore_ascii_case(text));
                known.then(|| Self::new(text))
            }

            /// The id as it is written, whatever it is.
            #[must_use]
            pub fn new(text: &str) -> Self {
                Self(text.into())
            }

            /// The id as it was written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The form that maps are keyed by.
            #[must_use]
            pub fn folded(&self) -> String {
                self.0.to_ascii_lowercase()
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.eq_ignore_ascii_case(&other.0)
            }
        }

        impl Eq for $name {}

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                for byte in self.0.bytes() {
                    state.write_u8(byte.to_ascii_lowercase());
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

caseless_id! {
    /// The id of a node, such as `LX0000010000280`.
    NodeId
}
caseless_id! {
    /// The id of an institution, such as `JG0100002800000000`.
    InstId
}

macro_rules! exact_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as it is written; the empty text is a name too.
            #[must_use]
            pub fn new(text: &str) -> Self {
                Self(text.into())
            }

            /// The name as it is written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whether it is the empty name.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

exact_name! {
    /// A session: exact text, empty for clients that name none (PTP section 1, point 9).
    SessionId
}
exact_name! {
    /// A topic within a session: exact text, may be empty.
    Topic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_compare_without_regard_to_case() {
        assert_eq!(NodeId::new("LX0000010000280"), NodeId::new("lx0000010000280"));
        assert_ne!(NodeId::new("LX0000010000280"), NodeId::new("LX0000010000270"));
    }

    #[test]
    fn placeholders_and_empty_texts_are_no_ids() {
        assert!(NodeId::given("LX0000000000000").is_none());
        assert!(NodeId::given("lx0000000000000").is_none());
        assert!(InstId::given("JG0000000000000000").is_none());
        assert!(NodeId::given("").is_none());
        assert!(NodeId::given("YL070").is_some());
    }

    #[test]
    fn sessions_compare_exactly() {
        assert_ne!(SessionId::new("s1"), SessionId::new("S1"));
    }
}

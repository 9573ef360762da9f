//! What is accepted beyond the letter of the protocol (contract section 3). Each is named in the answer's `warnings`; a strict
//! directory refuses instead.

use std::collections::BTreeSet;

use crate::error::DirectoryError;

macro_rules! leniencies {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// A leniency, by the number that the contract gives it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Leniency {
            $($(#[$doc])* $name = $number,)*
        }

        impl Leniency {
            /// All that a call can use, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its number in the contract.
            #[must_use]
            pub const fn number(self) -> u8 {
                self as u8
            }

            /// What was accepted, for people.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

leniencies! {
    /// `adpaterClass`, as the seed's schema has it.
    MisspelledClass = 1, "adpaterClass was read as adapterClass";
    /// No header, no version, or another spelling of it.
    Version = 2, "header.version should be \"datanet 1.0\"";
    /// `id` for `csid`, or the other way round.
    IdKey = 3, "id and csid were taken for each other";
    /// A protocol's name in another case.
    ProtocolCase = 6, "the protocol's name was compared without case";
    /// A version with other spaces or in another case.
    ProtocolVersion = 7, "the protocol's version was compared without spaces and case";
    /// A name that is nearly that of a class.
    NearName = 8, "the only class with a name at distance 1 was taken";
    /// A hyphen or an underscore in an id.
    IdCharacters = 9, "the central system's id has more than letters and digits";
    /// A data address that is not hexadecimal.
    AddressDigits = 10, "the data address is not hexadecimal behind its dot";
    /// An endpoint that is a URL.
    EndpointUrl = 12, "the endpoint is a URL and not host:port";
    /// Parameters that are no object.
    Parameters = 14, "params came as paramsDef, or as a list";
    /// `adapterClassName`, as sibling protocols have it.
    ClassKey = 15, "adapterClassName was read as adapterClass or className";
    /// Keys that nobody knows.
    UnknownKeys = 20, "unknown keys were ignored";
}

/// The leniencies that one call used.
pub type Used = BTreeSet<Leniency>;

/// Whether leniencies are accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strictness {
    /// They are, with a warning.
    #[default]
    Lenient,
    /// They are not.
    Strict,
}

impl Strictness {
    /// Refuses what used a leniency, if it is to be refused.
    ///
    /// # Errors
    /// 7300 with all that was used.
    pub fn judge(self, used: &Used) -> Result<(), DirectoryError> {
        if self == Self::Lenient || used.is_empty() {
            return Ok(());
        }
        let all: Vec<String> = used.iter().copied().map(warning).collect();
        Err(DirectoryError::malformed(format!("this directory is strict: {}", all.join("; "))))
    }
}

/// The warning of an answer: number and text.
#[must_use]
pub fn warning(leniency: Leniency) -> String {
    format!("leniency {}: {}", leniency.number(), leniency.text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strict_directory_names_all_that_it_refuses() {
        let used = Used::from([Leniency::UnknownKeys, Leniency::Version]);
        assert_eq!(Strictness::Lenient.judge(&used), Ok(()));
        assert_eq!(Strictness::Strict.judge(&Used::new()), Ok(()));
        let refused = Strictness::Strict.judge(&used).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "7300: this directory is strict: leniency 2: header.version should be \"datanet 1.0\"; \
             leniency 20: unknown keys were ignored"
        );
    }
}

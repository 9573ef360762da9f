//! What an error must say of itself before a front may put it into an answer.

use std::{error::Error, fmt};

use crate::Code;

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The caller's: the request is wrong, or not allowed.
    Caller,
    /// Ours.
    Ours,
    /// That of the partner or service behind us.
    Peer,
}

/// Whether the same call may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// It cannot.
    Useless,
    /// It surely did not arrive, so it may safely be sent again.
    Safe,
    /// It may have arrived.
    Unknown,
}

/// The error of a room. Callers decide by these answers, never by the text.
pub trait ProtocolError: Error {
    /// The code of PTP section 13.1.
    fn code(&self) -> Code;
    /// Whose fault it is.
    fn fault(&self) -> Fault;
    /// Whether another try may help.
    fn retry(&self) -> Retry;
}

/// A [`ProtocolError`] of any room, ready for an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code of PTP section 13.1.
    pub code: Code,
    /// What happened, to what, and what to do; already clean.
    pub message: String,
    /// Whose fault it is.
    pub fault: Fault,
    /// Whether another try may help.
    pub retry: Retry,
}

impl Refusal {
    /// A refusal for which the caller is to blame, and which another try does not mend.
    #[must_use]
    pub fn of_caller(code: Code, message: impl fmt::Display) -> Self {
        Self { code, message: clean(&message.to_string()), fault: Fault::Caller, retry: Retry::Useless }
    }
}

impl<E: ProtocolError> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self { code: error.code(), message: clean(&error.to_string()), fault: error.fault(), retry: error.retry() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.message)
    }
}

/// Clients rebuild JSON out of the text without escaping (PTP decision D14): quotes, backslashes and control characters
/// become spaces.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c == '"' || c == '\'' || c == '\\' || c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_carry_nothing_that_breaks_a_clients_json() {
        let refusal = Refusal::of_caller(Code::BAD_REQUEST, "no \"topic\" in C:\\x\n\u{7f}");
        assert_eq!(refusal.message, "no  topic  in C: x  ");
    }
}

//! The strings that stand for success and failure on the wire; gRPC itself always says OK (NC sections 1.2 and 2).

/// What a call comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) code: &'static str,
    pub(super) message: String,
}

/// The code of success: `ncadm` needs exactly this.
pub(super) const OK: &str = "200";
/// The caller's fault.
const BAD_REQUEST: &str = "400";
/// Ours.
const ERROR: &str = "500";

impl Verdict {
    pub(super) fn ok() -> Self {
        Self { code: OK, message: "ok".into() }
    }

    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self { code: BAD_REQUEST, message: message.into() }
    }

    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self { code: ERROR, message: message.into() }
    }

    pub(super) fn no_bootstrap_token() -> Self {
        Self::bad("bootstrap token can't be empty")
    }

    pub(super) fn no_token() -> Self {
        Self::bad("token can't be empty")
    }

    pub(super) fn unknown() -> Self {
        Self::bad("fail to find such item")
    }

    /// Nobody learns what of the disk is wrong; the log says it.
    pub(super) fn unwritten() -> Self {
        Self::failed("the state could not be written: try again, and look at the server's log")
    }
}

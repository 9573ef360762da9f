//! Why a connection ends, as its close frame says it (RFC 6455 section 7.4, Grid section 8).

use std::borrow::Cow;

/// A status code that may stand in a close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// An orderly end.
    pub const NORMAL: Self = Self(1000);
    /// The server or the page goes away.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL: Self = Self(1002);
    /// Text that is no UTF-8.
    pub const INVALID_TEXT: Self = Self(1007);
    /// Authentication, a hold that took too long, too many errors.
    pub const POLICY: Self = Self(1008);
    /// A message above the limit.
    pub const TOO_LARGE: Self = Self(1009);
    /// A fault of ours.
    pub const INTERNAL: Self = Self(1011);
    /// The service restarts: connect again.
    pub const RESTART: Self = Self(1012);
    /// The credentials have expired.
    pub const EXPIRED: Self = Self(3501);
    /// The client takes its messages too slowly.
    pub const TOO_SLOW: Self = Self(3502);

    /// A code that an endpoint may send: the registered ones, and 3000 to 4999.
    #[must_use]
    pub fn new(code: u16) -> Option<Self> {
        matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999).then_some(Self(code))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0
    }
}

/// The end of a connection: what its close frame says, or `code: None` for one that says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Close {
    /// The status.
    pub code: Option<CloseCode>,
    /// For people; at most 123 bytes.
    pub reason: Cow<'static, str>,
}

/// What a control frame may carry, less the code.
const MOST_REASON: usize = 123;

impl Close {
    /// An end with its reason, which is cut where a frame has no room for all of it.
    pub fn new(code: CloseCode, reason: impl Into<Cow<'static, str>>) -> Self {
        let mut reason = reason.into();
        if reason.len() > MOST_REASON {
            let end = reason.floor_char_boundary(MOST_REASON);
            reason.to_mut().truncate(end);
        }
        Self { code: Some(code), reason }
    }

    /// The payload of its frame.
    #[must_use]
    pub fn payload(&self) -> Vec<u8> {
        let Some(code) = self.code else { return Vec::new() };
        let mut payload = code.get().to_be_bytes().to_vec();
        payload.extend_from_slice(self.reason.as_bytes());
        payload
    }

    /// Reads the payload of a peer's frame.
    ///
    /// # Errors
    /// The close that the peer gets for it: a lone byte, a code that may not be sent, a reason that is no text.
    pub fn read(payload: &[u8]) -> Result<Self, Self> {
        let [high, low, reason @ ..] = payload else {
            let is_empty = payload.is_empty();
            return if is_empty { Ok(Self::default()) } else { Err(Self::protocol("a close frame of one byte")) };
        };
        let code = CloseCode::new(u16::from_be_bytes([*high, *low]));
        let code = code.ok_or_else(|| Self::protocol("a close code that may not be sent"))?;
        let reason = std::str::from_utf8(reason).map_err(|_| Self::invalid_text())?;
        Ok(Self { code: Some(code), reason: reason.to_owned().into() })
    }

    /// The peer broke the protocol.
    #[must_use]
    pub fn protocol(what: &'static str) -> Self {
        Self::new(CloseCode::PROTOCOL, what)
    }

    /// Text that is no UTF-8.
    #[must_use]
    pub fn invalid_text() -> Self {
        Self::new(CloseCode::INVALID_TEXT, "the text is no UTF-8")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_frame_says_the_same_on_both_sides() {
        let close = Close::new(CloseCode::TOO_SLOW, "too slow");
        assert_eq!(Close::read(&close.payload()), Ok(close));
        assert_eq!(Close::read(&[]), Ok(Close::default()));
    }

    #[test]
    fn what_no_endpoint_may_send_is_answered_by_1002_or_1007() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535u16] {
            let refused = Close::read(&code.to_be_bytes()).unwrap_err();
            assert_eq!(refused.code, Some(CloseCode::PROTOCOL), "{code}");
        }
        assert_eq!(Close::read(&[3]).unwrap_err().code, Some(CloseCode::PROTOCOL));
        assert_eq!(Close::read(&[3, 232, 0xff]).unwrap_err().code, Some(CloseCode::INVALID_TEXT));
    }

    #[test]
    fn a_long_reason_is_cut_between_two_characters() {
        let close = Close::new(CloseCode::POLICY, "长".repeat(60));
        assert_eq!((close.reason.len(), close.payload().len()), (123, 125));
        let close = Close::new(CloseCode::POLICY, format!("x{}", "长".repeat(60)));
        assert_eq!(close.reason.len(), 121);
    }
}

//! What the bucket says of a session: which gateway owns it, or that it was released.

use serde::{Deserialize, Serialize};

/// What the bucket says of a session. Keys that are not known are those of a later version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Deed {
    /// The number of the gateway that owns it, or that released it.
    pub(crate) number: u16,
    /// The life of that gateway.
    pub(crate) life: u64,
    /// One more with each owner.
    pub(crate) epoch: u64,
    /// It was released, and is refused until then, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) released_until: Option<u64>,
    /// What stands of it below this number in the stream of logs was released, and must not be read: it is purged before the session
    /// is used. What stands above is of whoever owned it later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unpurged_below: Option<u64>,
}

/// What is to be done about a session whose deed this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    /// It is ours: a claim of ours whose answer was lost.
    Ours,
    /// Another gateway owns it, which is there.
    Theirs,
    /// It is refused until then.
    Released(u64),
    /// Its owner has gone, or its time of being refused is over: the next epoch may begin.
    Free,
}

impl Deed {
    /// What it says to the gateway in the life `me`. `is_there` tells whether a gateway is.
    pub(crate) fn says(&self, me: u64, now_ms: u64, is_there: impl Fn(u16, u64) -> bool) -> Says {
        match self.released_until {
            Some(until) if until > now_ms => Says::Released(until),
            Some(_) => Says::Free,
            None if self.is_owned_by(me) => Says::Ours,
            None if is_there(self.number, self.life) => Says::Theirs,
            None => Says::Free,
        }
    }

    /// Whether the gateway in the life `me` owns it: what that one has released it owns no more.
    pub(crate) fn is_owned_by(&self, me: u64) -> bool {
        self.life == me && self.released_until.is_none()
    }

    /// As it is kept.
    pub(crate) fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// `None`: these are other people's bytes.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_claim_a_session_is_decided_by_its_deed_and_who_is_there() {
        let owned = Deed { number: 3, life: 7, epoch: 2, released_until: None, unpurged_below: None };
        let released = Deed { released_until: Some(1000), ..owned.clone() };
        let table = [
            (&owned, 7, 0, true, Says::Ours),
            (&owned, 8, 0, true, Says::Theirs),
            (&owned, 8, 0, false, Says::Free),
            (&released, 7, 999, true, Says::Released(1000)),
            (&released, 7, 1000, true, Says::Free),
            (&released, 8, 2000, true, Says::Free),
        ];
        for (deed, me, now, there, says) in table {
            let is_there = |number, life| there && (number, life) == (3, 7);
            assert_eq!(deed.says(me, now, is_there), says, "{deed:?} {me} {now}");
        }
    }

    #[test]
    fn it_is_read_as_it_was_written_and_by_older_programs_too() {
        let deed = Deed { number: 1023, life: u64::MAX, epoch: 9, released_until: Some(5), unpurged_below: Some(7) };
        assert_eq!(Deed::read(&deed.write()), Some(deed));
        let later = br#"{"number":1,"life":2,"epoch":3,"zone":"b"}"#;
        assert_eq!(
            Deed::read(later),
            Some(Deed { number: 1, life: 2, epoch: 3, released_until: None, unpurged_below: None })
        );
        assert_eq!(Deed::read(b"{}"), None);
    }
}

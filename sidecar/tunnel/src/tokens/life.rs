//! How long a bootstrap token is worth something: int64 minutes on the wire, seconds in the ledger (NC section 1.4).

/// 9999-12-31T23:59:59Z: no calendar goes further.
const LAST_SECOND: i64 = 253_402_300_799;
const MINUTE: i64 = 60;

/// Until when. Seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// 0 minutes: no token is wanted, only the endpoint.
    EndpointOnly,
    /// For ever.
    Endless,
    /// Up to that second, which it does not live to see.
    Until(i64),
}

/// A time that cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expireTime ends after the year 9999: give fewer minutes, or a negative number for a token that never expires")]
pub struct Unrepresentable;

impl Life {
    /// Of `minutes` from `now`.
    ///
    /// # Errors
    /// [`Unrepresentable`].
    pub fn of_minutes(minutes: i64, now: i64) -> Result<Self, Unrepresentable> {
        match minutes {
            0 => Ok(Self::EndpointOnly),
            i64::MIN..0 => Ok(Self::Endless),
            _ => {
                let end = minutes.checked_mul(MINUTE).and_then(|seconds| now.checked_add(seconds));
                end.filter(|end| *end <= LAST_SECOND).map(Self::Until).ok_or(Unrepresentable)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_are_what_the_contract_says_up_to_both_ends_of_int64() {
        let rows = [
            (-1, Ok(Life::Endless)),
            (i64::MIN, Ok(Life::Endless)),
            (0, Ok(Life::EndpointOnly)),
            (1, Ok(Life::Until(1060))),
            (i64::MAX, Err(Unrepresentable)),
            (i64::MAX / MINUTE, Err(Unrepresentable)),
            ((LAST_SECOND - 1000) / MINUTE, Ok(Life::Until(1000 + (LAST_SECOND - 1000) / MINUTE * MINUTE))),
        ];
        for (minutes, expected) in rows {
            assert_eq!(Life::of_minutes(minutes, 1000), expected, "{minutes}");
        }
    }
}

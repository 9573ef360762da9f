//! Client ids: the original's snowflakes, so that ids of both sort together (G-5), and the numbers of nodes within them (G-6).
//!
//! 41 bits of milliseconds, 10 bits of node, 12 bits of sequence. [`Mint`] is pure: time comes in, and so does how far ahead ids
//! may be issued, which `reserved.rs` has made durable before.

mod reserved;

use std::{fmt, str::FromStr};

pub use self::reserved::{Ids, Lease, NoIds};

/// The epoch of the snowflakes: Twitter's, as in the original (Grid section 2).
pub const EPOCH_MS: u64 = 1_288_834_974_657;
const NODE_BITS: u32 = 10;
const SEQUENCE_BITS: u32 = 12;
const SEQUENCE: u64 = (1 << SEQUENCE_BITS) - 1;
/// The last millisecond that 41 bits hold: in 2080.
const LAST_TICK: u64 = (1 << 41) - 1;

/// The number of a node among the gateways of a grid: 0 to 1023. Events show it as `n`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeNumber(u16);

/// An end user's connection, in the whole grid and for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(u64);

/// What is no client id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a client id is a decimal number without sign or blanks, from 1 to 9223372036854775807")]
pub struct NoClientId;

/// Issues the ids of one node. None comes twice, whatever the clock does.
#[derive(Debug)]
pub struct Mint {
    node: NodeNumber,
    /// The tick and sequence of the next id.
    tick: u64,
    sequence: u64,
    /// Ids of this tick and later ones are not issued.
    until: u64,
}

/// Why there is no id now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no id can be issued before more of them are reserved")]
pub struct NotReserved;

impl NodeNumber {
    /// `None` above 1023.
    #[must_use]
    pub fn new(number: u16) -> Option<Self> {
        (number < 1 << NODE_BITS).then_some(Self(number))
    }

    /// 0 to 1023.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0
    }
}

impl ClientId {
    /// The node that the client is connected to.
    #[must_use]
    pub fn node(self) -> NodeNumber {
        // Ten bits are left.
        NodeNumber((self.0 >> SEQUENCE_BITS & ((1 << NODE_BITS) - 1)) as u16)
    }

    /// When it was issued, in milliseconds since 1970.
    #[must_use]
    pub fn issued_ms(self) -> u64 {
        (self.0 >> (NODE_BITS + SEQUENCE_BITS)) + EPOCH_MS
    }

    /// `None` for what no snowflake can be.
    #[must_use]
    pub fn new(number: u64) -> Option<Self> {
        (1..=i64::MAX as u64).contains(&number).then_some(Self(number))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ClientId {
    type Err = NoClientId;

    fn from_str(text: &str) -> Result<Self, NoClientId> {
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(NoClientId);
        }
        text.parse().ok().and_then(Self::new).ok_or(NoClientId)
    }
}

impl Mint {
    /// Issues ids of `node` from the millisecond `from_ms` (since 1970) on: the end of what was reserved before, or now.
    #[must_use]
    pub fn new(node: NodeNumber, from_ms: u64) -> Self {
        let tick = from_ms.saturating_sub(EPOCH_MS).clamp(1, LAST_TICK);
        Self { node, tick, sequence: 0, until: tick }
    }

    /// Ids before this millisecond may be issued: it is durable that no later life of the process begins before it.
    pub fn reserve(&mut self, until_ms: u64) {
        self.until = self.until.max(until_ms.saturating_sub(EPOCH_MS).min(LAST_TICK));
    }

    /// The millisecond of the next id, where the clock is not ahead of it.
    fn next_ms(&self) -> u64 {
        self.tick + EPOCH_MS
    }

    /// Milliseconds that are reserved still.
    fn left(&self) -> u64 {
        self.until.saturating_sub(self.tick)
    }

    /// The next id. A clock that went backwards is not followed; more than 4096 ids in a millisecond go ahead of it.
    ///
    /// # Errors
    /// When all that was reserved is used up.
    pub fn issue(&mut self, now_ms: u64) -> Result<ClientId, NotReserved> {
        let now = now_ms.saturating_sub(EPOCH_MS);
        if now > self.tick {
            (self.tick, self.sequence) = (now, 0);
        }
        if self.tick >= self.until {
            return Err(NotReserved);
        }
        let id = self.tick << (NODE_BITS + SEQUENCE_BITS) | u64::from(self.node.0) << SEQUENCE_BITS | self.sequence;
        if self.sequence == SEQUENCE {
            (self.tick, self.sequence) = (self.tick + 1, 0);
        } else {
            self.sequence += 1;
        }
        Ok(ClientId(id))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const NOW: u64 = 1_637_829_000_000;

    fn mint(reserved: u64) -> Mint {
        let mut mint = Mint::new(NodeNumber::new(5).unwrap(), NOW);
        mint.reserve(NOW + reserved);
        mint
    }

    #[test]
    fn ids_have_the_layout_of_the_original() {
        // The seed's own: 2021-11-25T08:29:29.924Z, worker 0, sequence 0 (Grid section 2).
        let id: ClientId = "1463786910324359168".parse().unwrap();
        assert_eq!((id.issued_ms(), id.node().get(), id.get() & SEQUENCE), (1_637_828_969_924, 0, 0));
        let id = mint(1).issue(NOW).unwrap();
        assert_eq!((id.issued_ms(), id.node().get()), (NOW, 5));
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in ["", "0", "-1", "+1", " 1", "1 ", "1.0", "1e3", "9223372036854775808", "18446744073709551616", "١"]
        {
            assert_eq!(text.parse::<ClientId>(), Err(NoClientId), "{text:?}");
        }
        assert_eq!("9223372036854775807".parse::<ClientId>().unwrap().get(), i64::MAX as u64);
        assert_eq!(NodeNumber::new(1024), None);
    }

    #[test]
    fn none_comes_twice_in_a_burst_or_behind_a_clock_that_goes_backwards() {
        let mut mint = mint(1000);
        let clock = (0..20_000).map(|n| if n % 3 == 0 { NOW - 500 } else { NOW + n / 4000 });
        let ids: Vec<_> = clock.map(|now| mint.issue(now).unwrap()).collect();
        assert!(ids.is_sorted());
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
    }

    #[test]
    fn nothing_is_issued_beyond_what_is_reserved_and_the_next_life_begins_there() {
        let mut first = mint(2);
        let last = (0..2 * 4096).map(|_| first.issue(NOW).unwrap()).last().unwrap();
        assert_eq!(first.issue(NOW), Err(NotReserved));
        first.reserve(NOW + 3);
        assert!(first.issue(NOW).is_ok());
        // The process dies; the clock was set back; what was reserved is not.
        let mut second = Mint::new(NodeNumber::new(5).unwrap(), NOW + 3);
        assert_eq!(second.issue(NOW - 10_000), Err(NotReserved));
        second.reserve(NOW + 60_000);
        assert!(second.issue(NOW - 10_000).unwrap() > last);
    }
}

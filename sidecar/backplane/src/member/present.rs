//! The other gateways that are there, for those who must know where one listens, and who is gone.

use std::{collections::BTreeMap, sync::Arc};

/// The other gateways that are there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Present {
    /// Whether all records were read at least once: before that nobody is known to be gone.
    pub(crate) is_known: bool,
    pub(crate) there: BTreeMap<u16, There>,
}

/// One that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct There {
    pub(crate) life: u64,
    /// Where it listens; empty: it does not say.
    pub(crate) address: Arc<str>,
}

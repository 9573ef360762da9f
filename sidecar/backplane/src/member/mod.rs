//! Who the gateways of a node are, and which number each has (Grid section 7).
//!
//! ```text
//! record.rs   what a gateway says of itself
//! roster.rs   who is there, as it was last heard (pure)
//! ```

mod record;
mod roster;

pub(crate) use self::{
    record::Record,
    roster::{Change, Roster},
};

//! Who the gateways of a node are, and which number each has (Grid section 7).
//!
//! ```text
//! present.rs  who is there, for the rooms
//! record.rs   what a gateway says of itself
//! roster.rs   who is there, as it was last heard (pure)
//! ```

mod present;
mod record;
mod roster;

pub(crate) use self::{
    present::{Present, There},
    record::Record,
    roster::{Change, Roster, SILENCE},
};

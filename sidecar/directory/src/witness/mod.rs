//! Witnesses: others who sign that a log only grew (Datanet section 6, `c2sp.org/tlog-witness`), and what their signatures are to us.
//!
//! ```text
//! request.rs   the body of `add-checkpoint`, both ways
//! judge.rs     whether a witness signs a checkpoint
//! cosigned.rs  which of our checkpoints others have signed, and which one is shown
//! ```
//! All of it is pure. What was signed last is the store's matter, and who is called that of the node.

mod cosigned;
mod judge;
mod request;

pub use cosigned::{Cosigned, Member, Standing, Unfit};
pub use judge::{Refusal, Seen, Witness};
pub use request::{Answered, Malformed, Request, answered, from_known, signatures};

/// What is behind a witness' URL.
pub const PATH: &str = "/add-checkpoint";

/// The media type of a known size in a refusal.
pub const SIZE: &str = "text/x.tlog.size";

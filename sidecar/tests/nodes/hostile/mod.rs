//! What attackers, broken clients and browsers send to a real node, and clients that die at the worst time.
//!
//! The inputs are tables; each says what must come of it. What no answer may ever be is checked after every one of them:
//! the node still serves, and nothing was done that nobody asked for.

mod bombs;
mod browsers;
pub(crate) mod clocks;
mod cuts;
mod deaf;
mod floods;
mod guesses;
mod poppers;
mod sessions;
mod smuggling;
mod targets;

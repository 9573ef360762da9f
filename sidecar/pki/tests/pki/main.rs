//! The room as its users see it: what is issued, what is accepted, what is refused and in which words.
#![allow(clippy::unwrap_used, reason = "set-up outside of test functions may fail loudly too")]

mod fuzz;
mod garbage;
mod issue;
mod pairs;
mod plane;
mod renewal;
mod request;
mod roll;
mod secrecy;
mod support;
mod trust;

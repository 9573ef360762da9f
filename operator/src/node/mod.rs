//! A node from its resources: what was found, what of it is good, and the files that its sidecar runs on.
//!
//! Pure: no cluster, no file, no clock. The controllers and `render` bring a [`Found`] and the time, and write what comes
//! out; the only effect is the random source that makes keys.
//!
//! | step | takes | gives |
//! |---|---|---|
//! | [`references`] | the resources | the Secrets and ConfigMaps to fetch, by name |
//! | [`validate::all`] | [`Found`] | [`validate::Judgement`]: the node, each route and each registration, accepted or with its problems |
//! | [`build::node`] | [`validate::Judgement`] | [`build::Built`]: files, their hash, a new root or leaf to keep, when to look again |

pub(crate) mod build;
mod found;
pub(crate) mod issue;
pub(crate) mod names;
pub(crate) mod pod;
mod problem;
pub(crate) mod roll;
pub(crate) mod validate;

pub(crate) use found::{ABANDON_LOG, Found, FoundGateway, FoundIssuer, FoundRooms, Issued, Keys, references};
pub(crate) use problem::{Object, Problem};
pub(crate) use validate::is_made_by_api;

#[cfg(test)]
pub(crate) mod sample;

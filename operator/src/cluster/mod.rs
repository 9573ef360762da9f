//! What all controllers do with the cluster: write objects, follow references, word conditions.

pub(crate) mod conditions;
pub(crate) mod difference;
#[cfg(test)]
pub(crate) mod fake;
pub(crate) mod follow;
pub(crate) mod nudge;
pub(crate) mod objects;
pub(crate) mod remedy;
pub(crate) mod secrets;

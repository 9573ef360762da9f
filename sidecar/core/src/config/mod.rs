//! Where the configuration comes from, and who may change it.
//!
//! [`Settings`] are what the environment says about this process. The node itself comes from a directory that the
//! operator writes, from a file written by hand, or from what the API was told and the store kept. [`Keeper`] brings
//! them together: it alone puts a [`Snapshot`](crate::Snapshot) in force.

mod backplane;
mod bounded;
mod check;
mod credentials;
mod directory;
mod environment;
mod file;
#[cfg(test)]
mod fuzz;
mod identity;
mod keeper;
mod managed;
mod metrics;
mod room;
mod settings;
mod standalone;
#[cfg(test)]
mod testing;
mod trick;
mod trust;
mod tunnel;
mod watch;

pub use backplane::BackplaneSettings;
pub use check::{Checked, check};
pub use environment::Environment;
pub use identity::{ApiRoute, ApiRoutes, NodeIdentity, RouteChange};
pub use keeper::{Applied, Keeper, KeeperError};
pub use metrics::ConfigMetrics;
pub use settings::{Listen, LogFormat, Settings};
pub use trust::{TrustDesk, TrustError};
pub use tunnel::TunnelSettings;

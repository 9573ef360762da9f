//! The channels from outside: requests to status, headers and body, over the fronts as the program calls them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]
#![cfg(not(feature = "shuttle"))]

mod across;
mod alone;
mod callers;
mod disk;
mod fair;
mod flight;
mod flows;
mod generic;
mod grpc;
mod hop;
mod http1;
mod kuscia;
mod leases;
mod life;
mod list;
mod metadata;
mod metrics;
mod node;
mod partners;
mod room;
mod sharing;
mod wakeups;

//! Partners as the wire contract has them (PTP sections 8, 11 and 12), between real nodes.
//!
//! ```text
//! contract.rs  each section of the contract, with its tests
//! commands.rs  mesh route and mesh exec, and what they say of both directions
//! diagnose.rs  broken partners, each with its line and its remedy; nginx.rs stands between
//! failover.rs  the first address is killed, or swallows everything, and comes back
//! weave.rs   weaving and acknowledging: consent on both sides, in every carrier, and what strangers try
//! managed.rs the same with a node whose resources decide
//! ring.rs    three nodes whose routes lead in a circle, and one behind another
//! mpis.rs    each MPI of PTP sections 11.2 and 12.2 as a table
//! websocket.rs  a partner's WebSocket to a service, which ends with its route
//! ```

mod commands;
mod contract;
mod diagnose;
mod failover;
mod managed;
mod mpis;
mod nginx;
mod ring;
mod weave;
mod websocket;
mod welcome;

/// Success.
const OK: &str = "E0000000000";

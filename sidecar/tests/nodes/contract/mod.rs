//! The wire contract as tables, run against one node over HTTP/1.1, h2c, TLS with HTTP/2, and gRPC in all its forms.
//!
//! ```text
//! calls.rs  what is asked and what it brings, in plain words: each row over every way that there is
//! ways.rs   the ways: a dialect on a transport, from the words to bytes and back
//! http.rs   exact requests and answers over HTTP: bodies.rs, dialects.rs, headers.rs, paths.rs, written with rows.rs
//! grpc.rs   exact messages over gRPC, health and reflection
//! waits.rs  calls that wait, on every way at once
//! hops.rs   what a partner sees of a call, and what becomes of its answer; by_grpc.rs: where it wants gRPC
//! codes.rs  every code of PTP section 13.1 that this node raises or passes on
//! sidecar.rs  the same through a sidecar beside a gateway
//! gateways.rs  the same at a gateway of several that does not own the sessions, over a real NATS
//! life.rs  what ends: a reader before it has read, a push that is sent again, messages, sessions and tombstones by their age
//! settings.rs  what settings change, and what holds without any
//! stage.rs  the node, its partners, and one that answers as it is told
//! wire.rs   connections
//! ```

mod bodies;
mod by_grpc;
mod calls;
mod codes;
mod dialects;
mod gateways;
mod grpc;
mod headers;
mod hops;
mod http;
mod large;
mod life;
mod paths;
mod rows;
mod settings;
mod sidecar;
mod stage;
mod waits;
mod ways;
mod wire;

/// Success, and nothing else is (PTP decision D14).
const OK: &str = "E0000000000";

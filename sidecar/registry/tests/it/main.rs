//! The registry and its proxy over loopback: real listeners in front, real services behind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on must fail")]

mod admission;
mod bad_services;
mod conformance;
mod egress;
mod expected;
mod framing;
mod grpc;
mod hostile;
mod house;
mod instances;
mod life;
mod names;
mod plain;
mod secure;
mod shared;
mod streaming;
mod two_nodes;
mod websocket;

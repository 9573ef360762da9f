//! The wire messages and services of PTP/1.0, generated from the .proto files beside them, and gRPC's health service.
//!
//! Nothing but encoding lives here: what a message means is said in the transport room.

/// Package `org.ppc.ptp` (PTP section 6.1).
pub mod ptp {
    #![allow(missing_docs, unused_qualifications, clippy::all, clippy::pedantic, reason = "generated")]
    tonic::include_proto!("org.ppc.ptp");
}

/// Package `grpc.health.v1`.
pub mod health {
    #![allow(missing_docs, unused_qualifications, clippy::all, clippy::pedantic, reason = "generated")]
    tonic::include_proto!("grpc.health.v1");
}

/// The descriptors of everything here, as gRPC reflection serves them.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/all.bin"));

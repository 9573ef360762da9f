//! The wire messages and services of PTP/1.0 and of the network controller, generated from the .proto files beside them, and
//! gRPC's health service.
//!
//! Nothing but encoding lives here: what a message means is said in the rooms of transport and tunnel.

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

/// Package `pb`: the network controller (NC section 2).
pub mod nc {
    #![allow(missing_docs, unused_qualifications, clippy::all, clippy::pedantic, reason = "generated")]
    tonic::include_proto!("pb");
}

/// Package `interconn.tunnel.v1`: what the network controller offers beyond that (NC section 8).
pub mod tunnel {
    #![allow(missing_docs, unused_qualifications, clippy::all, clippy::pedantic, reason = "generated")]
    tonic::include_proto!("interconn.tunnel.v1");
}

/// The descriptors of what the network controller serves, for reflection on its own ports.
pub const NC_DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/nc.bin"));

/// The descriptors of what the data plane's port serves, as gRPC reflection serves them.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/all.bin"));

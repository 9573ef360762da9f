//! Generates the messages and services with protox and tonic-prost-build, so that no `protoc` has to be installed.

use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=ptp");
    println!("cargo::rerun-if-changed=health");
    println!("cargo::rerun-if-changed=nc");
    println!("cargo::rerun-if-changed=tunnel");
    let all = protox::compile(["ptp.proto", "health.proto"], ["ptp", "health"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("all.bin"), protox::prost::Message::encode_to_vec(&all))?;
    tonic_prost_build::configure()
        // Payloads stay slices of the buffer that they arrived in.
        .bytes(".")
        // In order, so that the same message is always the same bytes; and smaller while empty, as it nearly always is.
        .btree_map(".")
        .build_transport(false)
        // The front serves these services itself: tonic's server would copy every payload and answer an oversize one
        // with a bare gRPC status. The client is what tests and tools use.
        .build_server(false)
        .compile_fds(protox::compile(["ptp.proto"], ["ptp"])?)?;
    // Small messages, seldom: here tonic's server is all that is needed.
    tonic_prost_build::configure()
        .btree_map(".")
        .build_transport(false)
        .compile_fds(protox::compile(["health.proto"], ["health"])?)?;
    let nc = ["network_controller_service.proto", "tunnel.proto"];
    let folders = ["nc", "tunnel", "health"];
    let shown = protox::compile(nc.iter().chain(&["health.proto"]), folders)?;
    fs::write(out.join("nc.bin"), protox::prost::Message::encode_to_vec(&shown))?;
    tonic_prost_build::configure().btree_map(".").build_transport(false).compile_fds(protox::compile(nc, folders)?)?;
    Ok(())
}

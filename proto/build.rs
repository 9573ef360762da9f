//! Generates the messages and services with protox and tonic-prost-build, so that no `protoc` has to be installed.

use std::{env, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=ptp");
    let files = protox::compile(["ptp.proto"], ["ptp"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("ptp.bin"), protox::prost::Message::encode_to_vec(&files))?;
    tonic_prost_build::configure()
        // Payloads stay slices of the buffer that they arrived in.
        .bytes(".")
        // In order, so that the same message is always the same bytes; and smaller while empty, as it nearly always is.
        .btree_map(".")
        .build_transport(false)
        // The front serves these services itself: tonic's server would copy every payload and answer an oversize one
        // with a bare gRPC status. The client is what tests and tools use.
        .build_server(false)
        .compile_fds(files)?;
    Ok(())
}

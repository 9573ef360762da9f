//! How the program of the image is linked.

use std::env;

/// A program without a loader moves itself to where it was put: here that is 47 000 entries of 24 bytes, which are read at each start and
/// stay resident. Packed (RELR) they are a fortieth of that. A program for a machine's own C library stays as it is: an older one may not know them.
const PACKED: &str = "-Wl,-z,pack-relative-relocs";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let features = env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    if features.split(',').any(|feature| feature == "crt-static") {
        println!("cargo::rustc-link-arg-bins={PACKED}");
    }
}

//! The sidecar, the gateway, and the command line: a thin main over the rooms.

fn main() {}

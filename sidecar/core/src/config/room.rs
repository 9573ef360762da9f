//! How much a sidecar may have on its way: its pod's memory limit is small, and the node's bounds are made for the gateway.
//!
//! A body that would not fit is refused, and named; without this the kernel would end the process, and every call with it.

use std::fs;

use crds::{ByteSize, Transport};

/// The program, and its connections (some 22 KiB each, 4096 of one address).
const BESIDE_BODIES: u64 = 96 << 20;
/// However little there is: messages of usual sizes pass.
const LEAST: u64 = 16 << 20;
/// What cgroups of version 1 say for "none" is near 2^63; no machine has this much.
const NONE: u64 = 1 << 50;

/// The memory limit of this process's cgroup, of either version; `None`: there is none.
pub(super) fn memory_limit() -> Option<u64> {
    let places = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let text = places.into_iter().find_map(|place| fs::read_to_string(place).ok())?;
    text.trim().parse().ok().filter(|limit| *limit < NONE)
}

/// Lowers the bounds to what the limit leaves room for. Answers that room where it lowered one.
pub(super) fn fit(transport: &mut Transport, limit: u64) -> Option<ByteSize> {
    let room = ByteSize(limit.saturating_sub(BESIDE_BODIES).max(LEAST));
    if transport.total_bytes <= room {
        return None;
    }
    for bound in [&mut transport.max_body_bytes, &mut transport.session_bytes, &mut transport.total_bytes] {
        *bound = (*bound).min(room);
    }
    Some(room)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_lowered_to_the_room_that_the_limit_leaves_and_never_raised() {
        let bounds = |limit: u64| {
            let mut transport = Transport { max_body_bytes: ByteSize::mib(100), ..Transport::default() };
            let lowered = fit(&mut transport, limit).is_some();
            let Transport { max_body_bytes, session_bytes, total_bytes, .. } = transport;
            (lowered, max_body_bytes, session_bytes, total_bytes)
        };
        let (mib, gib) = (ByteSize::mib, ByteSize::gib);
        assert_eq!(bounds(256 << 20), (true, mib(100), mib(160), mib(160)));
        assert_eq!(bounds(64 << 20), (true, mib(16), mib(16), mib(16)));
        assert_eq!(bounds(4 << 30), (false, mib(100), gib(1), gib(2)));
    }
}

//! Push and pop of one message, both over HTTP/1.1 with protobuf bodies, each connection on a queue of its own.

use anyhow::Result;

use crate::{
    ROUNDS,
    floor::varint,
    load::{Load, Pace},
    server::Server,
    stats::{self, median},
};

/// Compares ours with the floor: rate in the closed loop, latency in an open loop at half the slower one's rate.
pub(crate) fn run() -> Result<()> {
    let home = tempfile::tempdir()?;
    let (ours, floor) = (Server::mesh(home.path())?, Server::own("floor")?);
    stats::head("push and pop of one message, HTTP/1.1, protobuf", "floor");
    for (name, connections, size) in [("1 KiB x16", 16, 1 << 10), ("64 KiB x16", 16, 1 << 16), ("1 MiB x8", 8, 1 << 20)]
    {
        let load = Load { connections, requests: pair, size, least_answer: size };
        let closed = rounds(&load, &ours, &floor, Pace::Closed)?;
        stats::row(&format!("{name}, closed loop"), &closed.0, &closed.1);
        // Half of what the slower one can do, or its latency would only tell how long the queue has grown.
        let pace = closed.0.rate.min(closed.1.rate) / 2.0;
        let open = rounds(&load, &ours, &floor, Pace::Open(pace))?;
        stats::row(&format!("{name}, open loop at {pace:.0}/s"), &open.0, &open.1);
    }
    Ok(())
}

/// The median round of ours and of the peer, measured in turn.
pub(crate) fn rounds(load: &Load, ours: &Server, peer: &Server, pace: Pace) -> Result<(stats::Round, stats::Round)> {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        a.push(load.round(ours, pace)?);
        b.push(load.round(peer, pace)?);
    }
    Ok((median(&a), median(&b)))
}

/// One push and one pop.
fn pair(n: usize, size: usize) -> Vec<Vec<u8>> {
    let mut push = b"\x0a\x01t\x12".to_vec();
    varint(&mut push, size);
    push.resize(push.len() + size, b'x');
    vec![post("push", n, &push), post("pop", n, b"\x0a\x01t\x10\x88\x27")]
}

fn post(operation: &str, n: usize, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /v1/interconn/chan/{operation} HTTP/1.1\r\nhost: 127.0.0.1\r\nx-ptp-session-id: bench-{n}\r\n\
         content-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

//! One push of 256 MiB to a partner over a link of 50 ms round trip and 1 Gbit/s, against raw TCP with tuned buffers over
//! the same link.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Instant,
};

use anyhow::{Context, Result};
use socket2::SockRef;

use super::partners::{Partners, TO_B};
use crate::{
    Effort,
    client::{Body, Expect, Http, push, release},
    peer::SINK_BUFFER,
    process::{Probe, Server},
    report::{Goal, Line, Report, Unit},
    stats::median,
};

const SIZE: usize = 256 << 20;
const SESSION: &str = "bulk";

pub(super) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let mut link = None;
    let nodes = Partners::start(|b| Ok(link.insert(to(b)?).address))?;
    let sink = Server::own("sink", &[], Probe::Accepts)?;
    let raw = to(sink.address)?;
    let request = push(Body::Protobuf, SESSION, TO_B, SIZE);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    // One more than counts: the first opens the connection between the nodes.
    for n in 0..=effort.rounds {
        let (a, b) = (ptp(&nodes, &request)?, tcp(raw.address, &request)?);
        if n > 0 {
            ours.push(a);
            theirs.push(b);
        }
    }
    let ratio = median(ours.iter().zip(&theirs).map(|(a, b)| a / b).collect());
    report.line(Line {
        measure: "256 MiB push, 50 ms round trip, 1 Gbit/s".to_owned(),
        unit: Unit::MegaBytesPerSecond,
        ours: median(ours),
        peer: Some(("raw TCP", median(theirs), ratio)),
        goal: Goal::RatioAtLeast(0.9),
    });
    Ok(())
}

/// A link of its own to a server.
fn to(server: SocketAddr) -> Result<Server> {
    Server::own("link", &[&server.to_string()], Probe::Accepts)
}

/// Megabytes per second of the push, from its first byte to its answer.
fn ptp(nodes: &Partners, request: &[u8]) -> Result<f64> {
    let mut connection = Http::open(nodes.a.address)?;
    let begun = Instant::now();
    Expect::Success.check(connection.exchange(request)?)?;
    let rate = SIZE as f64 / 1e6 / begun.elapsed().as_secs_f64();
    Expect::Success.check(Http::open(nodes.b.address)?.exchange(&release(SESSION))?)?;
    Ok(rate)
}

/// The same bytes over a connection that is already open, from the first until the far end has all.
fn tcp(to: SocketAddr, bytes: &[u8]) -> Result<f64> {
    #[allow(clippy::disallowed_methods, reason = "a load generator's own thread, to its own server on loopback")]
    let mut stream = TcpStream::connect(to).context("connect")?;
    SockRef::from(&stream).set_send_buffer_size(SINK_BUFFER)?;
    let begun = Instant::now();
    stream.write_all(bytes)?;
    stream.shutdown(Shutdown::Write)?;
    stream.read_exact(&mut [0])?;
    Ok(SIZE as f64 / 1e6 / begun.elapsed().as_secs_f64())
}

//! gRPC: calls of one message each way, and one call on which messages go back and forth.

use std::net::SocketAddr;

use anyhow::Result;

use super::{Cores, Open, Pair, known, lines};
use crate::{
    Effort,
    client::{Conversation, Expect, Grpc, varint},
    load::Pace,
    peer::{Proxy, Way},
    process::{Probe, Server},
    report::Report,
};

/// Messages of one call that goes on.
const LARGE: usize = 64 << 10;

pub(super) fn unary(effort: Effort, cores: Cores, report: &mut Report) -> Result<()> {
    let open = |to: SocketAddr| -> Box<Open<'static>> {
        // Field 1, a text.
        let message = message(0x0a, 1024);
        Box::new(move |n| {
            let calls = [("/bench.Unary/call", message.clone(), Expect::AtLeast(1024))];
            Ok(Box::new(Grpc::open(to, &format!("bench-{n}"), &calls)?))
        })
    };
    against_each(effort, cores, ("proxy gRPC unary 1 KiB x32", 32), &open, report)
}

/// Each exchange is a message up and the same down again, on a call that goes on.
pub(super) fn streaming(effort: Effort, cores: Cores, report: &mut Report) -> Result<()> {
    let open = |to: SocketAddr| -> Box<Open<'static>> {
        // Field 2, bytes.
        let message = message(0x12, LARGE);
        Box::new(move |_| Ok(Box::new(Conversation::open(to, "/bench.Unary/converse", &message, LARGE)?)))
    };
    against_each(effort, cores, ("proxy gRPC streaming 64 KiB x8", 8), &open, report)
}

fn against_each(
    effort: Effort,
    cores: Cores,
    (measure, connections): (&str, usize),
    open: &dyn Fn(SocketAddr) -> Box<Open<'static>>,
    report: &mut Report,
) -> Result<()> {
    let service = Server::own("echo", &[], Probe::Accepts)?;
    for proxy in [Proxy::Nginx, Proxy::Envoy] {
        let pair = Pair::start(cores, proxy, service.address, Way::Grpc);
        let Some(pair) = known(pair, measure, proxy, report) else { continue };
        let (ours, peer) = (open(pair.ours.address), open(pair.peer.address));
        let rounds = pair.rounds(effort, connections, (&ours, &peer), Pace::Closed)?;
        lines(&rounds, measure, proxy, 1.0 / 1.2, report);
    }
    Ok(())
}

fn message(tag: u8, size: usize) -> Vec<u8> {
    let mut message = vec![tag];
    varint(&mut message, size);
    message.resize(message.len() + size, b'x');
    message
}

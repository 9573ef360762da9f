//! The grid: one who tells many, many who are silent, calls that send, queues with acknowledgements, and a storm of handshakes.

mod fanout;
mod gateways;
mod idle;
mod queue;
mod send;
mod storm;

pub(super) use self::{
    fanout::run as fanout, gateways::run as gateways, idle::run as idle, queue::run as queue, send::run as send,
    storm::run as storm,
};

use std::net::{IpAddr, Ipv4Addr};

use crate::{
    peer::{Hub, bun_publish, mosquitto, nats_over_websocket, ours},
    report::Report,
};

/// What a message has.
const SIZE: usize = 128;

/// What lets clients of ours subscribe to the room, as clients of the peers do.
const ROOM: &str = ", clientCommands: {pointer: /op, channelPointer: /ch, subscribe: [sub], allow: [room]}";

/// Callers come from several addresses of this machine: one has 28 000 ports.
fn from(n: usize) -> IpAddr {
    let [high, low] = u16::try_from(n / 10_000 + 1).unwrap_or(1).to_be_bytes();
    Ipv4Addr::new(127, 1, high, low).into()
}

/// A node with the room.
fn room() -> anyhow::Result<Hub> {
    ours(ROOM, None)
}

/// What people use for it; what is not to be had is left out.
fn peers(report: &mut Report) -> Vec<Hub> {
    let all = [("NATS", nats_over_websocket()), ("Mosquitto", mosquitto()), ("Bun", bun_publish(None))];
    let taken = all.into_iter().filter_map(|(name, hub)| hub.map_err(|why| report.left_out(name, &why)).ok());
    taken.collect()
}

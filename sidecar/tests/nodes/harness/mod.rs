//! What all tests share: nodes, banks with certificates, HTTP with and without TLS.

mod bank;
mod charts;
pub(crate) mod h2;
mod http;
mod node;
mod raw;
mod relay;
mod small_disk;
pub(crate) mod table;
mod tls;
mod ws;

use std::sync::{
    LazyLock,
    atomic::{AtomicU16, Ordering},
};

pub(crate) use self::{
    bank::{Bank, Partner, leaf},
    charts::lacking,
    http::{Answer, connect, from, post, try_exchange},
    node::{Node, base64, configure_as, unbase64, until},
    raw::{Heard, Raw},
    relay::Relay,
    small_disk::{fill_disk, on_a_small_disk},
    tls::{Client, over_tls, tls},
    ws::Socket,
};

/// The ids of the two banks of the tests.
pub(crate) const A: &str = "LX0000010000280";
pub(crate) const B: &str = "LX0000010000270";

/// A free port of loopback, below those that the system gives to callers: a node that is started again must find it free.
pub(crate) fn free_port() -> u16 {
    /// Begins somewhere else in each process, for several runs may go on at the same time.
    static NEXT: LazyLock<AtomicU16> =
        LazyLock::new(|| AtomicU16::new(u16::try_from(std::process::id() % 20_000).unwrap()));
    let ports = std::iter::repeat_with(|| 10_000 + NEXT.fetch_add(1, Ordering::Relaxed) % 20_000);
    ports.take(20_000).find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}

//! What all tests share: nodes, banks with certificates, HTTP with and without TLS.

mod bank;
pub(crate) mod h2;
mod http;
mod node;
mod raw;
mod relay;
mod tls;

pub(crate) use self::{
    bank::{Bank, Partner},
    http::{connect, from, post},
    node::{Node, base64, configure, until},
    raw::{Heard, Raw},
    relay::Relay,
    tls::{Client, over_tls, tls},
};

/// The ids of the two banks of the tests.
pub(crate) const A: &str = "LX0000010000280";
pub(crate) const B: &str = "LX0000010000270";

/// A free port of loopback; taken again at once by the node that gets it.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

//! Resident memory: idle, and with idle keep-alive connections.

use anyhow::Result;

use crate::{connection::Connection, server::Server};

/// As many as a process may open here with room to spare; the client's own end counts too, but in another process.
const IDLE: usize = 5_000;

/// Prints the resident memory of a node that does nothing.
pub(crate) fn run() -> Result<()> {
    let home = tempfile::tempdir()?;
    let ours = Server::mesh(home.path())?;
    let idle = ours.rss()?;
    let mut connections = Vec::with_capacity(IDLE);
    for _ in 0..IDLE {
        let mut connection = Connection::open(ours.address)?;
        connection.exchange(b"GET /stats HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")?;
        connections.push(connection.into_socket());
    }
    let loaded = ours.rss()?;
    println!("\n### memory\n\n| state | resident |\n|---|---:|");
    println!("| idle | {:.1} MB |", idle as f64 / 1024.0);
    println!("| each of {IDLE} idle keep-alive connections | {:.1} KiB |", (loaded - idle) as f64 / IDLE as f64);
    Ok(())
}

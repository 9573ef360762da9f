//! The far end of the raw transfer: reads all that a connection sends, and answers one byte when the sender has ended.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener},
    thread,
};

use anyhow::Result;
use socket2::SockRef;

/// The receive buffer: two bandwidth-delay products of the link.
pub(crate) const BUFFER: usize = 12 << 20;

/// Serves until it is killed.
pub(super) fn serve(port: &str) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse()?))?;
    // Before a connection is made, or the window's scale is already settled.
    SockRef::from(&listener).set_recv_buffer_size(BUFFER)?;
    for stream in listener.incoming() {
        let mut stream = stream?;
        thread::spawn(move || -> Result<()> {
            let mut buffer = vec![0; 1 << 20];
            while stream.read(&mut buffer)? > 0 {}
            Ok(stream.write_all(b"!")?)
        });
    }
    Ok(())
}

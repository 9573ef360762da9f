//! The service behind the proxies: answers every request with the same 1 KiB, a thread per connection.

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
};

use anyhow::Result;

use super::floor::{read_head, write};

/// The size of its answer.
pub(crate) const SIZE: usize = 1024;

/// Serves until it is killed.
pub(super) fn serve(port: &str) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse()?))?;
    for stream in listener.incoming() {
        let stream = stream?;
        stream.set_nodelay(true)?;
        thread::spawn(move || connection(stream));
    }
    Ok(())
}

fn connection(mut stream: TcpStream) -> Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    while read_head(&mut stream, &mut buffer)?.is_some() {
        write(&mut stream, "text/plain", &[&[b'x'; SIZE]])?;
    }
    Ok(())
}

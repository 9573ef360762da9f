//! The service behind the proxies: answers every request with the same 1 KiB, or as much as it is told, a thread per connection.

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
};

use anyhow::Result;

use super::floor::{read_head, write};

/// The usual size of its answer.
pub(crate) const SIZE: usize = 1024;

/// Serves until it is killed.
pub(super) fn serve(port: &str, size: usize) -> Result<()> {
    let answer: &'static [u8] = vec![b'x'; size].leak();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse()?))?;
    for stream in listener.incoming() {
        let stream = stream?;
        stream.set_nodelay(true)?;
        thread::spawn(move || connection(stream, answer));
    }
    Ok(())
}

fn connection(mut stream: TcpStream, answer: &[u8]) -> Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    while read_head(&mut stream, &mut buffer)?.is_some() {
        write(&mut stream, "text/plain", &[answer])?;
    }
    Ok(())
}

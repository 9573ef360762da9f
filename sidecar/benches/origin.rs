//! The service behind the proxies: answers every request with the same 1 KiB, a thread per connection.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
};

use anyhow::Result;

use crate::connection::find;

/// The size of its answer.
pub(crate) const SIZE: usize = 1024;

/// Serves until it is killed.
pub(crate) fn serve(port: &str) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse()?))?;
    for stream in listener.incoming() {
        let stream = stream?;
        stream.set_nodelay(true)?;
        thread::spawn(move || connection(stream));
    }
    Ok(())
}

fn connection(mut stream: TcpStream) -> Result<()> {
    let mut answer =
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {SIZE}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + SIZE, b'x');
    let mut buffer = vec![0; 16 * 1024];
    let mut have = 0;
    loop {
        while let Some(head) = find(&buffer[..have], b"\r\n\r\n") {
            stream.write_all(&answer)?;
            buffer.copy_within(head + 4..have, 0);
            have -= head + 4;
        }
        let read = stream.read(&mut buffer[have..])?;
        if read == 0 {
            return Ok(());
        }
        have += read;
    }
}

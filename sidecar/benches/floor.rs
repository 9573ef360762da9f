//! The floor: the least that a machine must do for push and pop over HTTP/1.1.
//!
//! A thread per connection, blocking raw sockets, one map of queues. It understands just the requests of `pairs.rs`:
//! protobuf bodies, a session header, `push` and `pop`. No bounds, no expiry, no leases.

use std::{
    collections::{HashMap, VecDeque},
    io::{IoSlice, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use anyhow::{Context, Result, bail};
use parking_lot::{Condvar, Mutex};

use crate::connection::{content_length, find};

type Queues = HashMap<Vec<u8>, VecDeque<Vec<u8>>>;

#[derive(Default)]
struct Shared {
    queues: Mutex<Queues>,
    arrived: Condvar,
}

/// Serves until it is killed.
pub(crate) fn serve(port: &str) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse()?))?;
    let shared = Arc::new(Shared::default());
    for stream in listener.incoming() {
        let (stream, shared) = (stream?, Arc::clone(&shared));
        stream.set_nodelay(true)?;
        thread::spawn(move || connection(stream, &shared));
    }
    Ok(())
}

fn connection(mut stream: TcpStream, shared: &Shared) -> Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut have = 0;
    loop {
        let head = loop {
            if let Some(head) = find(&buffer[..have], b"\r\n\r\n") {
                break head;
            }
            let read = stream.read(&mut buffer[have..])?;
            if read == 0 {
                return Ok(());
            }
            have += read;
        };
        let length = if buffer.starts_with(b"POST") { content_length(&buffer[..head])? } else { 0 };
        let end = head + 4 + length;
        if buffer.len() < end {
            buffer.resize(end, 0);
        }
        if have < end {
            stream.read_exact(&mut buffer[have..end])?;
            have = end;
        }
        answer(&mut stream, shared, &buffer[..head], &buffer[head + 4..end])?;
        buffer.copy_within(end..have, 0);
        have -= end;
    }
}

fn answer(stream: &mut TcpStream, shared: &Shared, head: &[u8], body: &[u8]) -> Result<()> {
    if head.starts_with(b"GET") {
        return write(stream, &[b"E0000000000"]);
    }
    let session = header(head, b"x-ptp-session-id: ").context("no session")?.to_vec();
    if find(&head[..64.min(head.len())], b"/push").is_some() {
        let payload = member(body, 2).context("no payload")?.to_vec();
        shared.queues.lock().entry(session).or_default().push_back(payload);
        shared.arrived.notify_all();
        return write(stream, &[b"\x1a\x0bE0000000000\x22\x0c\xe8\xaf\xb7\xe6\xb1\x82\xe6\x88\x90\xe5\x8a\x9f"]);
    }
    let mut queues = shared.queues.lock();
    let payload = loop {
        if let Some(payload) = queues.get_mut(&session).and_then(VecDeque::pop_front) {
            break payload;
        }
        shared.arrived.wait(&mut queues);
    };
    drop(queues);
    let mut prefix = vec![0x12];
    varint(&mut prefix, payload.len());
    write(stream, &[&prefix, &payload, b"\x1a\x0bE0000000000\x22\x0c\xe8\xaf\xb7\xe6\xb1\x82\xe6\x88\x90\xe5\x8a\x9f"])
}

fn write(stream: &mut TcpStream, parts: &[&[u8]]) -> Result<()> {
    let length: usize = parts.iter().map(|p| p.len()).sum();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: {length}\r\n\r\n");
    let mut slices: Vec<IoSlice<'_>> =
        std::iter::once(head.as_bytes()).chain(parts.iter().copied()).map(IoSlice::new).collect();
    let mut left = &mut slices[..];
    while !left.is_empty() {
        let written = stream.write_vectored(left)?;
        if written == 0 {
            bail!("the client went away");
        }
        IoSlice::advance_slices(&mut left, written);
    }
    Ok(())
}

fn header<'h>(head: &'h [u8], name: &[u8]) -> Option<&'h [u8]> {
    let start = find(head, name)? + name.len();
    let rest = &head[start..];
    Some(&rest[..find(rest, b"\r\n").unwrap_or(rest.len())])
}

/// The length-delimited member `number` of a protobuf message.
fn member(mut body: &[u8], number: u8) -> Option<&[u8]> {
    loop {
        let (tag, rest) = body.split_first()?;
        let (length, rest) = read_varint(rest)?;
        let (value, rest) = rest.split_at_checked(length)?;
        if tag >> 3 == number {
            return Some(value);
        }
        body = rest;
    }
}

fn read_varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (i, byte) in bytes.iter().enumerate().take(5) {
        value |= usize::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[i + 1..]));
        }
    }
    None
}

/// Appends a protobuf varint.
pub(crate) fn varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        #[allow(clippy::cast_possible_truncation, reason = "masked to seven bits")]
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    #[allow(clippy::cast_possible_truncation, reason = "below 0x80")]
    out.push(value as u8);
}

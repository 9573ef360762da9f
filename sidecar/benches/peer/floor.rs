//! The floor: the least that a machine must do for push and pop over HTTP/1.1.
//!
//! A thread per connection, blocking raw sockets, one map of queues. It understands just the requests of `client/calls.rs`:
//! protobuf and Kuscia bodies, a session header, push, pop, release. No bounds, no expiry, no leases. A body is read into
//! the memory that it is queued in and written from there, one system call where the socket allows it.

use std::{
    collections::{HashMap, VecDeque},
    io::{IoSlice, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use anyhow::{Context, Result, bail, ensure};
use parking_lot::{Condvar, Mutex};

use crate::client::{content_length, find, varint};

const PUBLISHED: &[u8] = b"\x1a\x0bE0000000000\x22\x0c\xe8\xaf\xb7\xe6\xb1\x82\xe6\x88\x90\xe5\x8a\x9f";
const KUSCIA: &[u8] = b"\x12\x0bE0000000000\x1a\x0c\xe8\xaf\xb7\xe6\xb1\x82\xe6\x88\x90\xe5\x8a\x9f";

/// A message, where it lies in the body that brought it.
struct Message {
    body: Vec<u8>,
    start: usize,
    end: usize,
}

#[derive(Default)]
struct Shared {
    queues: Mutex<HashMap<Vec<u8>, VecDeque<Message>>>,
    arrived: Condvar,
}

/// Serves until it is killed.
pub(super) fn serve(port: &str) -> Result<()> {
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
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let Some((head, have)) = read_head(&mut stream, &mut buffer)? else { return Ok(()) };
        let length = if buffer.starts_with(b"POST") { content_length(&buffer[..head])? } else { 0 };
        ensure!(have - (head + 4) <= length, "more than one request came");
        let mut body = Vec::with_capacity(length);
        body.extend_from_slice(&buffer[head + 4..have]);
        (&stream).take((length - body.len()) as u64).read_to_end(&mut body)?;
        ensure!(body.len() == length, "the body broke off");
        answer(&mut stream, shared, &buffer[..head], body)?;
    }
}

/// Reads until a head is whole; where it ends and how much was read, or nothing at the connection's end.
pub(super) fn read_head(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<Option<(usize, usize)>> {
    let mut have = 0;
    loop {
        let read = stream.read(&mut buffer[have..])?;
        if read == 0 {
            return Ok(None);
        }
        have += read;
        if let Some(head) = find(&buffer[..have], b"\r\n\r\n") {
            return Ok(Some((head, have)));
        }
    }
}

fn answer(stream: &mut TcpStream, shared: &Shared, head: &[u8], body: Vec<u8>) -> Result<()> {
    if head.starts_with(b"GET") {
        return write(stream, "text/plain", &[b"E0000000000"]);
    }
    let session = header(head, b"x-ptp-session-id: ").context("no session")?.to_vec();
    let path = &head[..64.min(head.len())];
    if find(path, b"/pop").is_some() {
        let kuscia = find(path, b"/pop?").is_some();
        let message = shared.wait(&session);
        let payload = &message.body[message.start..message.end];
        let mut prefix = vec![if kuscia { 0x0a } else { 0x12 }];
        varint(&mut prefix, payload.len());
        return if kuscia {
            write(stream, "application/proto", &[&prefix, payload, KUSCIA])
        } else {
            write(stream, "application/x-protobuf", &[&prefix, payload, PUBLISHED])
        };
    }
    if find(path, b"/release").is_some() {
        shared.queues.lock().remove(&session);
        return write(stream, "application/x-protobuf", &[PUBLISHED]);
    }
    let kuscia = find(path, b"/invoke").is_some();
    let (start, end) = if kuscia { (0, body.len()) } else { payload(&body).context("no payload")? };
    shared.queues.lock().entry(session).or_default().push_back(Message { body, start, end });
    shared.arrived.notify_all();
    if kuscia {
        write(stream, "application/proto", &[KUSCIA])
    } else {
        write(stream, "application/x-protobuf", &[PUBLISHED])
    }
}

impl Shared {
    fn wait(&self, session: &[u8]) -> Message {
        let mut queues = self.queues.lock();
        loop {
            if let Some(message) = queues.get_mut(session).and_then(VecDeque::pop_front) {
                return message;
            }
            self.arrived.wait(&mut queues);
        }
    }
}

/// Writes an answer, head and parts in one call.
pub(super) fn write(stream: &mut TcpStream, kind: &str, parts: &[&[u8]]) -> Result<()> {
    let length: usize = parts.iter().map(|p| p.len()).sum();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n");
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

/// Where the payload of a PushInbound lies: member 2, after the topic.
pub(super) fn payload(body: &[u8]) -> Option<(usize, usize)> {
    let mut at = 0;
    loop {
        let tag = *body.get(at)?;
        let (length, prefix) = read_varint(body.get(at + 1..)?)?;
        let start = at + 1 + prefix;
        let end = start.checked_add(length).filter(|end| *end <= body.len())?;
        if tag >> 3 == 2 {
            return Some((start, end));
        }
        at = end;
    }
}

/// A varint and its length.
fn read_varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (i, byte) in bytes.iter().enumerate().take(5) {
        value |= usize::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((value, i + 1));
        }
    }
    None
}

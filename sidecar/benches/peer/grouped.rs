//! The floor of a durable push: grouped fdatasync on a preallocated file.
//!
//! A thread per connection on raw sockets. Each appends its payload to a shared buffer and waits until it is on disk; whoever finds
//! nobody writing writes and syncs what has gathered, for all. The file is written once beforehand, so that a sync
//! moves data only and no metadata.

use std::{
    fs::File,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::fs::FileExt,
    sync::Arc,
    thread,
};

use anyhow::{Context, Result, ensure};
use parking_lot::{Condvar, Mutex};

use super::floor::{payload, read_head, write};
use crate::client::content_length;

/// Written round and round; more than a round of the bench fills.
const SIZE: usize = 128 << 20;

struct Log {
    file: File,
    state: Mutex<State>,
    synced: Condvar,
}

#[derive(Default)]
struct State {
    gathered: Vec<u8>,
    /// The group that `gathered` belongs to.
    group: u64,
    /// The last group that is on disk.
    done: u64,
    writing: bool,
    at: usize,
}

/// Serves until it is killed.
pub(super) fn serve(port: &str, path: &str) -> Result<()> {
    let mut file = File::options().create(true).truncate(true).read(true).write(true).open(path)?;
    let block = vec![0; 1 << 20];
    for _ in 0..SIZE >> 20 {
        file.write_all(&block)?;
    }
    file.sync_all()?;
    let state = Mutex::new(State { group: 1, ..State::default() });
    let log = Arc::new(Log { file, state, synced: Condvar::new() });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse()?))?;
    for stream in listener.incoming() {
        let (stream, log) = (stream?, Arc::clone(&log));
        stream.set_nodelay(true)?;
        thread::spawn(move || connection(stream, &log));
    }
    Ok(())
}

fn connection(mut stream: TcpStream, log: &Log) -> Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    while let Some((head, mut have)) = read_head(&mut stream, &mut buffer)? {
        if buffer.starts_with(b"POST") {
            let end = head + 4 + content_length(&buffer[..head])?;
            ensure!(have <= end && end <= buffer.len(), "not a request of the bench");
            stream.read_exact(&mut buffer[have..end])?;
            have = end;
            let body = &buffer[head + 4..have];
            let (start, end) = payload(body).context("no payload")?;
            log.append(&body[start..end])?;
        }
        write(&mut stream, "application/x-protobuf", &[b"\x1a\x0bE0000000000"])?;
    }
    Ok(())
}

impl Log {
    /// Returns when the payload is on disk.
    fn append(&self, payload: &[u8]) -> Result<()> {
        let mut state = self.state.lock();
        state.gathered.extend_from_slice(&payload.len().to_be_bytes());
        state.gathered.extend_from_slice(payload);
        let mine = state.group;
        while state.done < mine {
            if state.writing {
                self.synced.wait(&mut state);
                continue;
            }
            state.writing = true;
            let (group, data) = (state.group, std::mem::take(&mut state.gathered));
            state.group += 1;
            if state.at + data.len() > SIZE {
                state.at = 0;
            }
            let at = state.at;
            state.at += data.len();
            drop(state);
            self.file.write_all_at(&data, at as u64)?;
            self.file.sync_data()?;
            state = self.state.lock();
            (state.done, state.writing) = (group, false);
            self.synced.notify_all();
        }
        Ok(())
    }
}

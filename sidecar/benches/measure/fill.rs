//! Fills a node with queues and sessions, over several connections at once.

use std::{net::SocketAddr, thread};

use anyhow::{Result, anyhow};

use crate::client::{Expect, Http};

const CONNECTIONS: usize = 8;

/// Sends requests number 0 to `count` and checks that each is a success.
pub(super) fn send(to: SocketAddr, count: usize, request: impl Fn(usize) -> Vec<Vec<u8>> + Sync) -> Result<()> {
    thread::scope(|scope| {
        let request = &request;
        let part = |first: usize| -> Result<()> {
            let mut connection = Http::open(to)?;
            for n in (first..count).step_by(CONNECTIONS) {
                for request in request(n) {
                    Expect::Success.check(connection.exchange(&request)?)?;
                }
            }
            Ok(())
        };
        let parts: Vec<_> = (0..CONNECTIONS).map(|first| scope.spawn(move || part(first))).collect();
        parts.into_iter().try_for_each(|part| part.join().map_err(|_| anyhow!("a thread panicked"))?)
    })
}

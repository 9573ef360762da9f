//! A long fat link: a relay of TCP that delivers each byte 25 ms later each way, at 1 Gbit/s.
//!
//! It reads no faster than the link carries, so that a sender whose peer must first give it leave (a window smaller than the
//! bandwidth-delay product of 6.25 MB) leaves the link idle, as it would a real one.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::load::pause;

/// One way.
const DELAY: Duration = Duration::from_millis(25);
/// 1 Gbit/s.
const BYTES_PER_SECOND: f64 = 125e6;
/// What is read and forwarded at once: half a millisecond of the link.
const PIECE: usize = 64 * 1024;
/// Pieces under way at most. 25 ms of 1 Gbit/s are 48 whole ones; small ones count as well.
const UNDER_WAY: usize = 512;

/// Serves until it is killed.
pub(super) fn serve(port: &str, to: &str) -> Result<()> {
    let (listener, to) = (TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse()?))?, to.parse::<SocketAddr>()?);
    for near in listener.incoming() {
        let near = near?;
        #[allow(clippy::disallowed_methods, reason = "a relay of the bench, to its own server on loopback")]
        let Ok(far) = TcpStream::connect(to) else { continue };
        for (from, to) in [(near.try_clone()?, far.try_clone()?), (far, near)] {
            to.set_nodelay(true)?;
            let (sender, receiver) = sync_channel(UNDER_WAY);
            thread::spawn(move || take_in(from, &sender));
            thread::spawn(move || give_out(to, &receiver));
        }
    }
    Ok(())
}

/// Reads at the link's speed; each piece is due when its last bit has come and the delay has passed.
fn take_in(mut from: TcpStream, sender: &SyncSender<(Instant, Vec<u8>)>) -> Result<()> {
    let mut free = Instant::now();
    loop {
        let mut piece = vec![0; PIECE];
        let read = from.read(&mut piece)?;
        piece.truncate(read);
        free = free.max(Instant::now()) + Duration::from_secs_f64(read as f64 / BYTES_PER_SECOND);
        sender.send((free + DELAY, piece))?;
        if read == 0 {
            return Ok(());
        }
        // The sender is held back at the link's speed, a millisecond at a time: shorter sleeps are inexact.
        let ahead = free.saturating_duration_since(Instant::now());
        if ahead > Duration::from_millis(1) {
            pause(ahead);
        }
    }
}

/// Writes each piece when it is due.
fn give_out(mut to: TcpStream, receiver: &Receiver<(Instant, Vec<u8>)>) -> Result<()> {
    for (due, piece) in receiver {
        let early = due.saturating_duration_since(Instant::now());
        if !early.is_zero() {
            pause(early);
        }
        if piece.is_empty() {
            to.shutdown(Shutdown::Write)?;
        }
        to.write_all(&piece)?;
    }
    Ok(())
}

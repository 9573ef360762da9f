//! A way to a server that can be killed: a relay of TCP without any delay.

use std::{
    io,
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
};

use anyhow::Result;

/// Serves until it is killed.
pub(super) fn serve(port: &str, to: &str) -> Result<()> {
    let (listener, to) = (TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse()?))?, to.parse::<SocketAddr>()?);
    for near in listener.incoming() {
        let near = near?;
        #[allow(clippy::disallowed_methods, reason = "a relay of the bench, to its own server on loopback")]
        let Ok(far) = TcpStream::connect(to) else { continue };
        for (mut from, mut to) in [(near.try_clone()?, far.try_clone()?), (far, near)] {
            to.set_nodelay(true)?;
            thread::spawn(move || {
                let _ = io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            });
        }
    }
    Ok(())
}

//! Where the operator's ports are bound: `[::]` is every address of both families, on clusters of either.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol, Socket, Type};

/// As many as Linux keeps by default (`net.core.somaxconn`); a burst of connections waits there and is not refused.
const BACKLOG: i32 = 4096;

/// A listener at an address, for a runtime to take. `[::]` takes IPv4 too and, where IPv6 is switched off, IPv4 alone.
///
/// # Errors
/// A port that is taken, or may not be.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let bound = socket(address);
    if address.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        return bound;
    }
    bound.or_else(|error| match error.kind() {
        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(error),
        _ => socket(SocketAddr::from((IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port()))),
    })
}

fn socket(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // A process that starts again takes its port while old connections linger in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "loopback, in a test")]
    fn every_address_is_that_of_both_families_and_one_is_one() {
        for at in ["[::]:0", "0.0.0.0:0", "127.0.0.1:0"] {
            let listener = listen(at.parse().unwrap()).unwrap();
            std::net::TcpStream::connect(("127.0.0.1", listener.local_addr().unwrap().port())).unwrap();
        }
    }

    #[test]
    fn a_port_that_is_taken_is_refused() {
        let first = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let taken = listen(first.local_addr().unwrap()).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    }
}

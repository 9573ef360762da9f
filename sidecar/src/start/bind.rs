//! The listeners: all are bound before anything serves, so that a port in use ends the start and not the service.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
};

use mesh_core::config::{Listen, Settings};
use socket2::{Domain, Protocol, Socket, Type};

use crate::exit::Exit;

/// As many as Linux keeps by default (`net.core.somaxconn`); a burst of connections waits there and is not refused.
const BACKLOG: i32 = 4096;

/// The bound listeners.
pub(crate) struct Listeners {
    /// The data plane: one or two.
    pub(crate) data: Vec<TcpListener>,
    /// The admin port.
    pub(crate) admin: TcpListener,
}

impl Listeners {
    /// Binds all.
    pub(crate) fn bind(settings: &Settings) -> Result<Self, Exit> {
        let data = std::iter::once(settings.listen).chain(settings.second_listen);
        Ok(Self {
            data: data.map(bind).collect::<Result<_, _>>()?,
            admin: bind(Listen::Address(settings.admin_listen))?,
        })
    }

    /// Where this node listens: no registration and no route may lead there.
    pub(crate) fn addresses(&self) -> Result<Vec<SocketAddr>, Exit> {
        let all = self.data.iter().chain(std::iter::once(&self.admin));
        all.map(TcpListener::local_addr).collect::<io::Result<_>>().map_err(|e| Exit::local("a listener", e))
    }
}

fn bind(listen: Listen) -> Result<TcpListener, Exit> {
    let (address, bound) = attempt(listen);
    bound.map_err(|e| Exit::local(format_args!("cannot listen on {address}"), e))
}

/// The same for whoever goes on without it.
pub(super) fn open(listen: Listen) -> io::Result<TcpListener> {
    attempt(listen).1
}

/// What was tried, and what came of it.
fn attempt(listen: Listen) -> (SocketAddr, io::Result<TcpListener>) {
    let address = match listen {
        Listen::Address(address) => address,
        Listen::Port(port) => SocketAddr::from((IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)),
    };
    let bound = socket(address);
    if address.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        return (address, bound);
    }
    // One socket takes IPv6 and IPv4. Where IPv6 is switched off, IPv4 alone.
    let bound = bound.or_else(|error| match error.kind() {
        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(error),
        _ => socket(SocketAddr::from((IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port()))),
    });
    (address, bound)
}

fn socket(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // A node that starts again takes its port while old connections linger in TIME_WAIT.
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
    fn a_port_in_use_is_named() {
        let first = bind(Listen::Address("127.0.0.1:0".parse().unwrap())).unwrap();
        let taken = first.local_addr().unwrap();
        let error = bind(Listen::Address(taken)).unwrap_err().to_string();
        assert!(error.contains(&taken.to_string()), "{error}");
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "loopback, in a test")]
    fn a_port_alone_and_every_address_take_both_families() {
        for listen in [Listen::Port(0), Listen::Address("[::]:0".parse().unwrap())] {
            let listener = bind(listen).unwrap();
            let port = listener.local_addr().unwrap().port();
            std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        }
    }
}

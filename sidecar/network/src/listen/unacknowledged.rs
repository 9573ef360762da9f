//! How many bytes of a connection its other end has not acknowledged, asked of Linux by `sock_diag(7)`: one small question
//! over a netlink socket, which needs no privilege.
//!
//! An answer that the kernel took is not an answer that was received: a megabyte fits into the buffers of a client that reads
//! nothing, and a slow link has most of it for a while (design section 6).

#[cfg(target_os = "linux")]
use std::{
    io::Read as _,
    net::{IpAddr, SocketAddr},
};

#[cfg(target_os = "linux")]
use socket2::{Domain, Protocol, Socket, Type};

/// `AF_NETLINK`, and its protocol `NETLINK_SOCK_DIAG`.
#[cfg(target_os = "linux")]
const NETLINK: (i32, i32) = (16, 4);
/// `SOCK_DIAG_BY_FAMILY`: the kind of the question, and of its answer.
#[cfg(target_os = "linux")]
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST`.
#[cfg(target_os = "linux")]
const REQUEST: u16 = 1;
/// `AF_INET`, `AF_INET6`.
#[cfg(target_os = "linux")]
const FAMILIES: (u8, u8) = (2, 10);
#[cfg(target_os = "linux")]
const TCP: u8 = 6;
/// `struct nlmsghdr`.
#[cfg(target_os = "linux")]
const HEAD: usize = 16;
/// Where `idiag_wqueue` stands in `struct inet_diag_msg`: behind four bytes, the socket's id, and two numbers.
#[cfg(target_os = "linux")]
const WRITE_QUEUE: usize = HEAD + 4 + 48 + 8;

/// The bytes that were written and not acknowledged; `None` where the system does not say.
#[cfg(target_os = "linux")]
pub(crate) fn unacknowledged(local: SocketAddr, peer: SocketAddr) -> Option<u64> {
    let question = question(local, peer)?;
    let mut netlink = Socket::new(Domain::from(NETLINK.0), Type::DGRAM, Some(Protocol::from(NETLINK.1))).ok()?;
    netlink.send(&question).ok()?;
    // The kernel has answered before `send` returns.
    netlink.set_nonblocking(true).ok()?;
    let mut answer = [0; 256];
    let length = netlink.read(&mut answer).ok()?;
    understand(answer.get(..length)?)
}

/// Elsewhere nobody is asked.
#[cfg(not(target_os = "linux"))]
pub(crate) fn unacknowledged(_: std::net::SocketAddr, _: std::net::SocketAddr) -> Option<u64> {
    None
}

/// `struct inet_diag_req_v2` for exactly this socket, behind its `nlmsghdr`.
#[cfg(target_os = "linux")]
fn question(local: SocketAddr, peer: SocketAddr) -> Option<Vec<u8>> {
    let family = match (local.ip(), peer.ip()) {
        (IpAddr::V4(_), IpAddr::V4(_)) => FAMILIES.0,
        (IpAddr::V6(_), IpAddr::V6(_)) => FAMILIES.1,
        _ => return None,
    };
    // No extensions; any state.
    let mut body = vec![family, TCP, 0, 0];
    body.extend(u32::MAX.to_ne_bytes());
    body.extend(local.port().to_be_bytes());
    body.extend(peer.port().to_be_bytes());
    for address in [local.ip(), peer.ip()] {
        body.extend(sixteen(address));
    }
    // Any interface; without the cookie that only the kernel knows.
    body.extend([0; 4]);
    body.extend([0xff; 8]);
    let mut whole = u32::try_from(HEAD + body.len()).ok()?.to_ne_bytes().to_vec();
    whole.extend(BY_FAMILY.to_ne_bytes());
    whole.extend(REQUEST.to_ne_bytes());
    // Its number and its sender, which this needs not tell apart.
    whole.extend([0; 8]);
    whole.extend(body);
    Some(whole)
}

#[cfg(target_os = "linux")]
fn sixteen(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => {
            let mut all = [0; 16];
            all[..4].copy_from_slice(&v4.octets());
            all
        }
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// An answer that is an error, for a socket that is gone or a kernel without this, says nothing.
#[cfg(target_os = "linux")]
fn understand(answer: &[u8]) -> Option<u64> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    if kind != BY_FAMILY {
        return None;
    }
    let queued = answer.get(WRITE_QUEUE..WRITE_QUEUE + 4)?;
    Some(u32::from_ne_bytes(queued.try_into().ok()?).into())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    /// A pair of sockets, ours first.
    #[allow(clippy::disallowed_methods, reason = "loopback, in a test")]
    fn pair(address: &str) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (listener.accept().unwrap().0, client)
    }

    fn asked(stream: &TcpStream) -> Option<u64> {
        unacknowledged(stream.local_addr().unwrap(), stream.peer_addr().unwrap())
    }

    #[test]
    fn what_nobody_reads_is_not_acknowledged_until_somebody_does() {
        for address in ["127.0.0.1", "::1"] {
            let (mut ours, mut client) = pair(address);
            assert_eq!(asked(&ours), Some(0), "{address}");
            ours.set_nonblocking(true).unwrap();
            let mut written = 0_u64;
            while let Ok(some) = ours.write(&[0; 65536]) {
                written += some as u64;
            }
            let waits = asked(&ours).unwrap();
            assert!(0 < waits && waits < written, "{waits} of {written}");
            let mut left = written;
            let mut buffer = vec![0; 65536];
            while left > 0 {
                left -= client.read(&mut buffer).unwrap() as u64;
            }
            let acknowledged = || (0..1000).any(|_| asked(&ours) == Some(0));
            assert!(acknowledged(), "{address}: all was read");
        }
    }

    #[test]
    fn a_mapped_address_is_asked_as_it_is() {
        let listener = TcpListener::bind("[::]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        #[allow(clippy::disallowed_methods, reason = "loopback, in a test")]
        let _client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (ours, peer) = listener.accept().unwrap();
        assert!(peer.is_ipv6(), "{peer}");
        assert_eq!(asked(&ours), Some(0));
    }

    #[test]
    fn a_socket_that_is_gone_and_addresses_of_two_kinds_are_not_known() {
        let (ours, client) = pair("127.0.0.1");
        let (local, peer) = (ours.local_addr().unwrap(), ours.peer_addr().unwrap());
        socket2::SockRef::from(&client).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop((ours, client));
        assert_eq!(unacknowledged(local, peer), None);
        assert_eq!(unacknowledged(local, "[::1]:1".parse().unwrap()), None);
    }

    #[test]
    fn answers_that_are_short_or_of_another_kind_say_nothing() {
        for length in 0..WRITE_QUEUE + 4 {
            let mut answer = vec![0; length];
            if length >= 6 {
                answer[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
            }
            assert_eq!(understand(&answer), None, "{length}");
        }
        assert_eq!(understand(&[0; 200]), None);
    }
}

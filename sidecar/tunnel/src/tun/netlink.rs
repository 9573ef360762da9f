//! What is said to the kernel about a device: its address, its largest packet, and that it is up (rtnetlink(7)).
//!
//! Messages are made and read by pure functions; one socket carries them.

use std::{
    io::{self, Read as _},
    net::Ipv4Addr,
};

use socket2::{Domain, Protocol, Socket, Type};

/// `AF_NETLINK`, `SOCK_RAW`, `NETLINK_ROUTE`.
const NETLINK: i32 = 16;
const RAW: i32 = 3;
const ROUTE: i32 = 0;
/// An answer that describes a device fits.
const ANSWER: usize = 16 * 1024;
/// `RTM_NEWLINK`, `RTM_GETLINK` and `RTM_NEWADDR`.
const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
/// `NLM_F_REQUEST`; and with `NLM_F_ACK`, so that a change is answered.
const ASKS: u16 = 0x1;
const CHANGES: u16 = ASKS | 0x4;
/// `NLM_F_CREATE` and `NLM_F_EXCL`: an address that is there already is a mistake.
const CREATES: u16 = 0x400 | 0x200;
/// `NLMSG_ERROR`, also of what is no error.
const VERDICT: u16 = 2;
/// Attributes: `IFLA_IFNAME`, `IFLA_MTU`, `IFA_ADDRESS`, `IFA_LOCAL`.
const NAME: u16 = 3;
const MTU: u16 = 4;
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
/// `AF_INET`, and `IFF_UP`.
const INET: u8 = 2;
const UP: u32 = 1;
/// The length of a message's head.
const HEAD: usize = 16;

/// Gives a device its address with the length of the network's prefix, which the kernel makes a route of; says how large packets
/// are at most; and switches it on.
///
/// Answers the device's number, which no other has as long as the machine runs.
///
/// # Errors
/// What the kernel says: `EPERM` without CAP_NET_ADMIN.
pub(super) fn set_up(device: &str, address: Ipv4Addr, prefix: u8, mtu: u16) -> io::Result<u32> {
    let mut socket = socket()?;
    let index = index(&asked(&mut socket, &named(device))?)?;
    for message in [link(index, mtu), owned(index, address, prefix)] {
        verdict(&asked(&mut socket, &message)?)?;
    }
    Ok(index)
}

/// Whether the device of that number is there and on.
///
/// # Errors
/// The machine: it has no sockets left.
pub(super) fn is_up(device: u32) -> io::Result<bool> {
    Ok(is_on(&asked(&mut socket()?, &numbered(device))?))
}

fn socket() -> io::Result<Socket> {
    Socket::new(Domain::from(NETLINK), Type::from(RAW), Some(Protocol::from(ROUTE)))
}

fn asked(socket: &mut Socket, message: &[u8]) -> io::Result<Vec<u8>> {
    // Without an address it goes to the kernel.
    socket.send(message)?;
    let mut answer = vec![0; ANSWER];
    let size = socket.read(&mut answer)?;
    answer.truncate(size);
    Ok(answer)
}

/// Which number a device has.
fn named(device: &str) -> Vec<u8> {
    let mut body = vec![0; HEAD];
    attribute(&mut body, NAME, &[device.as_bytes(), &[0]].concat());
    message(GET_LINK, ASKS, &body)
}

/// What is to be known of the device of a number.
fn numbered(index: u32) -> Vec<u8> {
    let mut body = vec![0; HEAD];
    if let Some(place) = body.get_mut(4..8) {
        place.copy_from_slice(&index.to_ne_bytes());
    }
    message(GET_LINK, ASKS, &body)
}

/// The device is up, and packets are so large.
fn link(index: u32, mtu: u16) -> Vec<u8> {
    let mut body = vec![0; 4];
    for number in [index, UP, UP] {
        body.extend_from_slice(&number.to_ne_bytes());
    }
    attribute(&mut body, MTU, &u32::from(mtu).to_ne_bytes());
    message(NEW_LINK, CHANGES, &body)
}

/// The device has an address.
fn owned(index: u32, address: Ipv4Addr, prefix: u8) -> Vec<u8> {
    let mut body = vec![INET, prefix, 0, 0];
    body.extend_from_slice(&index.to_ne_bytes());
    attribute(&mut body, LOCAL, &address.octets());
    attribute(&mut body, ADDRESS, &address.octets());
    message(NEW_ADDRESS, CHANGES | CREATES, &body)
}

fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    body.extend_from_slice(&length.to_ne_bytes());
    body.extend_from_slice(&kind.to_ne_bytes());
    body.extend_from_slice(value);
    // The next one begins at a multiple of four.
    body.resize(body.len().next_multiple_of(4), 0);
}

fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEAD + body.len()).unwrap_or(u32::MAX);
    let mut message = length.to_ne_bytes().to_vec();
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&flags.to_ne_bytes());
    // The number of the message and the port of the socket: one is under way at a time, and the kernel knows the port.
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(body);
    message
}

/// The number of the device that an answer describes.
fn index(answer: &[u8]) -> io::Result<u32> {
    if kind(answer) != Some(NEW_LINK) {
        verdict(answer)?;
    }
    word(answer, HEAD + 4).map(u32::from_ne_bytes).ok_or_else(none)
}

/// Whether an answer describes a device that is up; any other says that there is none.
fn is_on(answer: &[u8]) -> bool {
    kind(answer) == Some(NEW_LINK)
        && word(answer, HEAD + 8).map(u32::from_ne_bytes).is_some_and(|flags| flags & UP != 0)
}

/// What the kernel says of a message.
fn verdict(answer: &[u8]) -> io::Result<()> {
    match (kind(answer), word(answer, HEAD).map(i32::from_ne_bytes)) {
        (Some(VERDICT), Some(0)) => Ok(()),
        (Some(VERDICT), Some(code)) => Err(io::Error::from_raw_os_error(code.checked_neg().unwrap_or(0))),
        _ => Err(none()),
    }
}

fn kind(answer: &[u8]) -> Option<u16> {
    answer.get(4..6).and_then(|kind| kind.try_into().ok()).map(u16::from_ne_bytes)
}

fn word(answer: &[u8], at: usize) -> Option<[u8; 4]> {
    answer.get(at..at.checked_add(4)?).and_then(|word| word.try_into().ok())
}

fn none() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is none")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_as_long_as_they_say_and_their_attributes_are_aligned() {
        for message in [named("mesh0"), numbered(7), link(7, 1400), owned(7, Ipv4Addr::new(10, 1, 1, 1), 24)] {
            assert_eq!(u32::from_ne_bytes(message[..4].try_into().unwrap()) as usize, message.len());
            assert_eq!(message.len() % 4, 0);
        }
        let message = owned(7, Ipv4Addr::new(10, 1, 1, 1), 24);
        assert_eq!((message[HEAD], message[HEAD + 1], &message[message.len() - 4..]), (INET, 24, &[10, 1, 1, 1][..]));
    }

    #[test]
    fn the_kernels_word_is_read_and_anything_else_is_none() {
        let says = |code: i32| message(VERDICT, 0, &code.to_ne_bytes());
        assert!(verdict(&says(0)).is_ok());
        assert_eq!(verdict(&says(-1)).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        for odd in [&says(0)[..HEAD + 3], &[], &message(NEW_LINK, 0, &[0; 4])] {
            assert_eq!(verdict(odd).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
        assert!(verdict(&says(i32::MIN)).is_err());
        let described = message(NEW_LINK, 0, &[0, 0, 0, 0, 7, 0, 0, 0].map(|byte: u8| byte));
        assert_eq!(index(&described).unwrap(), u32::from_ne_bytes([7, 0, 0, 0]));
        assert_eq!(index(&says(-19)).unwrap_err().raw_os_error(), Some(19));
        let up = message(NEW_LINK, 0, &[[0; 4], 7u32.to_ne_bytes(), UP.to_ne_bytes()].concat());
        assert_eq!((index(&up).unwrap(), is_on(&up)), (7, true));
        assert!([&described, &up[..up.len() - 1], &says(-19), &[]].into_iter().all(|answer| !is_on(answer)));
        assert!(index(&described[..HEAD + 6]).is_err() && index(&says(0)).is_err());
    }
}

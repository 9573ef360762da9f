//! The fuzz target of what stands before packets: the head of a request, and the JSON of the handshake. How it runs, and where its
//! inputs lie, says `sidecar/fuzz`.

use super::{
    handshake::{self, First},
    head,
};

/// Whatever a node sends first: a head has its size within what came, and more bytes behind it change nothing; a reply that gives an
/// address is one that nodes ask by, and gives one that somebody can have.
#[test]
fn tunnel_handshake() {
    fuzz::run("tunnel-handshake", |bytes| {
        if let Ok(Some(asked)) = head::read(bytes) {
            assert!(asked.size <= bytes.len() && asked.offer.path() == "/ws");
            let longer = head::read(&[bytes, b"\x81\x00"].concat());
            assert_eq!(longer, Ok(Some(asked)));
        }
        if let Some((address, prefix)) = handshake::address(bytes) {
            assert!(prefix <= 32 && !address.is_unspecified() && !address.is_multicast());
            assert_eq!(
                handshake::address(handshake::reply(&format!("{address}/{prefix}")).as_bytes()),
                Some((address, prefix))
            );
        }
        if handshake::read(bytes) == First::Asks {
            assert!(bytes.len() <= 1024 && bytes.trim_ascii_start().starts_with(b"{"));
        }
    });
}

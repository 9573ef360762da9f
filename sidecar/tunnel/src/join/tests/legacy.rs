//! A server that knows no protocol 2, as LiteKube's: each packet is a text of its own.

use std::{future::poll_fn, sync::Arc, time::SystemTime};

use mesh_websocket::{Agreed, Data, Offer, Opcode, Part, Read, Reader, Reading, Texts, put};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use super::{DAY, JoinError, LONG, Member, World, running};
use crate::{
    join::{member::Papers, open::open},
    packet::made,
};

/// What answers a question for an address, and sends each text back.
async fn serve(listener: TcpListener, tls: Arc<ServerConfig>) {
    let (tcp, _) = listener.accept().await.unwrap();
    let mut stream = TlsAcceptor::from(tls).accept(tcp).await.unwrap();
    let mut bytes = Vec::new();
    let (offer, size) = loop {
        stream.read_buf(&mut bytes).await.unwrap();
        if let Some(read) = Offer::read(&bytes).unwrap() {
            break read;
        }
    };
    let mut reader = Reader::default();
    reader.extend(&bytes[size..]);
    let mut out = offer.response(&Agreed::default());
    let reading = Reading { texts: Texts::Bytes, ..Reading::messages(1 << 20) };
    loop {
        while let Some(read) = reader.next(reading).unwrap() {
            match read {
                Read::Part(Part { opcode: Opcode::Text, data: Data::Binary(text), .. }) if text.starts_with(b"{") => {
                    put(&mut out, Opcode::Text, br#"{"connectionState":2,"payload":"MTAuMS4xLjMvMjQ="}"#);
                }
                Read::Part(Part { opcode: Opcode::Text, data: Data::Binary(text), .. }) => {
                    put(&mut out, Opcode::Text, &text);
                }
                other => panic!("a legacy server passes over {other:?}"),
            }
        }
        stream.write_all(&out).await.unwrap();
        out.clear();
        bytes.clear();
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
        reader.extend(&bytes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_knows_no_batches_gets_and_gives_each_packet_alone() {
    let world = World::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tunnel = listener.local_addr().unwrap().to_string();
    tokio::spawn(serve(listener, world.control.authority().join.verifying()));
    let member = Member { tunnel, ..Member::clone(&*world.enrolled().await) };
    let mut opened = open(Arc::new(member), None, Arc::default()).await.unwrap_or_else(|why| panic!("{why:?}"));
    assert_eq!((opened.address.octets(), opened.prefix, opened.mtu, opened.session), ([10, 1, 1, 3], 24, None, None));
    let packets = [10, 700].map(|size| made::udp([10, 1, 1, 3], [10, 1, 1, 5], (1, 2), &vec![0xff; size]));
    packets.iter().for_each(|packet| opened.link.push(packet));
    for packet in &packets {
        let come = poll_fn(|cx| {
            assert!(opened.link.poll_write(cx).is_pending());
            opened.link.poll_packet(cx)
        });
        let come = timeout(LONG, come).await.expect("in time").unwrap_or_else(|why| panic!("{why:?}"));
        assert_eq!(&come[..], &packet[..]);
    }
}

/// The server says only that it does not know the node, whatever of it is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_refused_with_a_certificate_that_is_over_says_that_it_is() {
    let world = World::new().await;
    let member = world.enrolled().await;
    let (_, old) = world.control.authority().for_legacy_node(SystemTime::now() - 367 * DAY).unwrap();
    let (authority, certificate) = (old.authority, old.certificate);
    let join = Papers { authority, certificate, key: old.key.expose().to_owned() };
    let member = Arc::new(Member { node: String::new(), join, ..Member::clone(&member) });
    let ended = timeout(LONG, running(&member, Vec::new()).await.task).await.expect("in time").unwrap();
    let Err(JoinError::Refused(why)) = ended else { panic!("{ended:?}") };
    assert!(why.contains("does not know this node") && why.contains("ended 2 days ago"), "{why}");
}

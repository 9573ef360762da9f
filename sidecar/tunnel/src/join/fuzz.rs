//! The fuzz targets of what a node of ours reads: what a person gives it, what a server answers, and what it sends in the tunnel. How it runs, and where its
//! inputs lie, says `sidecar/fuzz`.

use mesh_websocket::Ask;

use super::{
    Exposed, Forwarded, Ticket,
    incoming::{Come, Incoming},
    link::Ended,
};
use crate::hub::Form;

/// Nothing that is read names more than was there: an answer's head lies within what came, and a ticket's host is a part of it.
#[test]
fn tunnel_joiner() {
    let ask = Ask::new("203.0.113.7:6441", "/ws", &[("Node-Token", "b52f93d3f0ec4be7")], [7; 16]);
    fuzz::run("tunnel-joiner", |bytes| {
        match ask.read(bytes) {
            Ok(Some(switched)) => assert!(switched.size <= bytes.len()),
            Ok(None) => {}
            Err(refused) => assert!(refused.reason.chars().count() <= 200 && refused.status != 101),
        }
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        if let Ok(ticket) = text.parse::<Ticket>() {
            assert!(text.contains(&ticket.secret));
            assert!(ticket.at.is_none_or(|(host, port)| text.contains(&host) && port != 0));
        }
        if let Ok(forward) = text.parse::<Forwarded>() {
            let again = format!("{}:{}", forward.listen, forward.to);
            assert_eq!(again.parse(), Ok(forward));
        }
        if let Ok(Exposed { port, to: (host, to) }) = text.parse::<Exposed>() {
            assert!(port != 0 && to != 0 && text.contains(&host));
        }
    });
}

/// Whatever a server sends, in either form: it comes to the same in whatever pieces it arrives, no packet has more bytes than came, an
/// end is one for good, and tells no secret.
#[test]
fn tunnel_join() {
    fuzz::run("tunnel-join", |bytes| {
        let Some((&first, bytes)) = bytes.split_first() else { return };
        let form = if first & 1 == 0 { Form::Texts } else { Form::Batches };
        let whole = read(form, [bytes]);
        assert_eq!(whole, read(form, bytes.chunks(1)), "byte by byte");
        assert_eq!(whole, read(form, bytes.chunks(usize::from(first >> 1) + 1)), "in pieces");
        let (come, ended) = whole;
        let size = |come: &Come| match come {
            Come::Packet(bytes) | Come::Ping(bytes) => bytes.len(),
        };
        assert!(come.iter().map(size).sum::<usize>() <= bytes.len());
        if let Some(Ended::Refused(why) | Ended::Later(why)) = ended {
            assert!(!why.contains(SECRET), "{why}");
        }
    });
}

/// The token of the corpus: a server repeats it where it refuses a node.
const SECRET: &str = "b52f93d3f0ec4be7";

/// What comes of bytes that arrive in these pieces, and whether they end the link.
fn read<'p>(form: Form, pieces: impl IntoIterator<Item = &'p [u8]>) -> (Vec<Come>, Option<Ended>) {
    let (mut incoming, mut all) = (Incoming::new(form), Vec::new());
    for piece in pieces {
        incoming.extend(piece);
        loop {
            match incoming.next() {
                Ok(Some(come)) => all.push(come),
                Ok(None) => break,
                Err(ended) => return (all, Some(ended)),
            }
        }
    }
    (all, None)
}

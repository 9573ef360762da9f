//! The fuzz target of what a node of ours reads: what a person gives it, and what a server answers. How it runs, and where its
//! inputs lie, says `sidecar/fuzz`.

use mesh_websocket::Ask;

use super::{Exposed, Forwarded, Ticket};

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

//! Which listener takes a handshake, and what is agreed on. Pure: the offer and the listeners in, the verdict out.

use std::sync::Arc;

use super::Listening;
use crate::wire::{Agreed, Offer, Refused};

/// Finds the listener of a handshake.
///
/// # Errors
/// 404 for a path that no listener has (Grid section 1), 403 for a page of a foreign origin.
pub(super) fn listener<'a>(offer: &Offer, all: &'a [Arc<Listening>]) -> Result<&'a Arc<Listening>, Refused> {
    let of_path = all.iter().find(|listening| listening.rules.listener.path == offer.path());
    let listening = of_path.ok_or_else(|| Refused::new(404, "no listener has this path"))?;
    if !is_welcome(offer, &listening.rules.listener.origins) {
        return Err(Refused::new(403, "pages of this origin may not connect: it is not among the listener's origins"));
    }
    Ok(listening)
}

/// What a listener and a client agree on.
pub(super) fn agreed(offer: &Offer, listening: &Listening) -> Agreed {
    let rules = &listening.rules;
    let protocol = rules.subprotocol(offer.protocols()).map(str::to_owned);
    Agreed { protocol, deflates: rules.listener.compression && offer.deflates() }
}

/// Programs name no origin. A page's is listed, or is the listener's own: where none is listed, the host that it asked for.
fn is_welcome(offer: &Offer, origins: &[String]) -> bool {
    let Some(origin) = offer.header("origin") else { return true };
    if !origins.is_empty() {
        return origins.iter().any(|known| known.eq_ignore_ascii_case(origin));
    }
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    authority.is_some_and(|authority| offer.header("host").is_some_and(|host| host.eq_ignore_ascii_case(authority)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rules::Rules;

    fn listening(json: &serde_json::Value) -> Arc<Listening> {
        let mut listener = json!({"name": "x"});
        listener.as_object_mut().unwrap().extend(json.as_object().unwrap().clone());
        let rules = Arc::new(Rules::compile(&serde_json::from_value(listener).unwrap()).unwrap());
        Arc::new(Listening { rules, gate: None, clients: Arc::default() })
    }

    fn offer(path: &str, more: &str) -> Offer {
        let text = format!(
            "GET {path} HTTP/1.1\r\nHost: grid.example:6790\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
        );
        Offer::read(text.as_bytes()).unwrap().unwrap().0
    }

    fn status(offer: &Offer, all: &[Arc<Listening>]) -> u16 {
        listener(offer, all).map_or_else(|refused| refused.status, |_| 101)
    }

    #[test]
    fn the_path_names_the_listener() {
        let all = [listening(&json!({"path": "/chat"})), listening(&json!({"path": "/"}))];
        for (path, expected) in
            [("/chat", 101), ("/chat?a=b", 101), ("/", 101), ("/chat/", 404), ("/v1/mesh/send", 404)]
        {
            assert_eq!(status(&offer(path, ""), &all), expected, "{path}");
        }
    }

    #[test]
    fn pages_of_other_origins_are_refused() {
        let own = [listening(&json!({}))];
        let listed = [listening(&json!({"origins": ["https://shop.example"]}))];
        let table = [
            ("", 101, 101),
            ("Origin: http://grid.example:6790\r\n", 101, 403),
            ("Origin: https://shop.example\r\n", 403, 101),
            ("Origin: https://SHOP.example\r\n", 403, 101),
            ("Origin: https://shop.example.evil\r\n", 403, 403),
            ("Origin: null\r\n", 403, 403),
            ("Origin: \r\n", 403, 403),
        ];
        for (origin, of_own, of_listed) in table {
            assert_eq!(
                (status(&offer("/", origin), &own), status(&offer("/", origin), &listed)),
                (of_own, of_listed),
                "{origin}"
            );
        }
    }

    #[test]
    fn compression_and_a_subprotocol_are_agreed_on_where_both_want_them() {
        let wants = "Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: a, b\r\n";
        let agree = |json, more| agreed(&offer("/", more), &listening(&json));
        assert_eq!(agree(json!({"compression": true}), wants), Agreed { protocol: Some("a".into()), deflates: true });
        assert_eq!(agree(json!({}), wants), Agreed { protocol: Some("a".into()), deflates: false });
        assert_eq!(agree(json!({"compression": true}), ""), Agreed::default());
    }
}

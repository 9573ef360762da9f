//! Fuzz targets of the control calls' documents and of addresses. How they run, and where their inputs lie, says
//! `sidecar/fuzz`.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;

use super::{
    document, identity,
    route::{self, Need, Refresh},
};
use crate::dial::Address;

/// A trailing comma is all that is forgiven: what is JSON is read as JSON is.
#[test]
fn control_document() {
    fuzz::run("control-document", |bytes| {
        let ours = document::parse(bytes);
        if let Ok(Value::Object(strict)) = serde_json::from_slice::<Value>(bytes) {
            assert_eq!(ours.as_ref().map(|document| &document.0), Ok(&strict));
        }
        let Ok(document) = ours else { return };
        let text = serde_json::to_vec(&document.0).unwrap();
        let again = document::parse(&text).unwrap().0;
        assert!(again.keys().eq(document.0.keys()), "a float may change in its last place, nothing else");
    });
}

/// Who a node says it is: whole, or refused without a word of a key.
#[test]
fn node_document() {
    fuzz::run("node-document", |bytes| {
        let Ok(document) = document::parse(bytes) else { return };
        match identity::read(&document) {
            Ok(node) => assert!(![&node.node_id, &node.inst_id, &node.name].iter().any(|member| member.is_empty())),
            Err(error) => tells_no_key(&document.0, &error.to_string()),
        }
    });
}

/// A route that is taken has addresses that can be dialled and an end; the same document again changes nothing.
#[test]
fn route_document() {
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    fuzz::run("route-document", |bytes| {
        let Ok(document) = document::parse(bytes) else { return };
        let route = match route::read(&document, None, Need::All, now) {
            Ok(Refresh::Put(route)) => *route,
            Ok(Refresh::Remove) => return,
            Err(error) => return tells_no_key(&document.0, &error.to_string()),
        };
        assert!(!route.config.addresses.is_empty() && route.config.expires_at.is_some());
        for peer in &route.config.addresses {
            assert_eq!(Address::parse(&peer.address).unwrap().to_string(), peer.address);
        }
        let later = now + Duration::from_secs(3600);
        match route::read(&document, Some(&route), Need::All, later) {
            Ok(Refresh::Put(again)) => assert_eq!((again.config, again.record), (route.config, route.record)),
            other => panic!("{other:?}"),
        }
    });
}

fn tells_no_key(members: &serde_json::Map<String, Value>, said: &str) {
    for member in ["host_key", "root_key", "guest_key", "guest_crt"] {
        let lines = members.get(member).and_then(Value::as_str).into_iter().flat_map(str::lines);
        for line in lines.filter(|line| line.len() >= 32 && !line.starts_with("-----")) {
            assert!(!said.contains(line), "{member} is quoted: {said}");
        }
    }
}

/// An address is read again as it is written, by itself and in a list.
#[test]
fn address() {
    fuzz::run("address", |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        let Ok(list) = Address::parse_list(text) else { return };
        let written: Vec<String> = list.iter().map(ToString::to_string).collect();
        assert_eq!(Address::parse_list(&written.join(",")).unwrap(), list);
        for address in list {
            assert!(address.port != 0 && (1..=253).contains(&address.host.len()), "{address}");
            assert!(address.host.bytes().all(|b| b.is_ascii_graphic() && !b"/?#@[]".contains(&b)), "{address}");
        }
    });
}

//! What a consumer gets: the event `queue.pop` (Grid sections 3 and 5).
//!
//! Its `p.d` is made once, when the frame comes; what differs from consumer to consumer, the tag and the mark of a repeat, is
//! put behind it.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::{
    ClientId, Topic,
    context::Context,
    wire::{Close, Data, Opcode, Part},
};

/// Where a message comes from.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The node's name: `N`, such as the pod's.
    pub node_name: &'a str,
    /// The connection.
    pub client: ClientId,
    /// Its context.
    pub context: &'a Context,
    /// The events of the connection, from 1.
    pub seq: u64,
    /// Milliseconds since 1970.
    pub ts: u64,
}

/// What a topic is told.
#[derive(Clone, Copy, Debug)]
pub enum Happened<'a> {
    /// A frame or a message came.
    Message(&'a Part),
    /// A control frame came, and a rule asks for it.
    Control(Opcode, &'a [u8]),
    /// A connection was made.
    Handshake {
        /// The request target.
        uri: &'a str,
        /// The remote address.
        remote: &'a str,
        /// The headers of the request, by name.
        headers: &'a [(String, String)],
    },
    /// A connection has ended.
    Closed(&'a Close),
}

/// An event without what its consumer adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event(Box<str>);

#[derive(Serialize)]
struct Document<'a> {
    n: u16,
    #[serde(rename = "N")]
    name: &'a str,
    c: String,
    t: &'a str,
    d: Content<'a>,
}

/// The member `d`.
struct Content<'a>(Origin<'a>, Happened<'a>);

#[derive(Serialize)]
struct Frame<'a> {
    r#type: &'a str,
    data: &'a str,
    finish: bool,
}

/// Headers as a map. A name that comes twice has its values joined, as HTTP has it.
struct Headers<'a>(&'a [(String, String)]);

impl Event {
    /// Makes the event of what happened to a connection.
    #[must_use]
    pub fn new(topic: &Topic, origin: Origin<'_>, happened: Happened<'_>) -> Self {
        let client = origin.client;
        let document = Document {
            n: client.node().get(),
            name: origin.node_name,
            c: client.to_string(),
            t: topic.as_str(),
            d: Content(origin, happened),
        };
        // Texts, numbers and JSON that was read: always written.
        let mut text = serde_json::to_string(&document).unwrap_or_default();
        text.pop();
        Self(text.into())
    }

    /// As another node takes it.
    pub(crate) fn written(&self) -> &str {
        &self.0
    }

    /// What another node has written.
    pub(crate) fn from_written(text: String) -> Self {
        Self(text.into())
    }

    /// Its bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.len()
    }

    /// The event for a consumer, with the delivery's tag where it acknowledges.
    #[must_use]
    pub fn for_consumer(&self, tag: Option<u64>, redelivered: bool) -> String {
        let mut text = String::with_capacity(self.0.len() + 64);
        text += r#"{"e":"queue.pop","p":"#;
        text += &self.0;
        if let Some(tag) = tag {
            text += r#","k":"#;
            text += &tag.to_string();
        }
        if redelivered {
            text += r#","redelivered":true"#;
        }
        text += r#"},"id":null}"#;
        text
    }
}

impl Serialize for Content<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(origin, happened) = self;
        let mut map = serializer.serialize_map(None)?;
        let event = match happened {
            Happened::Message(part) => {
                let binary = match &part.data {
                    Data::Text(_) => String::new(),
                    Data::Binary(bytes) => STANDARD.encode(bytes),
                };
                let data = if let Data::Text(text) = &part.data { text } else { &binary };
                map.serialize_entry("frame", &Frame { r#type: part.opcode.word(), data, finish: part.fin })?;
                "message"
            }
            Happened::Control(opcode, payload) => {
                let data = STANDARD.encode(payload);
                map.serialize_entry("frame", &Frame { r#type: opcode.word(), data: &data, finish: true })?;
                "message"
            }
            Happened::Handshake { uri, remote, headers } => {
                let host = headers.iter().find(|(name, _)| name == "host").map(|(_, host)| host.as_str());
                map.serialize_entry("method", "GET")?;
                map.serialize_entry("uri", uri)?;
                map.serialize_entry("host", host.unwrap_or_default())?;
                map.serialize_entry("remote", remote)?;
                map.serialize_entry("headers", &Headers(headers))?;
                "handshake"
            }
            Happened::Closed(close) => {
                map.serialize_entry("code", &close.code.map(crate::wire::CloseCode::get))?;
                map.serialize_entry("reason", &close.reason)?;
                "close"
            }
        };
        map.serialize_entry("event", event)?;
        map.serialize_entry("context", origin.context)?;
        map.serialize_entry("seq", &origin.seq)?;
        map.serialize_entry("ts", &origin.ts)?;
        map.end()
    }
}

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (n, (name, value)) in self.0.iter().enumerate() {
            if self.0[..n].iter().any(|(before, _)| before == name) {
                continue;
            }
            let more = self.0[n + 1..].iter().filter(|(other, _)| other == name);
            let joined = more.fold(value.clone(), |all, (_, next)| all + ", " + next);
            map.serialize_entry(name, &joined)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json, value::RawValue};

    use super::*;
    use crate::context::Entries;

    fn event(happened: Happened<'_>) -> Event {
        let mut context = Context::default();
        let entries = Entries::read(&RawValue::from_string(r#"{"uid":10000000000000000001}"#.into()).unwrap()).unwrap();
        context.merge(entries, 100).unwrap();
        let client = "1463819408261513216".parse().unwrap();
        let origin = Origin { node_name: "grid-0", client, context: &context, seq: 1, ts: 1_637_836_718_036 };
        Event::new(&Topic::new("topic1").unwrap(), origin, happened)
    }

    fn d(happened: Happened<'_>) -> Value {
        let text = event(happened).for_consumer(None, false);
        serde_json::from_str::<Value>(&text).unwrap()["p"]["d"].take()
    }

    #[test]
    fn a_message_is_the_event_of_the_seed_with_what_is_added() {
        let part = Part { opcode: Opcode::Text, data: Data::Text("json str".into()), fin: true };
        let event = event(Happened::Message(&part));
        let expected = concat!(
            r#"{"e":"queue.pop","p":{"n":0,"N":"grid-0","c":"1463819408261513216","t":"topic1","d":{"frame":"#,
            r#"{"type":"text","data":"json str","finish":true},"event":"message","context":{"uid":10000000000000000001},"#,
            r#""seq":1,"ts":1637836718036}},"id":null}"#
        );
        assert_eq!(event.for_consumer(None, false), expected);
        let again = event.for_consumer(Some(7), true);
        assert!(again.ends_with(r#""ts":1637836718036},"k":7,"redelivered":true},"id":null}"#), "{again}");
    }

    #[test]
    fn other_events_have_what_the_contract_lists() {
        let binary = Part { opcode: Opcode::Continuation, data: Data::Binary(vec![251, 255].into()), fin: false };
        assert_eq!(
            d(Happened::Message(&binary))["frame"],
            json!({"type": "continuation", "data": "+/8=", "finish": false})
        );
        assert_eq!(
            d(Happened::Control(Opcode::Ping, b"x"))["frame"],
            json!({"type": "ping", "data": "eA==", "finish": true})
        );
        let headers = [("host", "grid:6790"), ("cookie", "a=1"), ("x", "\"q\""), ("cookie", "b=2")];
        let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let handshake = d(Happened::Handshake { uri: "/chat?a=b", remote: "10.0.0.7:4711", headers: &headers });
        assert_eq!(handshake["headers"], json!({"host": "grid:6790", "cookie": "a=1, b=2", "x": "\"q\""}));
        assert_eq!(
            (&handshake["event"], &handshake["method"], &handshake["uri"], &handshake["host"], &handshake["remote"]),
            (&json!("handshake"), &json!("GET"), &json!("/chat?a=b"), &json!("grid:6790"), &json!("10.0.0.7:4711"))
        );
        let closed = d(Happened::Closed(&Close::protocol("bits")));
        assert_eq!(
            (&closed["event"], &closed["code"], &closed["reason"]),
            (&json!("close"), &json!(1002), &json!("bits"))
        );
        assert_eq!(d(Happened::Closed(&Close::default()))["code"], Value::Null);
    }
}

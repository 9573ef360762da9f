//! A method with its parameters, checked (Grid sections 4 to 6). Both forms of `p` are read: the object, and the array of
//! older clients (G-3).

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Function, Message};
use crate::{Channel, ClientId, GridError, Topic};

/// Topics, channels, arguments or tags of one request.
const MOST_LISTED: usize = 1000;

/// The methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are those of the contract")]
pub enum Method {
    Send,
    Publish,
    Pop,
    Unpop,
    Ack,
    Nack,
    Call,
    Ping,
}

/// What a backend asks for.
#[derive(Debug)]
pub enum Call {
    /// A message for one connection.
    Send(ClientId, Message),
    /// A message for all that are subscribed to one of the channels.
    Publish(Vec<Channel>, Message),
    /// Consumes topics.
    Pop(Vec<Topic>, Window),
    /// Ends that: of these topics, or of all.
    Unpop(Option<Vec<Topic>>),
    /// Deliveries were processed.
    Ack(Vec<u64>),
    /// Deliveries were not processed; whether they are given out again.
    Nack(Vec<u64>, bool),
    /// A function of a connection.
    Remote(ClientId, Function),
    /// Are you there?
    Ping,
}

/// How much a consumer takes at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Whether deliveries are acknowledged (G-15).
    pub acks: bool,
    /// Deliveries that may be on their way, or not acknowledged.
    pub size: u32,
}

impl Window {
    /// Enough to hide a round trip at a hundred thousand messages a second, and few enough that competing consumers share.
    pub const DEFAULT: u32 = 64;
    /// What may be asked for.
    pub const MOST: u32 = 10_000;
}

impl Method {
    /// The method of that name.
    ///
    /// # Errors
    /// When there is none: code 100.
    pub fn parse(name: &str) -> Result<Self, GridError> {
        Ok(match name {
            "mesh.send" => Self::Send,
            "mesh.publish" => Self::Publish,
            "queue.pop" => Self::Pop,
            "queue.unpop" => Self::Unpop,
            "queue.ack" => Self::Ack,
            "queue.nack" => Self::Nack,
            "conn.call" => Self::Call,
            "server.ping" => Self::Ping,
            _ => {
                let shown: String = name.chars().take(64).collect();
                return Err(GridError::UnknownMethod(shown));
            }
        })
    }
}

/// All members that a method may have.
#[derive(Default, Deserialize)]
struct Parameters<'a> {
    #[serde(borrow, default)]
    c: Option<&'a RawValue>,
    #[serde(borrow, default)]
    d: Option<&'a RawValue>,
    #[serde(borrow, default)]
    t: Option<&'a RawValue>,
    #[serde(borrow, default)]
    f: Option<&'a RawValue>,
    #[serde(borrow, default)]
    a: Option<&'a RawValue>,
    #[serde(borrow, default)]
    w: Option<&'a RawValue>,
    #[serde(borrow, default)]
    k: Option<&'a RawValue>,
    #[serde(borrow, default)]
    r: Option<&'a RawValue>,
}

impl Call {
    pub(super) fn read(method: Method, parameters: Option<&RawValue>) -> Result<Self, GridError> {
        let text = parameters.map_or("{}", RawValue::get);
        if text.starts_with('[') {
            return Self::legacy(method, text);
        }
        let all: Parameters<'_> =
            serde_json::from_str(text).map_err(|_| GridError::invalid("p is an object, or an array with one"))?;
        match method {
            Method::Send => Ok(Self::Send(client(all.c)?, Message::read(all.d, all.t)?)),
            Method::Publish => Ok(Self::Publish(one_or_more("c", all.c, channel)?, Message::read(all.d, all.t)?)),
            Method::Pop => Ok(Self::Pop(topics(all.t)?, window(all.a, all.w)?)),
            Method::Unpop => Ok(Self::Unpop(all.t.map(|t| topics(Some(t))).transpose()?)),
            Method::Ack => Ok(Self::Ack(one_or_more("k", all.k, tag)?)),
            Method::Nack => Ok(Self::Nack(one_or_more("k", all.k, tag)?, flag("r", all.r)?.unwrap_or(true))),
            Method::Call => Ok(Self::Remote(client(all.c)?, function(all.f, all.a)?)),
            Method::Ping => Ok(Self::Ping),
        }
    }

    /// `[]`, `[{...}]`, and for `queue.pop` and `queue.unpop` the topics themselves.
    fn legacy(method: Method, text: &str) -> Result<Self, GridError> {
        let items: Vec<&RawValue> =
            serde_json::from_str(text).map_err(|e| GridError::invalid(format!("p cannot be read: {e}")))?;
        match (method, items.as_slice()) {
            (_, []) => Self::read(method, None),
            (_, [one]) if one.get().starts_with('{') => Self::read(method, Some(one)),
            (Method::Pop, names) => {
                bounded("p", names.len())?;
                let topics = names.iter().map(|name| topic(name)).collect::<Result<_, _>>()?;
                Ok(Self::Pop(topics, window(None, None)?))
            }
            (Method::Unpop, names) => {
                bounded("p", names.len())?;
                names.iter().map(|name| topic(name)).collect::<Result<_, _>>().map(|topics| Self::Unpop(Some(topics)))
            }
            _ => Err(GridError::invalid("p is an object, or an array with one")),
        }
    }

    /// Which method it is, for permissions and metrics.
    #[must_use]
    pub fn method(&self) -> Method {
        match self {
            Self::Send(..) => Method::Send,
            Self::Publish(..) => Method::Publish,
            Self::Pop(..) => Method::Pop,
            Self::Unpop(_) => Method::Unpop,
            Self::Ack(_) => Method::Ack,
            Self::Nack(..) => Method::Nack,
            Self::Remote(..) => Method::Call,
            Self::Ping => Method::Ping,
        }
    }
}

fn client(value: Option<&RawValue>) -> Result<ClientId, GridError> {
    let text = value.map(RawValue::get).ok_or_else(|| GridError::invalid("c is missing: the client's id"))?;
    let string: Option<String> = serde_json::from_str(text).ok();
    string.as_deref().unwrap_or(text).parse().map_err(|e| GridError::invalid(format!("c: {e}")))
}

fn name<Of>(what: &str, value: &RawValue) -> Result<crate::names::Name<Of>, GridError> {
    let text: String =
        serde_json::from_str(value.get()).map_err(|_| GridError::invalid(format!("{what} is a string")))?;
    crate::names::Name::new(&text).map_err(|e| GridError::invalid(format!("{what}: {e}")))
}

fn channel(value: &RawValue) -> Result<Channel, GridError> {
    name("a channel", value)
}

fn topic(value: &RawValue) -> Result<Topic, GridError> {
    name("a topic", value)
}

fn topics(value: Option<&RawValue>) -> Result<Vec<Topic>, GridError> {
    let all = value.and_then(|value| serde_json::from_str::<Vec<&RawValue>>(value.get()).ok());
    let all = all.filter(|all| !all.is_empty()).ok_or_else(|| GridError::invalid("t is a list of topics"))?;
    bounded("t", all.len())?;
    all.into_iter().map(topic).collect()
}

/// One value, or a list of them.
fn one_or_more<T>(
    what: &str,
    value: Option<&RawValue>,
    read: impl Fn(&RawValue) -> Result<T, GridError>,
) -> Result<Vec<T>, GridError> {
    let value = value.ok_or_else(|| GridError::invalid(format!("{what} is missing")))?;
    let Ok(all) = serde_json::from_str::<Vec<&RawValue>>(value.get()) else { return Ok(vec![read(value)?]) };
    if all.is_empty() {
        return Err(GridError::invalid(format!("{what} is empty")));
    }
    bounded(what, all.len())?;
    all.into_iter().map(read).collect()
}

fn tag(value: &RawValue) -> Result<u64, GridError> {
    serde_json::from_str(value.get()).map_err(|_| GridError::invalid("k is a delivery tag: a number"))
}

fn flag(what: &str, value: Option<&RawValue>) -> Result<Option<bool>, GridError> {
    let read = |value: &RawValue| serde_json::from_str(value.get());
    value.map(read).transpose().map_err(|_| GridError::invalid(format!("{what} is true or false")))
}

fn window(acks: Option<&RawValue>, size: Option<&RawValue>) -> Result<Window, GridError> {
    let size = match size {
        None => Window::DEFAULT,
        Some(size) => serde_json::from_str(size.get())
            .ok()
            .filter(|size| (1..=Window::MOST).contains(size))
            .ok_or_else(|| GridError::invalid(format!("w is a number from 1 to {}", Window::MOST)))?,
    };
    Ok(Window { acks: flag("a", acks)?.unwrap_or(false), size })
}

fn function(name: Option<&RawValue>, arguments: Option<&RawValue>) -> Result<Function, GridError> {
    let name: Option<String> = name.and_then(|name| serde_json::from_str(name.get()).ok());
    let name = name.filter(|name| !name.trim().is_empty());
    let name = name.ok_or_else(|| GridError::invalid("f is missing: the function, a string"))?;
    let arguments: Vec<&RawValue> = match arguments {
        None => Vec::new(),
        Some(list) => serde_json::from_str(list.get()).map_err(|_| GridError::invalid("a is a list of arguments"))?,
    };
    bounded("a", arguments.len())?;
    Function::read(&name, &arguments)
}

fn bounded(what: &str, length: usize) -> Result<(), GridError> {
    if length > MOST_LISTED {
        return Err(GridError::invalid(format!("{what} has at most {MOST_LISTED} items")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: &str, p: &str) -> Result<Call, GridError> {
        let raw = RawValue::from_string(p.to_owned()).unwrap();
        Call::read(Method::parse(method).unwrap(), Some(&raw))
    }

    #[test]
    fn the_examples_of_the_seed_are_read() {
        let table = [
            ("mesh.send", r#"{"c":"1463786910324359168","d":"data"}"#, "Send(ClientId(1463786910324359168)"),
            ("mesh.send", r#"{"c":1463786910324359168,"d":"data"}"#, "Send(ClientId(1463786910324359168)"),
            ("mesh.publish", r#"{"c":"channel1","d":"data"}"#, "Publish([\"channel1\"]"),
            ("mesh.publish", r#"{"c":["a","b"],"d":"data"}"#, "Publish([\"a\", \"b\"]"),
            ("queue.pop", r#"{"t":["topic1"]}"#, "Pop([\"topic1\"], Window { acks: false, size: 64 })"),
            ("queue.pop", r#"{"t":["a"],"a":true,"w":5}"#, "Pop([\"a\"], Window { acks: true, size: 5 })"),
            ("queue.pop", r#"["topic1"]"#, "Pop([\"topic1\"]"),
            ("queue.pop", r#"[{"t":["topic1"]}]"#, "Pop([\"topic1\"]"),
            ("queue.unpop", "{}", "Unpop(None)"),
            ("queue.unpop", "[]", "Unpop(None)"),
            ("queue.unpop", r#"["a"]"#, "Unpop(Some([\"a\"]))"),
            ("queue.ack", r#"{"k":7}"#, "Ack([7])"),
            ("queue.nack", r#"{"k":[7,8],"r":false}"#, "Nack([7, 8], false)"),
            ("conn.call", r#"{"c":"7","f":"set_context_value","a":["user_id",10000]}"#, "Remote(ClientId(7), SetValue"),
            ("conn.call", r#"{"c":"7","f":"set_context","a":[{"user_id":10000}]}"#, "Remote(ClientId(7), Set("),
            ("conn.call", r#"{"c":"7","f":"subscribe","a":["channel1","channel2"]}"#, "Remote(ClientId(7), Subscribe"),
            ("conn.call", r#"{"c":"7","f":"close"}"#, "Remote(ClientId(7), Close"),
            ("server.ping", "[]", "Ping"),
        ];
        for (method, p, expected) in table {
            let shown = format!("{:?}", read(method, p).unwrap());
            assert!(shown.starts_with(expected), "{method} {p}: {shown}");
        }
        assert!(matches!(Call::read(Method::Unpop, None), Ok(Call::Unpop(None))));
    }

    #[test]
    fn parameters_that_are_missing_blank_or_wrong_are_101() {
        let many = format!(r#"{{"t":[{}]}}"#, vec!["\"a\""; MOST_LISTED + 1].join(","));
        let long = format!(r#"{{"c":"{}","d":"x"}}"#, "c".repeat(256));
        let table = [
            ("mesh.send", "{}"),
            ("mesh.send", r#"{"c":"","d":"x"}"#),
            ("mesh.send", r#"{"c":" 7","d":"x"}"#),
            ("mesh.send", r#"{"c":-7,"d":"x"}"#),
            ("mesh.send", r#"{"c":0,"d":"x"}"#),
            ("mesh.send", r#"{"c":7.0,"d":"x"}"#),
            ("mesh.send", r#"{"c":18446744073709551616,"d":"x"}"#),
            ("mesh.send", r#"{"c":null,"d":"x"}"#),
            ("mesh.send", r#"{"c":"7"}"#),
            ("mesh.publish", r#"{"c":"a b","d":"x"}"#),
            ("mesh.publish", r#"{"c":[],"d":"x"}"#),
            ("mesh.publish", r#"{"c":[1],"d":"x"}"#),
            ("mesh.publish", &long),
            ("queue.pop", "{}"),
            ("queue.pop", r#"{"t":[]}"#),
            ("queue.pop", r#"{"t":"topic1"}"#),
            ("queue.pop", r#"{"t":["ok",7]}"#),
            ("queue.pop", r#"{"t":[""]}"#),
            ("queue.pop", r#"{"t":["a"],"w":0}"#),
            ("queue.pop", r#"{"t":["a"],"a":"yes"}"#),
            ("queue.pop", &many),
            ("queue.unpop", r#"{"t":[]}"#),
            ("queue.ack", "{}"),
            ("queue.ack", r#"{"k":"7"}"#),
            ("queue.nack", r#"{"k":7,"r":1}"#),
            ("conn.call", r#"{"c":"7"}"#),
            ("conn.call", r#"{"c":"7","f":" "}"#),
            ("conn.call", r#"{"c":"7","f":"subscribe","a":[]}"#),
            ("conn.call", r#"{"c":"7","f":"subscribe","a":["a b"]}"#),
            ("conn.call", r#"{"c":"7","f":"set_context_value","a":["k"]}"#),
            ("conn.call", r#"{"c":"7","f":"set_context","a":["k"]}"#),
            ("conn.call", r#"{"c":"7","f":"close","a":[1006]}"#),
            ("conn.call", r#"{"c":"7","f":"info","a":[1]}"#),
            ("conn.call", r#"{"c":"7","f":"subscribe","a":{}}"#),
            ("mesh.send", "[1]"),
            ("mesh.send", r#"[{"c":"7","d":"x"},{}]"#),
        ];
        for (method, p) in table {
            assert_eq!(read(method, p).unwrap_err().code(), 101, "{method} {p}");
        }
        assert_eq!(read("conn.call", r#"{"c":"7","f":"fly"}"#).unwrap_err().code(), 301);
    }
}

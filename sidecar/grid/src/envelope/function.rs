//! What `conn.call` may do with a connection (G-18, G-19).

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::{
    Channel, GridError,
    context::{Entries, Key},
    wire::{Close, CloseCode},
};

/// A function of a connection, with its arguments.
#[derive(Clone, Debug)]
pub enum Function {
    /// Sets one key of the context.
    SetValue(Key, Box<RawValue>),
    /// Replaces the user's part of the context.
    Set(Entries),
    /// Sets some keys of the context.
    Merge(Entries),
    /// Answers the context.
    Context,
    /// Subscribes to channels: all of them or none.
    Subscribe(Vec<Channel>),
    /// Ends subscriptions.
    Unsubscribe(Vec<Channel>),
    /// Ends the connection.
    Close(Close),
    /// Answers what is known of the connection.
    Info,
    /// Answers the channels.
    Channels,
    /// The client is not read until it is resumed.
    Pause,
    /// It is read again.
    Resume,
}

impl Function {
    pub(crate) fn read(name: &str, arguments: &[&RawValue]) -> Result<Self, GridError> {
        let none = || {
            arguments.is_empty().then_some(()).ok_or_else(|| GridError::invalid(format!("{name} takes no argument")))
        };
        Ok(match name {
            "set_context_value" => match arguments {
                [key, value] => Self::SetValue(key_of(key)?, (*value).to_owned()),
                _ => return Err(GridError::invalid("set_context_value takes a key and a value")),
            },
            "set_context" => Self::Set(entries(name, arguments)?),
            "merge_context" => Self::Merge(entries(name, arguments)?),
            "get_context" => none().map(|()| Self::Context)?,
            "subscribe" => Self::Subscribe(channels(name, arguments)?),
            "unsubscribe" => Self::Unsubscribe(channels(name, arguments)?),
            "close" => Self::Close(close(arguments)?),
            "info" => none().map(|()| Self::Info)?,
            "channels" => none().map(|()| Self::Channels)?,
            "pause" => none().map(|()| Self::Pause)?,
            "resume" => none().map(|()| Self::Resume)?,
            _ => return Err(GridError::CallFailed(format!("a connection has no function {name}"))),
        })
    }

    /// Its name and arguments, as [`read`](Self::read) takes them.
    pub(crate) fn written(&self) -> (&'static str, Vec<Box<RawValue>>) {
        let names = |all: &[Channel]| all.iter().map(|one| json(one.as_str())).collect();
        match self {
            Self::SetValue(key, value) => ("set_context_value", vec![json(key.as_str()), value.clone()]),
            Self::Set(entries) => ("set_context", vec![json(entries)]),
            Self::Merge(entries) => ("merge_context", vec![json(entries)]),
            Self::Context => ("get_context", Vec::new()),
            Self::Subscribe(channels) => ("subscribe", names(channels)),
            Self::Unsubscribe(channels) => ("unsubscribe", names(channels)),
            Self::Close(Close { code: Some(code), reason }) => ("close", vec![json(&code.get()), json(&**reason)]),
            Self::Close(_) => ("close", Vec::new()),
            Self::Info => ("info", Vec::new()),
            Self::Channels => ("channels", Vec::new()),
            Self::Pause => ("pause", Vec::new()),
            Self::Resume => ("resume", Vec::new()),
        }
    }

    /// Whether a caller who may only read may call it: of all functions only `info` (G-21), which tells nothing of the context.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        matches!(self, Self::Info)
    }

    /// The channels that it puts the connection into, or takes it out of.
    #[must_use]
    pub fn channels(&self) -> &[Channel] {
        match self {
            Self::Subscribe(channels) | Self::Unsubscribe(channels) => channels,
            _ => &[],
        }
    }
}

/// Texts, numbers and JSON that was read: always written.
fn json<T: Serialize + ?Sized>(value: &T) -> Box<RawValue> {
    to_raw_value(value).unwrap_or_default()
}

fn text<'a>(value: &'a RawValue, what: &str) -> Result<Cow<'a, str>, GridError> {
    serde_json::from_str(value.get()).map_err(|_| GridError::invalid(format!("{what} is a string")))
}

fn key_of(value: &RawValue) -> Result<Key, GridError> {
    let key: String = serde_json::from_str(value.get()).map_err(|_| GridError::invalid("a key is a string"))?;
    Key::new(&key)
}

fn entries(name: &str, arguments: &[&RawValue]) -> Result<Entries, GridError> {
    match arguments {
        [map] => Entries::read(map),
        _ => Err(GridError::invalid(format!("{name} takes one map"))),
    }
}

fn channels(name: &str, arguments: &[&RawValue]) -> Result<Vec<Channel>, GridError> {
    if arguments.is_empty() {
        return Err(GridError::invalid(format!("{name} takes channels")));
    }
    let one = |value: &&RawValue| -> Result<Channel, GridError> {
        let name: String =
            serde_json::from_str(value.get()).map_err(|_| GridError::invalid("a channel is a string"))?;
        Ok(Channel::new(&name)?)
    };
    arguments.iter().map(one).collect()
}

fn close(arguments: &[&RawValue]) -> Result<Close, GridError> {
    let (code, reason) = match arguments {
        [] => (None, None),
        [code] => (Some(*code), None),
        [code, reason] => (Some(*code), Some(*reason)),
        _ => return Err(GridError::invalid("close takes a code and a reason")),
    };
    let code = match code {
        None => CloseCode::NORMAL,
        Some(code) => serde_json::from_str(code.get())
            .ok()
            .and_then(CloseCode::new)
            .ok_or_else(|| GridError::invalid("a close code is 1000 to 1003, 1007 to 1014 or 3000 to 4999"))?,
    };
    let reason = reason.map(|reason| text(reason, "a reason")).transpose()?.unwrap_or_default();
    Ok(Close::new(code, reason.into_owned()))
}

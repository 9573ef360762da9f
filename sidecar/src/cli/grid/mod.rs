//! `mesh grid`: the clients of a grid, messages to them, and what they send.
//!
//! ```text
//! ls.rs       topics and clients, asked at the admin port page by page
//! message.rs  what is sent, from a file or standard input
//! api.rs      one call of the backends' API, over HTTP or its WebSocket
//! tail.rs     events of topics, consumed and printed
//! ```

mod api;
mod ls;
mod message;
mod tail;

use serde_json::{Value, json};

use self::api::{Api, Socket};
use super::{block_on, print_json};
use crate::{
    args::{ApiCall, Form, GridClose, GridCommand, GridInfo, GridPublish, GridSend},
    exit::Exit,
};

/// `mesh grid`.
pub(crate) fn grid(command: &GridCommand) -> Result<(), Exit> {
    block_on(async {
        match command {
            GridCommand::Ls(args) => ls::ls(args).await,
            GridCommand::Info(args) => info(args).await,
            GridCommand::Send(args) => send(args).await,
            GridCommand::Publish(args) => publish(args).await,
            GridCommand::Close(args) => close(args).await,
            GridCommand::Tail(args) => tail::tail(args).await,
        }
    })
}

async fn info(args: &GridInfo) -> Result<(), Exit> {
    let mut socket = Socket::open(&args.call).await?;
    let mut info = socket.ask("conn.call", &json!({"c": args.id, "f": "info", "a": []})).await?;
    match socket.ask("conn.call", &json!({"c": args.id, "f": "get_context", "a": []})).await {
        Ok(mut context) => info["context"] = context["context"].take(),
        // Whoever may only read learns of a client what `info` tells (G-21).
        Err(Exit::Refused(_)) => {}
        Err(e) => return Err(e),
    }
    info.as_object_mut().map(|info| info.remove("s"));
    match args.call.output.form {
        Form::Json => print_json(&info),
        Form::Text => {
            for line in about(&info) {
                println!("{line}");
            }
            Ok(())
        }
    }
}

fn about(info: &Value) -> Vec<String> {
    let text = |member: &str| shown(&info[member]);
    let state = if info["paused"] == true { ", not read: it is paused" } else { "" };
    let channels = info["channels"].as_array().into_iter().flatten().map(shown).collect::<Vec<_>>();
    let mut lines = vec![
        format!("client    {} at {} (node {}){state}", text("c"), text("N"), text("n")),
        format!("from      {} by listener {}, since {}", text("remote"), text("listener"), since(&info["since"])),
        format!("waiting   {} bytes", text("waitingBytes")),
        format!("channels  {}", channels.join(" ")),
    ];
    for (key, value) in info["context"].as_object().into_iter().flatten() {
        lines.push(format!("context   {} = {}", printable(key), printable(&value.to_string())));
    }
    lines
}

async fn send(args: &GridSend) -> Result<(), Exit> {
    let mut parameters = message::read(&args.message).await?;
    parameters["c"] = args.id.as_str().into();
    let done = Api::of(&args.call).post("/v1/mesh/send", &parameters).await?;
    said(&args.call, &done, &format!("{}: accepted for the client", args.id))
}

async fn publish(args: &GridPublish) -> Result<(), Exit> {
    let mut parameters = message::read(&args.message).await?;
    let mut channels = vec![args.channel.as_str()];
    channels.extend(args.also.iter().map(String::as_str));
    parameters["c"] = json!(channels);
    let done = Api::of(&args.call).post("/v1/mesh/publish", &parameters).await?;
    let text = format!("{} clients have it, {} could not take it", done["s"], done["f"]);
    said(&args.call, &done, &text)
}

async fn close(args: &GridClose) -> Result<(), Exit> {
    let call = json!({"c": args.id, "f": "close", "a": [args.code, args.reason]});
    let done = Socket::open(&args.call).await?.ask("conn.call", &call).await?;
    said(&args.call, &done, &format!("{}: closed with {}", args.id, args.code))
}

fn said(call: &ApiCall, done: &Value, text: &str) -> Result<(), Exit> {
    match call.output.form {
        Form::Json => print_json(done),
        Form::Text => {
            println!("{text}");
            Ok(())
        }
    }
}

/// A moment, from milliseconds since 1970.
fn since(millis: &Value) -> String {
    let stamp = millis.as_i64().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
    stamp.map_or_else(String::new, |stamp| stamp.to_string())
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// What clients sent is not printed as it is: a terminal would act on it.
fn printable(text: &str) -> String {
    let is_plain = |c: char| !c.is_control();
    text.chars().map(|c| if is_plain(c) { c.to_string() } else { c.escape_debug().to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_shown_with_what_is_known_of_it_and_cannot_speak_to_the_terminal() {
        let info = json!({"c": "7", "n": 1, "N": "grid-0", "listener": "chat", "remote": "10.0.0.1:1", "since": 0,
            "channels": ["room:1", "user:\u{1b}[2J"], "waitingBytes": 12, "paused": true, "context": {"user_id": 10}});
        let lines = [
            "client    7 at grid-0 (node 1), not read: it is paused",
            "from      10.0.0.1:1 by listener chat, since 1970-01-01T00:00:00Z",
            "waiting   12 bytes",
            "channels  room:1 user:\\u{1b}[2J",
            "context   user_id = 10",
        ];
        assert_eq!(about(&info), lines);
    }
}

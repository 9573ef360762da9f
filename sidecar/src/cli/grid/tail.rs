//! `mesh grid tail`: consumes topics and prints the events. In ack mode: what was not printed when this ends goes to other
//! consumers, or waits (G-15). The protocol has no look at a topic that takes nothing out.

use std::io::{self, ErrorKind, Write};

use serde_json::{Value, json};

use super::{
    api::{Socket, result},
    shown,
};
use crate::{
    args::{Form, GridTail},
    exit::Exit,
};

/// Events on their way at a time.
const WINDOW: u64 = 64;

/// Prints events until `--count`, or until it is ended.
pub(super) async fn tail(args: &GridTail) -> Result<(), Exit> {
    let mut socket = Socket::open(&args.call).await?;
    let window = args.count.unwrap_or(WINDOW).min(WINDOW);
    socket.ask("queue.pop", &json!({"t": args.topic, "a": true, "w": window})).await?;
    let (mut left, mut unanswered) = (args.count, 0_u64);
    while left != Some(0) || unanswered > 0 {
        let mut next = socket.next().await?;
        if next.get("e").is_none() {
            result(next)?;
            unanswered = unanswered.saturating_sub(1);
            continue;
        }
        if left == Some(0) {
            continue;
        }
        let event = next["p"].take();
        if let Err(e) = print(&event, args.call.output.form) {
            // Whoever read this has seen enough.
            return if e.kind() == ErrorKind::BrokenPipe { Ok(()) } else { Err(Exit::local("standard output", e)) };
        }
        socket.tell("queue.ack", &json!({"k": event["k"]})).await?;
        left = left.map(|left| left - 1);
        unanswered += 1;
    }
    Ok(())
}

fn print(event: &Value, form: Form) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match form {
        Form::Json => writeln!(out, "{event}")?,
        Form::Text => writeln!(out, "{}", line(event))?,
    }
    out.flush()
}

/// Topic, client, and what happened.
fn line(event: &Value) -> String {
    let d = &event["d"];
    let what = match d["event"].as_str() {
        Some("handshake") => {
            format!("handshake {} {} from {}", shown(&d["method"]), shown(&d["uri"]), shown(&d["remote"]))
        }
        Some("close") => format!("close {} {}", shown(&d["code"]), shown(&d["reason"])),
        _ => format!("{} {}", shown(&d["frame"]["type"]), shown(&d["frame"]["data"])),
    };
    format!("{} {} {what}", shown(&event["t"]), shown(&event["c"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_is_a_line() {
        let event = |d: Value| line(&json!({"c": "7", "t": "chat", "d": d, "k": 1}));
        let table = [
            (json!({"event": "message", "frame": {"type": "text", "data": "{\"a\":1}\n"}}), "chat 7 text {\"a\":1}\\n"),
            (json!({"event": "close", "code": 1000, "reason": "bye"}), "chat 7 close 1000 bye"),
        ];
        for (d, expected) in table {
            assert_eq!(event(d), expected);
        }
    }
}

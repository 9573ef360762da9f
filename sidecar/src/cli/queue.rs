//! `mesh queue ls`: the sessions and queues of the node on this machine, asked at its admin port page by page.

use serde_json::{Value, json};

use super::{admin::Admin, block_on, print_json};
use crate::{
    args::{Form, QueueLs},
    exit::Exit,
};

/// Rows that are asked for at a time; the node gives no more.
const PAGE: usize = 1000;

/// `mesh queue ls`.
pub(crate) fn ls(args: &QueueLs) -> Result<(), Exit> {
    let admin = Admin::of_environment()?;
    block_on(async {
        let (mut sessions, mut next, mut left) = (Vec::new(), Value::Null, args.limit);
        while left > 0 {
            let mut page = admin.get(&path(args.session.as_deref(), &next, left.min(PAGE))).await?;
            next = page["next"].take();
            let Value::Array(rows) = page["sessions"].take() else { break };
            left = left.saturating_sub(rows.iter().map(|row| 1 + queues(row).len()).sum());
            sessions.extend(rows);
            if next.is_null() {
                break;
            }
        }
        match args.output.form {
            Form::Json => print_json(&json!({"sessions": sessions, "next": next})),
            Form::Text => {
                print(&sessions, !next.is_null());
                Ok(())
            }
        }
    })
}

fn path(session: Option<&str>, next: &Value, most: usize) -> String {
    let mut query = form_urlencoded::Serializer::new(String::from("/queues/list?"));
    query.append_pair("limit", &most.to_string());
    if let Some(session) = session {
        query.append_pair("session", session);
    }
    for (name, member) in [("afterSession", "session"), ("afterTopic", "topic")] {
        if let Some(text) = next[member].as_str() {
            query.append_pair(name, text);
        }
    }
    // The serializer puts an ampersand before the first pair of a text that is not empty.
    query.finish().replacen("?&", "?", 1)
}

fn queues(session: &Value) -> &[Value] {
    session["queues"].as_array().map_or(&[], Vec::as_slice)
}

fn print(sessions: &[Value], is_more: bool) {
    println!(
        "{:<32} {:<32} {:>9} {:>12} {:>7} {:>7} {:>10}",
        "SESSION", "TOPIC", "DEPTH", "BYTES", "WAITERS", "LEASED", "OLDEST"
    );
    for session in sessions {
        let name = shown(&session["session"]);
        for queue in queues(session) {
            line(&name, &shown(&queue["topic"]), queue);
        }
        if queues(session).is_empty() {
            println!("{name:<32} (no queue; unused for {} s)", session["unusedMs"].as_u64().unwrap_or(0) / 1000);
        }
        if let Some(waiting) = session["waitingPushes"].as_u64().filter(|waiting| *waiting > 0) {
            println!("{name:<32} ({waiting} pushes wait for room)");
        }
    }
    if is_more {
        println!("(there are more: --limit, --session)");
    }
}

fn line(session: &str, topic: &str, queue: &Value) {
    let number = |name: &str| queue[name].as_u64().unwrap_or(0);
    let oldest =
        queue["oldestMs"].as_u64().map_or_else(String::new, |ms| format!("{}.{} s", ms / 1000, ms % 1000 / 100));
    println!(
        "{session:<32} {topic:<32} {:>9} {:>12} {:>7} {:>7} {oldest:>10}",
        number("depth"),
        number("bytes"),
        number("waiters"),
        number("leased"),
    );
}

/// Names come from callers: what a terminal would act on is not printed as it is. Both may be empty.
fn shown(name: &Value) -> String {
    match name.as_str().unwrap_or_default() {
        "" => "\"\"".to_owned(),
        name => name.escape_debug().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_kind_are_asked_for_as_they_are() {
        let next = json!({"session": "a b&c", "topic": ""});
        assert_eq!(path(None, &Value::Null, 7), "/queues/list?limit=7");
        assert_eq!(path(Some("s=1"), &next, 7), "/queues/list?limit=7&session=s%3D1&afterSession=a+b%26c&afterTopic=");
    }

    #[test]
    fn a_name_cannot_speak_to_the_terminal() {
        assert_eq!(shown(&json!("a\u{1b}[2Jb")), "a\\u{1b}[2Jb");
        assert_eq!(shown(&json!("")), "\"\"");
    }
}

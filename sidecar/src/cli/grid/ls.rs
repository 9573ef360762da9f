//! `mesh grid ls`: the topics and the clients of the node on this machine, asked at its admin port page by page.

use serde_json::{Value, json};

use super::{shown, since};
use crate::{
    args::{Form, GridLs},
    cli::{admin::Admin, print_json},
    exit::Exit,
};

/// `mesh grid ls`.
pub(super) async fn ls(args: &GridLs) -> Result<(), Exit> {
    let admin = Admin::of_environment()?;
    let mut all = admin.get(&path(args.limit, &Value::Null)).await?;
    let mut clients = rows(&mut all);
    let mut next = all["next"].take();
    while clients.len() < args.limit && !next.is_null() {
        let mut page = admin.get(&path(args.limit - clients.len(), &next)).await?;
        clients.extend(rows(&mut page));
        next = page["next"].take();
    }
    clients.truncate(args.limit);
    match args.output.form {
        Form::Json => print_json(&json!({"topics": all["topics"], "total": all["total"], "clients": clients})),
        Form::Text => {
            lines(&all, &clients).iter().for_each(|line| println!("{line}"));
            Ok(())
        }
    }
}

fn rows(page: &mut Value) -> Vec<Value> {
    match page["clients"].take() {
        Value::Array(rows) => rows,
        _ => Vec::new(),
    }
}

fn path(limit: usize, after: &Value) -> String {
    let after = after.as_str().map_or_else(String::new, |id| format!("&after={id}"));
    format!("/grid?limit={limit}{after}")
}

fn lines(all: &Value, clients: &[Value]) -> Vec<String> {
    let mut lines = vec![format!("{:<40} {:>9} {:>9} {:>9}", "TOPIC", "WAITING", "UNACKED", "CONSUMERS")];
    for row in all["topics"].as_array().into_iter().flatten() {
        let topic = shown(&row["topic"]);
        lines.push(format!(
            "{topic:<40} {:>9} {:>9} {:>9}",
            shown(&row["depth"]),
            shown(&row["unacked"]),
            shown(&row["consumers"])
        ));
    }
    lines.push(String::new());
    lines.push(format!(
        "{:<20} {:<16} {:<24} {:<25} {:>9} CHANNELS",
        "CLIENT", "LISTENER", "REMOTE", "SINCE", "WAITING"
    ));
    for client in clients {
        let channels: Vec<_> = client["channels"].as_array().into_iter().flatten().map(shown).collect();
        lines.push(format!(
            "{:<20} {:<16} {:<24} {:<25} {:>9} {}",
            shown(&client["c"]),
            shown(&client["listener"]),
            shown(&client["remote"]),
            since(&client["since"]),
            shown(&client["waitingBytes"]),
            channels.join(" "),
        ));
    }
    let total = all["total"].as_u64().unwrap_or(0);
    if total > clients.len() as u64 {
        lines.push(format!("({total} clients in all: --limit)"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_and_clients_are_lines() {
        let all = json!({"topics": [{"topic": "chat", "depth": 2, "unacked": 1, "consumers": 0}], "total": 5});
        let client = json!({"c": "7", "listener": "a", "remote": "h:1", "since": 0, "waitingBytes": 3,
            "channels": ["x", "y"]});
        let lines = lines(&all, &[client]);
        let words = |n: usize| lines[n].split_whitespace().collect::<Vec<_>>();
        assert_eq!(words(1), ["chat", "2", "1", "0"]);
        assert_eq!(words(4), ["7", "a", "h:1", "1970-01-01T00:00:00Z", "3", "x", "y"]);
        assert_eq!(lines[5], "(5 clients in all: --limit)");
    }

    #[test]
    fn a_page_begins_behind_the_one_before() {
        assert_eq!(path(7, &Value::Null), "/grid?limit=7");
        assert_eq!(path(7, &json!("1463819408261513216")), "/grid?limit=7&after=1463819408261513216");
    }
}

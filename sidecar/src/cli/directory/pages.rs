//! Searches and lists, page by page: each row is written as it comes, so that a directory of a million data systems takes no more memory
//! than a page.

use std::io::{self, Write as _};

use serde_json::{Value, json};

use super::api::Api;
use crate::{
    args::{DirectoryLs, DirectorySearch, Form, Listed},
    exit::Exit,
};

/// Rows of a page: the most that a directory gives.
const PAGE: usize = 1000;

/// `mesh directory search`.
pub(super) async fn search(args: &DirectorySearch) -> Result<(), Exit> {
    let (api, mut ask) = (Api::new(&args.call), json!({}));
    let (at, list) = match &args.class {
        Some(class) => {
            ask["className"] = class.as_str().into();
            ("/central-systems/search", "centralsystems")
        }
        None => {
            filter(&mut ask, &[("protocolName", &args.protocol), ("protocolVersion", &args.protocol_version)]);
            ("/adapter-classes/search", "adapterClassNames")
        }
    };
    each(&api, at, ask, list, |row| match row {
        Value::String(name) => name.clone(),
        system => format!("{:<34} {}", text(system, "id"), text(system, "endpoint")),
    })
    .await
}

/// `mesh directory ls`.
pub(super) async fn ls(args: &DirectoryLs) -> Result<(), Exit> {
    let filters = [
        ("csid", &args.csid),
        ("className", &args.class),
        ("protocolName", &args.protocol),
        ("protocolVersion", &args.protocol_version),
    ];
    let (at, list, head, fits): (_, _, _, &[&str]) = match args.what {
        Listed::CentralSystems => {
            let head = format!("{:<34} ENDPOINT", "CENTRAL SYSTEM");
            ("/central-systems/list", "centralsystems", head, &["className"])
        }
        Listed::AdapterClasses => {
            let head = format!("{:<34} {:<20} {:<14} OFFERED BY", "CLASS", "PROTOCOL", "VERSION");
            ("/adapter-classes/list", "adapterClasses", head, &["csid", "protocolName", "protocolVersion"])
        }
        Listed::DataSystems => {
            let head = format!("{:<50} {:<24} {:<24} NAME", "DATA ADDRESS", "CLASS", "ENDPOINT");
            ("/data-systems/list", "dataSystems", head, &["csid", "className"])
        }
    };
    if filters.iter().any(|(key, value)| value.is_some() && !fits.contains(key)) {
        let text = "central-systems are filtered by --class, data-systems by --csid and --class, adapter-classes by --csid, --protocol and --protocol-version";
        return Err(Exit::Local(text.into()));
    }
    let mut ask = json!({});
    filter(&mut ask, &filters);
    let api = Api::new(&args.call);
    match args.output.form {
        Form::Json => each(&api, at, ask, list, Value::to_string).await,
        Form::Text => {
            put(&head)?;
            each(&api, at, ask, list, |row| line(args.what, row)).await
        }
    }
}

fn filter(ask: &mut Value, pairs: &[(&str, &Option<String>)]) {
    for (key, value) in pairs {
        value.iter().for_each(|value| ask[*key] = value.as_str().into());
    }
}

/// A row for people.
fn line(what: Listed, row: &Value) -> String {
    let one = |member| text(row, member);
    match what {
        Listed::CentralSystems => format!("{:<34} {}", one("id"), one("endpoint")),
        Listed::AdapterClasses => {
            let (name, protocol) = (one("className"), &row["protocol"]);
            format!("{name:<34} {:<20} {:<14} {}", text(protocol, "name"), text(protocol, "version"), row["offers"])
        }
        Listed::DataSystems => {
            let dangling = if row["dangling"] == true { " (nobody offers its class)" } else { "" };
            let (address, class) = (one("dataAddress"), one("adapterClass"));
            format!("{address:<50} {class:<24} {:<24} {}{dangling}", one("endpoint"), one("name"))
        }
    }
}

/// Writes all rows, a line each. Where somebody writes meanwhile, the rest is as it is then, and that is said at the end.
async fn each(
    api: &Api<'_>,
    at: &str,
    mut ask: Value,
    list: &str,
    line: impl Fn(&Value) -> String,
) -> Result<(), Exit> {
    ask["limit"] = PAGE.into();
    ask["anyRevision"] = true.into();
    let mut began = None;
    loop {
        let answer = api.ask(at, &ask).await?;
        rows(&answer, list).iter().try_for_each(|row| put(&line(row)))?;
        let revision = answer["revision"].as_u64();
        let first = *began.get_or_insert(revision);
        match &answer["cursor"] {
            Value::Null if first == revision => return Ok(()),
            Value::Null => {
                let (first, last) = (first.unwrap_or_default(), revision.unwrap_or_default());
                let text = "the directory changed meanwhile, and what was listed before is older";
                let said = writeln!(io::stderr(), "{text}: it was at revision {first}, and is at {last}");
                return said.map_err(|e| Exit::local("standard error", e));
            }
            cursor => ask["cursor"] = cursor.clone(),
        }
    }
}

/// The rows of an answer, whichever case the key has (leniency 13).
fn rows<'v>(answer: &'v Value, list: &str) -> &'v [Value] {
    let members = answer.as_object().into_iter().flatten();
    let found = members.filter(|(key, _)| key.eq_ignore_ascii_case(list)).find_map(|(_, rows)| rows.as_array());
    found.map_or(&[], Vec::as_slice)
}

fn put(line: &str) -> Result<(), Exit> {
    writeln!(io::stdout(), "{line}").map_err(|e| Exit::local("standard output", e))
}

fn text<'v>(value: &'v Value, member: &str) -> &'v str {
    value[member].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_in_either_case() {
        for answer in [json!({"centralsystems": [1]}), json!({"centralSystems": [1], "code": 200})] {
            assert_eq!(rows(&answer, "centralsystems"), [json!(1)]);
        }
        assert!(rows(&json!({"code": 200}), "centralsystems").is_empty());
    }
}

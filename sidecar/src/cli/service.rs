//! `mesh service ls`: the registrations of the node on this machine, asked at its admin port.

use serde_json::Value;

use super::{admin::Admin, block_on, print_json};
use crate::{
    args::{Form, ServiceLs},
    exit::Exit,
};

/// `mesh service ls`.
pub(crate) fn ls(args: &ServiceLs) -> Result<(), Exit> {
    let admin = Admin::of_environment()?;
    block_on(async {
        let page = admin.get(&path(args.name.as_deref(), args.limit)).await?;
        match args.output.form {
            Form::Json => print_json(&page),
            Form::Text => {
                print(&page);
                Ok(())
            }
        }
    })
}

fn path(name: Option<&str>, limit: usize) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("limit", &limit.to_string());
    if let Some(name) = name {
        query.append_pair("name", name);
    }
    format!("/services?{}", query.finish())
}

fn print(page: &Value) {
    println!("{:<24} {:<28} {:<5} {:<28} {:>6} {:>8} STATE", "NAME", "URN", "PROTO", "ADDRESS", "CALLS", "GOES IN");
    let registrations = page["services"].as_array().map_or(&[][..], Vec::as_slice);
    registrations.iter().flat_map(lines).for_each(|line| println!("{line}"));
    let total = page["total"].as_u64().unwrap_or(0);
    if total > registrations.len() as u64 {
        println!("({total} registrations in all: --limit, --name)");
    }
}

fn lines(registration: &Value) -> Vec<String> {
    let name = shown(&registration["name"]);
    let ends = match registration["goesInMs"].as_u64() {
        Some(millis) => format!("{} s", millis / 1000),
        None => "never".into(),
    };
    let list = |member: &str| registration[member].as_array().map_or(&[][..], Vec::as_slice);
    let (services, unrouted) = (list("services"), list("unrouted"));
    if services.is_empty() && unrouted.is_empty() {
        let kind = registration["kind"].as_str().unwrap_or_default();
        return vec![format!(
            "{name:<24} ({kind} {}: nothing that is routed; {ends})",
            shown(&registration["instanceId"])
        )];
    }
    let line = |service: &Value| {
        format!(
            "{name:<24} {:<28} {:<5} {:<28} {:>6} {ends:>8} {}",
            shown(&service["urn"]),
            service["proto"].as_str().unwrap_or_default(),
            shown(&service["address"]),
            service["underWay"].as_u64().unwrap_or(0),
            state(service),
        )
    };
    let unrouted = unrouted.iter().map(|service| {
        format!("{name:<24} {:<28} gets no calls: {}", shown(&service["urn"]), shown(&service["reason"]))
    });
    services.iter().map(line).chain(unrouted).collect()
}

fn state(service: &Value) -> String {
    if let Some(other) = service["outrankedBy"].as_str() {
        return format!("gets no calls: {} has this urn", other.escape_debug());
    }
    if service["weight"] == 0 {
        return "drained: its weight is 0".into();
    }
    let reason = shown(&service["reason"]);
    match service["state"].as_str().unwrap_or_default() {
        "ready" => "ready".into(),
        "unknown" => "not yet checked".into(),
        "ejected" => format!("left out: {reason}"),
        _ => format!("not ready: {reason}"),
    }
}

/// What callers named is not printed as it is: a terminal would act on it.
fn shown(text: &Value) -> String {
    text.as_str().unwrap_or_default().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_service_is_a_line_with_its_state() {
        let service = |state: Value| {
            let mut service = json!({"urn": "/a", "proto": "http", "address": "h:1", "weight": 1000, "underWay": 2,
                "outrankedBy": null, "state": "ready"});
            service.as_object_mut().unwrap().extend(state.as_object().unwrap().clone());
            let registration = json!({"name": "n", "kind": "complex", "goesInMs": 61_500, "services": [service]});
            lines(&registration).concat()
        };
        for (given, shown) in [
            (json!({}), "ready"),
            (json!({"state": "notReady", "reason": "refused"}), "not ready: refused"),
            (json!({"state": "ejected", "reason": "slow"}), "left out: slow"),
            (json!({"outrankedBy": "z\u{1b}"}), "gets no calls: z\\u{1b} has this urn"),
            (json!({"weight": 0}), "drained: its weight is 0"),
        ] {
            let line = service(given);
            assert!(line.ends_with(&format!(" 2     61 s {shown}")), "{line}");
        }
    }

    #[test]
    fn a_registration_without_a_routed_service_is_a_line_too() {
        let registration = json!({"name": "n", "kind": "server", "instanceId": "i", "goesInMs": null, "services": []});
        assert_eq!(
            lines(&registration).concat().trim_end(),
            format!("{:<24} (server i: nothing that is routed; never)", "n")
        );
    }

    #[test]
    fn what_nobody_can_call_is_a_line_with_its_reason() {
        let registration = json!({"name": "n", "kind": "metadata", "goesInMs": 1000, "services": [],
            "unrouted": [{"urn": "a.b", "reason": "its proto is neither http nor grpc"}]});
        let line = lines(&registration).concat();
        assert!(
            line.ends_with("a.b                          gets no calls: its proto is neither http nor grpc"),
            "{line}"
        );
    }

    #[test]
    fn a_name_is_asked_for_as_it_is() {
        assert_eq!(path(Some("a b&c"), 7), "/services?limit=7&name=a+b%26c");
    }
}

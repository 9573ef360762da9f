//! `mesh tunnel policy`: who may reach whom.

use serde_json::Value;

use super::{Admin, labels_of, path, text};
use crate::{
    args::{Form, TunnelPolicy},
    cli::print_json,
    exit::Exit,
};

pub(super) async fn policy(admin: &Admin, args: &TunnelPolicy) -> Result<(), Exit> {
    let (Some(from), Some(to)) = (&args.from, &args.to) else {
        let shown = admin.get("/tunnel/policy").await?;
        return match args.output.form {
            Form::Json => print_json(&shown),
            Form::Text => {
                print(&shown);
                Ok(())
            }
        };
    };
    let port = args.port.map(|port| port.to_string());
    let mut asked = vec![("from", from.as_str()), ("to", to.as_str())];
    asked.extend(port.as_deref().map(|port| ("port", port)));
    let judged = admin.get(&path("/tunnel/policy", &asked)).await?;
    let rule = judged["rule"].as_u64().map(|rule| format!(" (rule {rule})")).unwrap_or_default();
    let port = args.port.map(|port| format!(" at port {port}")).unwrap_or_default();
    let allowed = judged["allowed"] == true;
    let said = format!(
        "{from} {} {to}{port}: {}{rule}",
        if allowed { "reaches" } else { "does not reach" },
        text(&judged, "why")
    );
    match args.output.form {
        Form::Json => print_json(&judged)?,
        Form::Text if allowed => println!("{said}"),
        Form::Text => {}
    }
    // Scripts ask by the exit code.
    if allowed { Ok(()) } else { Err(Exit::Refused(said)) }
}

fn print(shown: &Value) {
    let rules = shown["rules"].as_array().map_or(&[][..], Vec::as_slice);
    match (shown["interconnection"] == true, rules.is_empty()) {
        (false, _) => println!("interconnection is off: edge nodes reach the server only, whatever rules there are"),
        (true, true) => println!("edge nodes reach each other: there is no rule"),
        (true, false) => println!("what no rule allows between edge nodes is denied"),
    }
    if rules.is_empty() {
        return;
    }
    println!("{:>4}  {:<32} {:<32} {:>7} {:>9}  PORTS", "RULE", "FROM", "TO", "SENDERS", "RECEIVERS");
    for (at, rule) in rules.iter().enumerate() {
        let side = |member: &str| Some(labels_of(&rule[member])).filter(|text| !text.is_empty());
        let (from, to) = (side("from").unwrap_or("all".into()), side("to").unwrap_or("all".into()));
        let ports: Vec<String> = rule["ports"].as_array().into_iter().flatten().map(Value::to_string).collect();
        let ports = if ports.is_empty() { "all".into() } else { ports.join(",") };
        println!(
            "{:>4}  {from:<32} {to:<32} {:>7} {:>9}  {ports}",
            at + 1,
            text(rule, "senders"),
            text(rule, "receivers")
        );
    }
}

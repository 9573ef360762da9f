//! `mesh tunnel`: the edge nodes and join tokens of the node on this machine, asked at its admin port.

use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

mod authority;
mod deny;
mod import;
mod join;
mod legacy;
mod policy;
mod route;

use super::{admin::Admin, block_on, print_json};
use crate::{
    admin::NewToken,
    args::{Form, Output, TokenCommand, TokenCreate, TunnelApprove, TunnelCommand, TunnelKick},
    exit::Exit,
};

/// `mesh tunnel`.
pub(crate) fn tunnel(command: &TunnelCommand) -> Result<(), Exit> {
    match command {
        TunnelCommand::Join(args) => join::join(args),
        TunnelCommand::Ls(args) => {
            asked(async |admin| list(&admin.get("/tunnel").await?, &args.output, "nodes", print_nodes))
        }
        TunnelCommand::Policy(args) => asked(async |admin| policy::policy(admin, args).await),
        TunnelCommand::Route(args) => asked(async |admin| route::route(admin, &args.command).await),
        TunnelCommand::Authority(args) => asked(async |admin| authority::authority(admin, &args.command).await),
        TunnelCommand::Deny(args) => asked(async |admin| deny::deny(admin, args).await),
        TunnelCommand::Approve(args) => asked(async |admin| approve(admin, args).await),
        TunnelCommand::Import(args) => import::import(args),
        TunnelCommand::Kick(args) => asked(async |admin| kick(admin, args).await),
        TunnelCommand::Token(token) => match &token.command {
            TokenCommand::Create(args) => asked(async |admin| create(admin, args).await),
            TokenCommand::Ls(args) => {
                asked(async |admin| list(&admin.get("/tunnel/tokens").await?, &args.output, "tokens", print_tokens))
            }
            TokenCommand::Revoke(args) => asked(async |admin| {
                admin.ask(Method::DELETE, &path("/tunnel/tokens", &[("id", &args.id)]), &Value::Null).await?;
                println!("{} is revoked: nobody joins with it any more", args.id);
                Ok(())
            }),
        },
    }
}

/// One call of the node on this machine.
fn asked(call: impl AsyncFnOnce(&Admin) -> Result<(), Exit>) -> Result<(), Exit> {
    let admin = Admin::of_environment()?;
    block_on(call(&admin))
}

fn list(shown: &Value, output: &Output, member: &str, print: fn(&[Value])) -> Result<(), Exit> {
    match output.form {
        Form::Json => print_json(shown),
        Form::Text => {
            print(shown[member].as_array().map_or(&[], Vec::as_slice));
            Ok(())
        }
    }
}

async fn create(admin: &Admin, args: &TokenCreate) -> Result<(), Exit> {
    let ask = NewToken {
        seconds: (!args.endless).then_some(args.ttl.as_secs()),
        max_uses: Some(args.max_uses).filter(|most| *most != 0),
        labels: args.labels.iter().map(|label| (label.0.clone(), label.1.clone())).collect(),
        ephemeral: args.ephemeral.map(|time| u32::try_from(time.as_secs()).unwrap_or(u32::MAX)),
        legacy: args.legacy,
        approval: args.approval,
    };
    let made = admin.ask(Method::POST, "/tunnel/tokens", &json!(ask)).await?;
    match args.output.form {
        Form::Json => print_json(&made),
        Form::Text => {
            // As `ncadm` shows it, since LiteKube's nodes are given it in this form.
            println!("{}@{}", text(&made, "token"), text(&made, "address"));
            Ok(())
        }
    }
}

async fn kick(admin: &Admin, args: &TunnelKick) -> Result<(), Exit> {
    let unregister = args.unregister.to_string();
    let path = path("/tunnel/kick", &[("id", &args.id), ("unregister", &unregister)]);
    admin.ask(Method::POST, &path, &Value::Null).await?;
    let done = if args.unregister { "is forgotten" } else { "is cut off, and may come again" };
    println!("{} {done}", args.id);
    Ok(())
}

async fn approve(admin: &Admin, args: &TunnelApprove) -> Result<(), Exit> {
    let done = admin.ask(Method::POST, &path("/tunnel/approve", &[("id", &args.id)]), &Value::Null).await?;
    let done = if done["changed"] == true { "is approved: it may open its tunnel" } else { "was approved already" };
    println!("{} {done}", args.id);
    Ok(())
}

pub(super) fn path(base: &str, pairs: &[(&str, &str)]) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    format!("{base}?{query}")
}

pub(super) fn text(row: &Value, member: &str) -> String {
    match &row[member] {
        Value::String(text) => text.clone(),
        Value::Null => "-".into(),
        other => other.to_string(),
    }
}

fn moment(row: &Value, member: &str) -> String {
    let at = row[member].as_i64().and_then(|seconds| Timestamp::from_second(seconds).ok());
    at.map_or_else(|| "never".into(), |at| at.to_string())
}

/// The day of a moment, which is near enough for what lasts a year.
fn day(row: &Value, member: &str) -> String {
    if row[member].is_null() { "-".into() } else { moment(row, member).chars().take_while(|it| *it != 'T').collect() }
}

fn labels(row: &Value) -> String {
    labels_of(&row["labels"])
}

fn labels_of(labels: &Value) -> String {
    let pairs = labels.as_object().into_iter().flatten();
    pairs.map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())).collect::<Vec<_>>().join(",")
}

fn print_nodes(rows: &[Value]) {
    println!(
        "{:<8} {:<13} {:<16} {:<20} {:<11} {:<22} {:>14} {:>14}  {:<12} NETWORKS",
        "NODE", "STATE", "ADDRESS", "SEEN", "CERT ENDS", "FROM", "BYTES IN", "BYTES OUT", "LABELS"
    );
    for row in rows {
        let state = match row["state"].as_i64() {
            Some(3) => "connected",
            Some(1) => "connecting",
            _ if row["waits"] == true => "waits",
            _ => "away",
        };
        let networks = row["networks"].as_array().into_iter().flatten().filter_map(Value::as_str);
        println!(
            "{:<8} {state:<13} {:<16} {:<20} {:<11} {:<22} {:>14} {:>14}  {:<12} {}",
            text(row, "id"),
            text(row, "address"),
            moment(row, "seen"),
            day(row, "certificateEnds"),
            text(row, "from"),
            text(row, "bytesIn"),
            text(row, "bytesOut"),
            labels(row),
            networks.collect::<Vec<_>>().join(",")
        );
    }
}

fn print_tokens(rows: &[Value]) {
    println!(
        "{:<10} {:<22} {:<22} {:>6} {:>6}  {:<8} LABELS",
        "TOKEN", "CREATED", "EXPIRES", "USES", "MOST", "REVOKED"
    );
    for row in rows {
        let revoked = if row["revoked"] == true { "yes" } else { "no" };
        println!(
            "{:<10} {:<22} {:<22} {:>6} {:>6}  {revoked:<8} {}",
            text(row, "id"),
            moment(row, "created"),
            moment(row, "expires"),
            text(row, "uses"),
            text(row, "maxUses"),
            labels(row)
        );
    }
}

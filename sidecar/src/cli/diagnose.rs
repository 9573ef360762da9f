//! `mesh diagnose route`: why the route to a partner does not work, asked at the admin port of the node on this machine.

use std::time::Duration;

use serde_json::Value;

use super::{admin::Admin, block_on, print_json};
use crate::{
    args::{DiagnoseRoute, Form},
    exit::Exit,
};

/// `mesh diagnose route`.
pub(crate) fn route(args: &DiagnoseRoute) -> Result<(), Exit> {
    let admin = Admin::of_environment()?;
    block_on(async {
        let report = ask(&admin, args).await?;
        match args.output.form {
            Form::Json => print_json(&report)?,
            Form::Text => print(&report),
        }
        if report["ok"] == true {
            return Ok(());
        }
        let faults = lines(&report).filter(|line| line["state"] == "failed").count();
        Err(Exit::Refused(format!("the route to {} has {faults} faults", args.node)))
    })
}

/// The node answers that it is not done as often as it takes.
async fn ask(admin: &Admin, args: &DiagnoseRoute) -> Result<Value, Exit> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("node", &args.node).append_pair("idleMs", &args.idle.as_millis().to_string());
    let path = format!("/diagnose/route?{}", query.finish());
    loop {
        let mut said = admin.get_within(&path, LIMIT).await?;
        if said["done"] == true {
            return Ok(said["report"].take());
        }
    }
}

/// One answer comes within 30 s, done or not.
const LIMIT: Duration = Duration::from_secs(50);

fn lines(report: &Value) -> impl Iterator<Item = &Value> {
    let of = |value: &Value| value["lines"].as_array().map_or(0, Vec::len);
    let own = (0..of(report)).map(|at| &report["lines"][at]);
    let addresses = report["addresses"].as_array().into_iter().flatten();
    own.chain(addresses.flat_map(|address| address["lines"].as_array().into_iter().flatten()))
}

fn print(report: &Value) {
    let print_lines = |lines: &Value| {
        for line in lines.as_array().into_iter().flatten() {
            let text = |member: &str| line[member].as_str().unwrap_or_default().to_owned();
            println!("  {:<8} {:<16} {}", text("state"), text("check"), text("detail"));
            if !text("remedy").is_empty() {
                println!("  {:<8} {:<16} -> {}", "", "", text("remedy"));
            }
        }
    };
    println!("{}", report["nodeId"].as_str().unwrap_or_default());
    print_lines(&report["lines"]);
    for address in report["addresses"].as_array().into_iter().flatten() {
        println!("{}", address["address"].as_str().unwrap_or_default().escape_debug());
        print_lines(&address["lines"]);
    }
}

//! `mesh tunnel route`: networks behind edge nodes, and what the administrator says of them.

use http::Method;
use serde_json::Value;

use super::{Admin, list, path, text};
use crate::{
    args::{Behind, BehindCommand},
    exit::Exit,
};

const ROUTES: &str = "/tunnel/routes";

pub(super) async fn route(admin: &Admin, command: &BehindCommand) -> Result<(), Exit> {
    match command {
        BehindCommand::Ls(args) => list(&admin.get(ROUTES).await?, &args.output, "routes", print),
        BehindCommand::Approve(behind) => {
            let changed = decide(admin, Method::POST, behind).await?;
            let done = if changed { "is approved" } else { "was approved already" };
            println!("{} behind {} {done}: it is in force while the node announces it", behind.network, behind.node);
            Ok(())
        }
        BehindCommand::Revoke(behind) => {
            let changed = decide(admin, Method::DELETE, behind).await?;
            let done = if changed { "is not approved any more" } else { "was not approved" };
            println!("{} behind {} {done}", behind.network, behind.node);
            Ok(())
        }
    }
}

/// Whether anything changed.
async fn decide(admin: &Admin, method: Method, behind: &Behind) -> Result<bool, Exit> {
    let network = behind.network.to_string();
    let path = path(ROUTES, &[("id", &behind.node), ("network", &network)]);
    Ok(admin.ask(method, &path, &Value::Null).await?["changed"] == true)
}

fn print(rows: &[Value]) {
    println!("{:<8} {:<19} {:<9} WHY", "NODE", "NETWORK", "STATE");
    for row in rows {
        let [id, network, state, why] = ["id", "network", "state", "why"].map(|member| text(row, member));
        println!("{id:<8} {network:<19} {state:<9} {why}");
    }
}

//! `mesh tunnel authority`: whose certificates are taken, and which replaced authority is not trusted any more.

use http::Method;
use serde_json::Value;

use super::{Admin, list, moment, path, text};
use crate::{args::AuthorityCommand, exit::Exit};

const AUTHORITIES: &str = "/tunnel/authorities";

pub(super) async fn authority(admin: &Admin, command: &AuthorityCommand) -> Result<(), Exit> {
    match command {
        AuthorityCommand::Ls(args) => list(&admin.get(AUTHORITIES).await?, &args.output, "authorities", print),
        AuthorityCommand::Forget(args) => {
            let sha256 = args.sha256.to_ascii_lowercase();
            let clock = args.clock_is_right.to_string();
            let path = path(AUTHORITIES, &[("id", &sha256), ("clockIsRight", &clock)]);
            let done = admin.ask(Method::DELETE, &path, &Value::Null).await?;
            println!("{sha256} is forgotten: {}", ended(&done));
            Ok(())
        }
    }
}

/// What became of who came in with a certificate of it.
fn ended(done: &Value) -> String {
    let cut: Vec<&str> = done["cut"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if cut.is_empty() {
        return "no tunnel was open with a certificate of it".into();
    }
    format!("the tunnels of {} ended", cut.join(", "))
}

fn print(rows: &[Value]) {
    println!("{:<64} {:<8} {:<8} {:<22} SUBJECT", "SHA256", "PLANE", "STANDING", "ENDS");
    for row in rows {
        let [sha256, plane, standing, subject] =
            ["sha256", "plane", "standing", "subject"].map(|member| text(row, member));
        println!("{sha256:<64} {plane:<8} {standing:<8} {:<22} {subject}", moment(row, "ends"));
    }
}

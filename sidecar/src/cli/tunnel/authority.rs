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
            admin.ask(Method::DELETE, &path(AUTHORITIES, &[("id", &sha256)]), &Value::Null).await?;
            println!("{sha256} is forgotten: no connection begins with its certificates any more");
            Ok(())
        }
    }
}

fn print(rows: &[Value]) {
    println!("{:<64} {:<8} {:<8} {:<22} SUBJECT", "SHA256", "PLANE", "STANDING", "ENDS");
    for row in rows {
        let [sha256, plane, standing, subject] =
            ["sha256", "plane", "standing", "subject"].map(|member| text(row, member));
        println!("{sha256:<64} {plane:<8} {standing:<8} {:<22} {subject}", moment(row, "ends"));
    }
}

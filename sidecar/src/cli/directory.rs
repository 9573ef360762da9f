//! `mesh directory`: tokens of the node on this machine, by its admin port; records and the log of any, by its own.

mod api;
mod pages;
mod reads;

use http::Method;
use mesh_core::config::{Environment, Settings};
use serde_json::{Value, json};

use super::{
    admin::Admin,
    block_on, print_json,
    tunnel::{path, text},
    verify,
};
use crate::{
    admin::NewDirectoryToken,
    args::{DirectoryCommand, DirectoryImport, DirectoryTokenCommand, Form},
    exit::Exit,
    start::{compact_log, import_log},
};

const TOKENS: &str = "/directory/tokens";

/// `mesh directory`.
pub(crate) fn directory(command: &DirectoryCommand) -> Result<(), Exit> {
    match command {
        DirectoryCommand::Token(token) => tokens(&token.command),
        DirectoryCommand::Get(args) => block_on(reads::get(args)),
        DirectoryCommand::Search(args) => block_on(pages::search(args)),
        DirectoryCommand::Ls(args) => block_on(pages::ls(args)),
        DirectoryCommand::History(args) => block_on(reads::history(args)),
        DirectoryCommand::Watch(args) => block_on(reads::watch(args)),
        DirectoryCommand::Export(args) => block_on(reads::export(&args.call)),
        DirectoryCommand::Import(args) => import(args),
        DirectoryCommand::Compact => compact(),
    }
}

/// `mesh directory compact`.
fn compact() -> Result<(), Exit> {
    let settings = Settings::read(&Environment::of_process()).map_err(|e| Exit::Refused(e.to_string()))?;
    let (before, after) = compact_log(&settings.home).map_err(Exit::Refused)?;
    println!("{before} bytes, now {after}");
    Ok(())
}

/// `mesh directory import`.
fn import(args: &DirectoryImport) -> Result<(), Exit> {
    let settings = Settings::read(&Environment::of_process()).map_err(|e| Exit::Refused(e.to_string()))?;
    let recovery = args.recovery_key.iter().map(|text| verify::key(text)).collect::<Result<_, _>>()?;
    let size = import_log(&settings.home, verify::opened(&args.file)?, recovery).map_err(Exit::Refused)?;
    println!("{size} entries");
    Ok(())
}

fn tokens(command: &DirectoryTokenCommand) -> Result<(), Exit> {
    let admin = Admin::of_environment()?;
    block_on(async {
        match command {
            DirectoryTokenCommand::Issue(args) => {
                let ask = NewDirectoryToken { csid: args.csid.clone(), seconds: args.ttl.map(|ttl| ttl.as_secs()) };
                let issued = admin.ask(Method::POST, TOKENS, &json!(ask)).await?;
                println!("{}", text(&issued, "token"));
                Ok(())
            }
            DirectoryTokenCommand::Ls(args) => {
                let shown = admin.get(TOKENS).await?;
                match args.output.form {
                    Form::Json => print_json(&shown),
                    Form::Text => {
                        print_tokens(shown["tokens"].as_array().map_or(&[], Vec::as_slice));
                        Ok(())
                    }
                }
            }
            DirectoryTokenCommand::Revoke(args) => {
                let done = admin.ask(Method::DELETE, &path(TOKENS, &[("csid", &args.csid)]), &Value::Null).await?;
                println!("{} of {} revoked", text(&done, "revoked"), args.csid);
                Ok(())
            }
        }
    })
}

fn print_tokens(rows: &[Value]) {
    println!("{:<14} {:<34} {:<26} UNTIL", "TOKEN", "CENTRAL SYSTEM", "ISSUED");
    for row in rows {
        println!(
            "{:<14} {:<34} {:<26} {}",
            text(row, "id"),
            text(row, "csid"),
            moment(row, "issued"),
            moment(row, "until")
        );
    }
}

/// Milliseconds since 1970, for people.
fn moment(row: &Value, member: &str) -> String {
    let at = row[member].as_i64().and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
    at.map_or_else(|| "revoked".into(), |at| at.to_string())
}

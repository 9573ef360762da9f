//! `mesh tunnel deny`: a certificate that leaked is refused.

use std::fs;

use http::Method;
use mesh_tunnel::authority::key_of;
use serde_json::Value;

use super::{Admin, path, text};
use crate::{args::TunnelDeny, exit::Exit};

/// `mesh tunnel deny FILE|SHA256`.
pub(super) async fn deny(admin: &Admin, args: &TunnelDeny) -> Result<(), Exit> {
    let key = key(&args.certificate)?;
    let done = admin.ask(Method::POST, &path("/tunnel/deny", &[("id", &key)]), &Value::Null).await?;
    match done["node"].is_null() {
        true => println!("certificates of the key {key} are refused"),
        false => println!("certificates of the key {key} are refused, which is of {}", text(&done, "node")),
    }
    Ok(())
}

/// The key that is named: 64 digits, or that of the first certificate of a file.
fn key(named: &str) -> Result<String, Exit> {
    if named.len() == 64 && named.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(named.to_ascii_lowercase());
    }
    let pem = fs::read_to_string(named).map_err(|e| Exit::local(named, e))?;
    key_of(&pem).map_err(|e| Exit::local(named, e))
}

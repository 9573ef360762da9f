//! `mesh exec`: any MPI of a node by name, with arguments in JSON (PTP section 7). Also what the route commands are made of.

use std::{io::Read as _, time::Duration};

use crds::DATA_PORT;
use http::{Request, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Limited};
use mesh_core::{Body, Code};
use serde_json::{Map, Value};

use super::{block_on, client, print_json};
use crate::{args::Exec, exit::Exit};

/// MPIs that ask a partner take 10 s at most; one that pops waits longer.
const LIMIT: Duration = Duration::from_secs(130);
/// 2000 routes with their certificates.
const LARGEST: usize = 64 << 20;

/// `mesh exec`.
pub(crate) fn exec(args: &Exec) -> Result<(), Exit> {
    let arguments = match args.input.as_str() {
        "-" => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(|e| Exit::local("standard input", e))?;
            text
        }
        given => given.to_owned(),
    };
    let arguments: Map<String, Value> = serde_json::from_str(&arguments)
        .map_err(|e| Exit::Refused(format!("-i must be a JSON object of arguments: {e}")))?;
    block_on(async {
        let content = invoke(&args.address, &args.method, &arguments.into(), args.target_node.as_deref()).await?;
        print_json(&content)
    })
}

/// The content of what an MPI answers.
pub(super) async fn invoke(
    address: &str,
    method: &str,
    arguments: &Value,
    target_node: Option<&str>,
) -> Result<Value, Exit> {
    let mut request = Request::post("/mesh/invoke").header(CONTENT_TYPE, "application/json").header("mesh-urn", method);
    if let Some(node) = target_node {
        request = request.header("x-ptp-target-node-id", node);
    }
    let request = request
        .body(Body::from(arguments.to_string()))
        .map_err(|e| Exit::Refused(format!("the method's or the node's name cannot be sent: {e}")))?;
    let answer = client::send(address, DATA_PORT, request, LIMIT).await?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), LARGEST).collect().await;
    let body = body.map_err(|e| Exit::Unreachable(format!("{address}: {e}")))?.to_bytes();
    let Ok(mut said) = serde_json::from_slice::<Value>(&body) else {
        return Err(Exit::Refused(format!("HTTP {status}: {}", String::from_utf8_lossy(&body).trim())));
    };
    match said["code"].as_str().and_then(Code::parse) {
        Some(code) if code.is_success() => Ok(said["content"].take()),
        Some(code) => Err(Exit::refused(code, said["message"].as_str().unwrap_or_default())),
        None => Err(Exit::Refused(format!("HTTP {status}, and no code in the answer"))),
    }
}

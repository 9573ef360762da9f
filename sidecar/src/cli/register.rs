//! `mesh register`: one registration, in or out (PTP sections 3.1 and 10.2).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crds::DATA_PORT;
use http::{Request, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Limited};
use mesh_core::Code;
use serde_json::{Value, json};

use super::{block_on, client, print_json};
use crate::{
    args::{Form, Proto, Register},
    exit::Exit,
};

/// A registration is on disk before it is answered; a disk that needs longer is broken.
const LIMIT: Duration = Duration::from_secs(30);
/// A code and a sentence.
const LONGEST_ANSWER: usize = 64 << 10;

/// `mesh register`.
pub(crate) fn register(args: &Register) -> Result<(), Exit> {
    block_on(async {
        let instance = args.instance.as_deref().unwrap_or(&args.at);
        let answer = if args.remove {
            let removed = json!({"instance_id": instance, "name": args.name, "kind": "complex"});
            call(args, "/mesh/invoke", "mesh.registry.remove", &json!({"registration": removed})).await?
        } else {
            let document = document(args, instance, SystemTime::now());
            call(args, "/v1/interconn/registry/register", "", &document).await?
        };
        let text = answer["message"].as_str().unwrap_or_default();
        match answer["code"].as_str().and_then(Code::parse) {
            None => Err(Exit::Unreachable(format!("{} is no node: {answer}", args.address))),
            Some(code) if !code.is_success() => Err(Exit::refused(code, text)),
            Some(_) if args.output.form == Form::Json => print_json(&answer),
            Some(_) => {
                println!("{}", said(args, instance));
                Ok(())
            }
        }
    })
}

fn said(args: &Register, instance: &str) -> String {
    if args.remove {
        return format!("{instance} of {} is registered no longer", args.name);
    }
    format!("{instance} of {} takes calls to {}", args.name, args.urns.join(", "))
}

fn document(args: &Register, instance: &str, now: SystemTime) -> Value {
    // Short durations and absolute times share the member; an absolute one is never taken for the other.
    let ends = now.checked_add(args.span).and_then(|ends| ends.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    let proto = match args.proto {
        Proto::Http => "http",
        Proto::Grpc => "grpc",
    };
    let service = |urn: &String| {
        json!({"urn": urn, "kind": "Restful", "proto": proto, "codec": "json", "timeout": millis(args.timeout),
            "attrs": {"weight": args.weight.to_string()}})
    };
    json!({
        "instance_id": instance, "name": args.name, "kind": "complex", "address": args.at,
        "timestamp": millis(ends), "content": {"services": args.urns.iter().map(service).collect::<Vec<_>>()},
    })
}

async fn call(args: &Register, path: &str, mpi: &str, body: &Value) -> Result<Value, Exit> {
    let mut request = Request::post(path).header(CONTENT_TYPE, "application/json");
    if !mpi.is_empty() {
        request = request.header("mesh-urn", mpi);
    }
    let request = request.body(body.to_string().into()).map_err(|e| Exit::local("the call cannot be sent", e))?;
    let answer = client::send(&args.address, DATA_PORT, request, LIMIT).await?;
    let status = answer.status();
    let lost = |e| Exit::Unreachable(format!("{}: {e}", args.address));
    let bytes = Limited::new(answer.into_body(), LONGEST_ANSWER).collect().await.map_err(lost)?.to_bytes();
    if status != StatusCode::OK {
        return Err(Exit::Refused(format!("HTTP {status}: {}", String::from_utf8_lossy(&bytes))));
    }
    serde_json::from_slice(&bytes).map_err(|e| Exit::Unreachable(format!("{}: {e}", args.address)))
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Command};

    #[test]
    fn the_arguments_become_the_manuals_document() {
        let line = "mesh register tensorserving /a/b /c --at 10.0.0.5:8000 --proto grpc --for 2h --weight 0.5";
        let Command::Register(args) = Args::parse_from(line.split(' ')).command else { panic!("another command") };
        let service = |urn: &str| {
            json!({"urn": urn, "kind": "Restful", "proto": "grpc", "codec": "json", "timeout": 10_000,
                "attrs": {"weight": "0.5"}})
        };
        let expected = json!({
            "instance_id": "10.0.0.5:8000", "name": "tensorserving", "kind": "complex", "address": "10.0.0.5:8000",
            "timestamp": 7_200_000, "content": {"services": [service("/a/b"), service("/c")]},
        });
        assert_eq!(document(&args, "10.0.0.5:8000", UNIX_EPOCH), expected);
    }

    #[test]
    fn what_is_registered_names_a_path() {
        let line = |text: &str| Args::try_parse_from(text.split(' ')).is_ok();
        assert!(!line("mesh register serving --at h:1") && line("mesh register serving --at h:1 --remove"));
        assert!(!line("mesh register serving /a"));
    }
}

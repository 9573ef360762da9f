//! `mesh register`: one registration, in or out (PTP sections 3.1 and 10.2).

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crds::DATA_PORT;
use http::{Request, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Limited};
use mesh_core::Code;
use serde_json::{Value, json};

use super::{block_on, client, print_json};
use crate::{
    args::{Attr, Form, Proto, Register},
    exit::Exit,
};

/// A registration is on disk before it is answered; a disk that needs longer is broken.
const LIMIT: Duration = Duration::from_secs(30);
/// A code and a sentence.
const LONGEST_ANSWER: usize = 64 << 10;

/// `mesh register`.
pub(crate) fn register(args: &Register) -> Result<(), Exit> {
    let given = args.file.as_deref().map(read).transpose()?;
    let own = document(args, SystemTime::now());
    block_on(async {
        let document = given.as_ref().unwrap_or(&own);
        let answer = match (args.remove, document.as_array()) {
            (true, None) => {
                call(args, "/mesh/invoke", "mesh.registry.remove", &json!({ "registration": document })).await?
            }
            (false, None) => call(args, "/v1/interconn/registry/register", "", document).await?,
            (false, Some(_)) => {
                call(args, "/mesh/invoke", "mesh.registry.puts", &json!({ "registrations": document })).await?
            }
            (true, Some(_)) => return Err(Exit::Refused("--remove takes out one registration at a time".to_owned())),
        };
        let text = answer["message"].as_str().unwrap_or_default();
        match answer["code"].as_str().and_then(Code::parse) {
            None => Err(Exit::Unreachable(format!("{} is no node: {answer}", args.address))),
            Some(code) if !code.is_success() => Err(Exit::refused(code, text)),
            Some(_) if args.output.form == Form::Json => print_json(&answer),
            Some(_) => {
                let one = std::slice::from_ref(document);
                let all = document.as_array().map_or(one, Vec::as_slice);
                all.iter().for_each(|one| println!("{}", said(one, args.remove)));
                Ok(())
            }
        }
    })
}

fn read(file: &Path) -> Result<Value, Exit> {
    let lost = |e| Exit::local(file.display(), e);
    let text = match file.to_str() {
        Some("-") => std::io::read_to_string(std::io::stdin()).map_err(lost)?,
        _ => fs::read_to_string(file).map_err(lost)?,
    };
    serde_json::from_str(&text).map_err(|e| Exit::Refused(format!("{} is no JSON: {e}", file.display())))
}

fn said(document: &Value, removed: bool) -> String {
    let text = |member: &str| document[member].as_str().unwrap_or_default().escape_debug().to_string();
    let (instance, name) = (text("instance_id"), text("name"));
    if removed {
        return format!("{instance} of {name} is registered no longer");
    }
    let services = document["content"]["services"].as_array().into_iter().flatten();
    let urns: Vec<String> =
        services.filter_map(|service| Some(service["urn"].as_str()?.escape_debug().to_string())).collect();
    match urns.as_slice() {
        [] => format!("{instance} of {name} is registered"),
        urns => format!("{instance} of {name} takes calls to {}", urns.join(", ")),
    }
}

/// The flag of a service whose calls all who offer it share (PTP section 10.1).
const COMMUNAL: u8 = 4;

fn document(args: &Register, now: SystemTime) -> Value {
    // Short durations and absolute times share the member; an absolute one is never taken for the other.
    let ends = now.checked_add(args.span).and_then(|ends| ends.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    let proto = match args.proto {
        Proto::Http => "http",
        Proto::Grpc => "grpc",
    };
    let attrs: BTreeMap<&str, String> = [("weight", args.weight.to_string())]
        .into_iter()
        .chain(args.attrs.iter().map(|Attr(name, value)| (name.as_str(), value.clone())))
        .collect();
    let flags = if args.communal { COMMUNAL } else { 0 };
    let service = |urn: &String| {
        json!({"urn": urn, "kind": "Restful", "proto": proto, "codec": "json", "flags": flags,
            "timeout": millis(args.timeout), "retries": args.retries, "attrs": attrs})
    };
    json!({
        "instance_id": args.instance.as_ref().or(args.at.as_ref()), "name": args.name, "kind": args.kind.word(),
        "address": args.at, "timestamp": millis(ends),
        "content": {"services": args.urns.iter().map(service).collect::<Vec<_>>()},
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

    fn args(line: &str) -> Register {
        let Command::Register(args) = Args::parse_from(line.split(' ')).command else { panic!("another command") };
        *args
    }

    #[test]
    fn the_arguments_become_the_manuals_document() {
        let line = "mesh register tensorserving /a/b /c --at 10.0.0.5:8000 --proto grpc --for 2h --weight 0.5";
        let service = |urn: &str| {
            json!({"urn": urn, "kind": "Restful", "proto": "grpc", "codec": "json", "flags": 0, "timeout": 10_000,
                "retries": 0, "attrs": {"weight": "0.5"}})
        };
        let expected = json!({
            "instance_id": "10.0.0.5:8000", "name": "tensorserving", "kind": "complex", "address": "10.0.0.5:8000",
            "timestamp": 7_200_000, "content": {"services": [service("/a/b"), service("/c")]},
        });
        assert_eq!(document(&args(line), UNIX_EPOCH), expected);
    }

    #[test]
    fn kinds_flags_retries_and_attributes_are_said_too() {
        let line = "mesh register psi acme.score --at h:1 --kind metadata --communal --retries 3 --attr mesh-subset=blue --attr x=a=b";
        let said = document(&args(line), UNIX_EPOCH);
        let service = &said["content"]["services"][0];
        assert_eq!((&said["kind"], &service["flags"], &service["retries"]), (&json!("metadata"), &json!(4), &json!(3)));
        assert_eq!(service["attrs"], json!({"weight": "1", "mesh-subset": "blue", "x": "a=b"}));
        let way_out = document(&args("mesh register out --at proxy:3128 --kind proxy"), UNIX_EPOCH);
        assert_eq!((&way_out["kind"], &way_out["content"]), (&json!("proxy"), &json!({"services": []})));
    }

    #[test]
    fn what_is_registered_names_a_path() {
        let line = |text: &str| Args::try_parse_from(text.split(' ')).is_ok();
        assert!(!line("mesh register serving --at h:1") && line("mesh register serving --at h:1 --remove"));
        assert!(!line("mesh register serving /a") && !line("mesh register") && line("mesh register --file x.json"));
        assert!(line("mesh register out --at h:1 --kind server") && !line("mesh register --at h:1 --file x.json"));
        assert!(!line("mesh register serving /a --at h:1 --attr nothing"));
    }
}

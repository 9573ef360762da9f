//! Paths and methods (PTP sections 3.1, 3.2, 7, 8.5 and 13.2), and the documents of the control calls (3.3, 3.4, 10 and 12.1).

use http::Method;
use serde_json::{Value, json};

use super::{
    rows::{BAD, NOBODYS, Row, Then, UNBINDABLE, ok, raw},
    wire::Ask,
};
use crate::harness::A;

/// Named in published comments, and served by nobody.
const UNSERVED: [&str; 12] = [
    "/v1/interconn/node/query",
    "/v1/interconn/node/update",
    "/v1/interconn/node/health",
    "/v1/interconn/node/contract/query",
    "/v1/interconn/node/contract/apply",
    "/v1/interconn/node/contract/confirm",
    "/v1/interconn/node/contract/terminate",
    "/v1/platform/node/query",
    "/v1/platform/node/update",
    "/v1/interconn/registry/list",
    "/v1/interconn/registry/browse",
    "/v1/interconn/registry/unregister",
];

const REFRESH: &str = "/v1/interconn/node/refresh";
const REGISTER: &str = "/v1/interconn/registry/register";

pub(super) fn paths() -> Vec<Row> {
    let mpi = |name: &str, body: &'static str| Ask::post("/mesh/invoke", body).header("mesh-urn", name);
    let mut rows: Vec<Row> = vec![
        ("3.1 a path of nobody", vec![Ask::get("/nothing/here")], NOBODYS),
        ("3.1 mpx", vec![Ask::post("/mpx", "{}")], NOBODYS),
        ("3.1 chan/browse", vec![raw("browse", "{}")], NOBODYS),
        ("7 generic, and no gRPC", vec![Ask::post("/mesh-rpc/v1", "{}")], UNBINDABLE),
        ("7 no JSON", vec![mpi("mesh.net.environ", "x")], UNBINDABLE),
        ("7 a list by name", vec![Ask::post("/mesh/invoke", r#"["mesh.net.environ",{}]"#)], UNBINDABLE),
        ("7 no such MPI", vec![mpi("mesh.no.such", "")], Then::Code("E0000000404")),
        ("7 no MPI at all", vec![Ask::post("/mesh/invoke", "{}")], Then::Code("E0000000404")),
        ("7 a blank body has no arguments", vec![mpi("mesh.chan.peek", "")], ok()),
        ("3.3 an argument that nobody knows", vec![mpi("mesh.chan.peek", r#"{"topic":"t1","x":[{}]}"#)], ok()),
        ("7 by GET", vec![mpi("mesh.chan.peek", "").method(Method::GET)], ok()),
    ];
    rows.extend(UNSERVED.map(|path| ("3.1 a path of comments", vec![Ask::post(path, "{}")], NOBODYS)));
    for method in [Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS, Method::TRACE] {
        for path in ["/v1/interconn/chan/push", REFRESH, REGISTER, "/mesh/invoke", "/stats"] {
            let then = Then::Status(405, "text/plain; charset=utf-8");
            rows.push(("3.2 another method", vec![Ask::get(path).method(method.clone())], then));
        }
    }
    for path in [
        "/v1/interconn/chan/push",
        "/v1/interconn/chan/pop",
        "/v1/interconn/chan/peek",
        "/v1/interconn/chan/release",
        "/v1/interconn/chan/invoke",
        "/v1/interconn/chan/transport",
        "/v1/interconn/net/refresh",
        "/v1/interconn/net/weave",
        "/v1/interconn/net/ack",
        REFRESH,
        REGISTER,
        "/mesh/invoke",
    ] {
        for method in [Method::PUT, Method::HEAD] {
            let then = Then::Status(405, "text/plain; charset=utf-8");
            rows.push(("3.2 another method of each", vec![Ask::get(path).method(method)], then));
        }
    }
    rows
}

/// A registration that is taken, but for these members.
fn registration(members: &Value) -> Value {
    let mut document = json!({
        "instance_id": "127.0.0.1:1", "name": "contract", "kind": "complex", "address": "127.0.0.1:1",
        "timestamp": "300000", "attachments": {},
        "content": {"services": [{"urn": "/contract/x", "kind": "Restful", "proto": "http", "asyncable": false}]},
    });
    document.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    document
}

fn register(members: &Value) -> Ask {
    Ask::post(REGISTER, registration(members).to_string())
}

pub(super) fn documents() -> Vec<Row> {
    let refresh = |name: &str| Ask::post(REFRESH, json!({"node_id": A, "inst_id": "JG1", name: "bank"}).to_string());
    let with_comma = registration(&json!({})).to_string();
    let with_comma = format!("{},\n}}", with_comma.strip_suffix('}').unwrap());
    let mut rows: Vec<Row> = vec![
        ("3.4 node/refresh as seed 000 has it, answered without data", vec![refresh("name")], ok()),
        ("12.1 as seed 001 has it", vec![refresh("inst_name")], ok()),
        ("3.2 node/refresh by GET", vec![Ask::get(REFRESH)], BAD),
        ("3.2 net/refresh by GET", vec![Ask::get("/v1/interconn/net/refresh")], BAD),
        ("3.2 net/weave by GET", vec![Ask::get("/v1/interconn/net/weave")], BAD),
        ("3.2 net/ack by GET", vec![Ask::get("/v1/interconn/net/ack")], BAD),
        ("3.2 register by GET", vec![Ask::get(REGISTER)], BAD),
        ("3.1 register", vec![register(&json!({}))], ok()),
        ("3.3 an unknown member", vec![register(&json!({"x": [{}]}))], ok()),
        ("3.3 a trailing comma", vec![Ask::post(REGISTER, with_comma)], ok()),
        ("10.3 a number as its time", vec![register(&json!({"timestamp": 300_000}))], ok()),
        ("10.3 no address", vec![register(&json!({"address": "IP:PORT"}))], Then::Code("E0000000619")),
        (
            "3.3 a list of the members",
            vec![Ask::post(REGISTER, r#"["127.0.0.1:1","n","complex","127.0.0.1:1",{"services":[]}]"#)],
            BAD,
        ),
    ];
    for member in ["instance_id", "name", "kind", "address", "content"] {
        rows.push(("3.1 a registration lacks a member", vec![register(&json!({ member: null }))], BAD));
    }
    for urn in [
        "/v1/interconn/chan/push",
        "/v1/interconn",
        "/org.ppc.ptp.PrivateTransferTransport/push",
        "/mesh-rpc/v1",
        "/mesh/invoke",
        "/datanet/v1",
        "/grpc.health.v1.Health/Check",
        "/grpc.reflection.v1.ServerReflection",
        "/stats",
        "/",
    ] {
        let service = json!({"content": {"services": [{"urn": urn, "kind": "Restful", "proto": "http"}]}});
        rows.push(("8.5 a registration over a path of ours", vec![register(&service)], BAD));
    }
    rows
}

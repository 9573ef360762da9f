//! The names of headers, four generations of them, and what stands for a missing one (PTP sections 4.1 to 4.3).

use serde_json::json;

use super::rows::{BAD, KUSCIA_HELLO, Row, Then, hello, json, kuscia_pop, ok, pop, push, raw};
use crate::harness::A;

const NOT_WOVEN: Then = Then::Code("E0000000618");

pub(super) fn headers() -> Vec<Row> {
    let session = |name: &str| push().header(name, "generations");
    let read = || pop().header("x-ptp-session-id", "generations");
    let by = |name: &str, source: &str| push().header(name, source);
    let patient = || json("pop", &json!({"topic": "t1", "timeout": 3_000_000}));
    let to = |name: &str, target: &str| push().header(name, target);
    vec![
        ("4.1 x-ptp-session-id", vec![session("X-PTP-Session-ID"), read()], hello()),
        ("4.1 mesh-session-id", vec![session("mesh-session-id"), read()], hello()),
        ("4.1 underscores", vec![session("x_ptp_session_id"), read()], hello()),
        ("4.1 both families", vec![session("x-ptp-session-id").header("mesh-session-id", "other"), read()], hello()),
        (
            "4.1 both families, the other way round",
            vec![push().header("mesh-session-id", "other").header("x-ptp-session-id", "generations"), read()],
            hello(),
        ),
        (
            "4.1 an unknown header",
            vec![session("x-ptp-session-id").header("x-ptp-unheard-of", "\u{7f51}"), read()],
            hello(),
        ),
        ("4.1 x-ptp-source-node-id", vec![by("x-ptp-source-node-id", "alice"), kuscia_pop("alice")], KUSCIA_HELLO),
        ("4.1 x-ptp-from-node-id", vec![by("x-ptp-from-node-id", "alice"), kuscia_pop("alice")], KUSCIA_HELLO),
        ("4.1 mesh-from-node-id", vec![by("mesh-from-node-id", "alice"), kuscia_pop("alice")], KUSCIA_HELLO),
        ("4.1 mesh-source-node-id", vec![by("MESH_SOURCE_NODE_ID", "alice"), kuscia_pop("alice")], KUSCIA_HELLO),
        ("4.1 mesh-target-node-id", vec![to("mesh-target-node-id", "LX9999999999999")], NOT_WOVEN),
        ("4.1 x-ptp-target-inst-id", vec![to("x-ptp-target-inst-id", "JG9999999999999999")], NOT_WOVEN),
        ("4.1 mesh-target-inst-id", vec![to("mesh-target-inst-id", "JG9999999999999999")], NOT_WOVEN),
        (
            "4.1 mesh-tech-provider-code",
            vec![pop().header("mesh-tech-provider-code", "FATE")],
            Then::Code("E0000000601"),
        ),
        (
            "4.1 mesh-uri",
            vec![
                push(),
                raw("invoke", r#"{"payload":"eyJ0b3BpYyI6InQxIn0="}"#).header("mesh-uri", "/v1/interconn/chan/pop"),
            ],
            hello(),
        ),
        ("4.1 mesh-timeout", vec![patient().header("mesh-timeout", "50")], ok()),
        ("4.1 a mesh-timeout that is none", vec![pop().header("mesh-timeout", "soon")], BAD),
        (
            "4.1 a mesh-timeout that is none, and does not count",
            vec![patient().header("mesh-timeout", "soon").header("x-ptp-timeout", "50")],
            ok(),
        ),
        (
            "4.1 the same, the other way round",
            vec![patient().header("x-ptp-timeout", "50").header("mesh-timeout", "soon")],
            ok(),
        ),
        ("4.3 no source is this node", vec![push(), kuscia_pop(A)], KUSCIA_HELLO),
        (
            "4.3 the SDKs' placeholder too",
            vec![by("x-ptp-source-node-id", "LX0000000000000"), kuscia_pop(A)],
            KUSCIA_HELLO,
        ),
        ("4.3 nobody looks at the token", vec![push().header("x-ptp-token", "no token"), pop()], hello()),
    ]
}

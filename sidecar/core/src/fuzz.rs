//! Fuzz targets of headers, codes and urns. How they run, and where their inputs lie, says `sidecar/fuzz`.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{CallContext, Code, NodeId, Refusal, mpi::name_of_urn};

fn headers(bytes: &[u8]) -> Vec<(HeaderName, HeaderValue)> {
    let lines = bytes.split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        Some((HeaderName::from_bytes(&line[..colon]).ok()?, value))
    });
    lines.collect()
}

fn read(lines: &[(HeaderName, HeaderValue)]) -> Option<CallContext> {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(name.clone(), value.clone());
    }
    CallContext::from_headers(&map).ok()
}

/// What headers say is bounded, stays the same under the names of this generation, and does not hang on their order.
#[test]
fn call_context() {
    fuzz::run("call-context", |bytes| {
        let lines = headers(bytes);
        let Some(context) = read(&lines) else { return };
        assert_eq!(read(&published(&context)).as_ref(), Some(&context), "under the published names");
        let names: std::collections::BTreeSet<_> =
            lines.iter().map(|(name, _)| name.as_str().replace('_', "-")).collect();
        let aliases = names.iter().any(|name| name.contains("-from-")) || names.len() < lines.len();
        if !aliases {
            let backwards: Vec<_> = lines.iter().rev().cloned().collect();
            assert_eq!(read(&backwards).as_ref(), Some(&context), "in another order");
        }
        for id in [&context.source_node, &context.target_node].into_iter().flatten() {
            assert!(id.as_str().len() <= 1024 && NodeId::given(id.as_str()).as_ref() == Some(id));
        }
    });
}

/// The context as headers of the newest generation.
fn published(context: &CallContext) -> Vec<(HeaderName, HeaderValue)> {
    let text = |value: &Option<String>| value.clone();
    let CallContext { source_node, source_inst, target_node, target_inst, session, topic, timeout, .. } = context;
    let all = [
        ("x-ptp-version", text(&context.version)),
        ("x-ptp-tech-provider-code", text(&context.provider)),
        ("x-ptp-trace-id", text(&context.trace_id)),
        ("x-ptp-token", text(&context.token)),
        ("x-ptp-source-node-id", source_node.as_ref().map(ToString::to_string)),
        ("x-ptp-source-inst-id", source_inst.as_ref().map(ToString::to_string)),
        ("x-ptp-target-node-id", target_node.as_ref().map(ToString::to_string)),
        ("x-ptp-target-inst-id", target_inst.as_ref().map(ToString::to_string)),
        ("x-ptp-session-id", context.has_session.then(|| session.as_str().to_owned())),
        ("x-ptp-topic", topic.as_ref().map(|topic| topic.as_str().to_owned())),
        ("x-ptp-timeout", timeout.map(|time| time.as_millis().to_string())),
        ("x-ptp-uri", text(&context.uri)),
        ("x-ptp-urn", text(&context.urn)),
        ("x-ptp-subset", text(&context.subset)),
        ("x-ptp-message-id", text(&context.message_id)),
    ];
    let of = |name: &'static str, value: &str| {
        (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
    };
    let slots = all.iter().filter_map(|(name, value)| Some(of(name, value.as_deref()?)));
    slots.chain(context.mdc.iter().map(|id| of("mesh-mdc", id))).collect()
}

/// A code is read as it is written; a text that goes out breaks nobody's JSON.
#[test]
fn code() {
    fuzz::run("code", |bytes| {
        let text = String::from_utf8_lossy(bytes);
        if let Some(code) = Code::parse(&text) {
            assert_eq!(Code::parse(&code.to_string()), Some(code));
            assert!(code.to_string().len() == 11 || text.trim() == "0", "{text}");
        }
        let clean = Refusal::of_caller(Code::BAD_REQUEST, &text).message;
        assert!(!clean.contains(['"', '\\']) && !clean.contains(char::is_control), "{clean}");
        let pasted = format!("{{\"message\":\"{clean}\"}}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&pasted).unwrap()["message"], clean);
    });
}

/// A urn's name is made of its own labels, however it is cut.
#[test]
fn urn() {
    fuzz::run("urn", |bytes| {
        let text = String::from_utf8_lossy(bytes);
        assert!(name_of_urn(&text).len() <= text.len(), "{text}");
    });
}

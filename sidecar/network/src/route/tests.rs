use super::*;
use crate::testing::{A, B, C, in_seconds, institution};

fn snapshot() -> Snapshot {
    let (a, b, c) = (institution(A), institution(B), institution(C));
    let expired = crds::snapshot::RouteConfig { expires_at: Some(in_seconds(-1)), ..c.route() };
    let disabled = crds::snapshot::RouteConfig { disabled: true, ..institution("YL070-LX0000").route() };
    a.snapshot(vec![b.route(), expired, disabled])
}

fn asked(snapshot: &Snapshot, node: Option<&str>, inst: Option<&str>, urn: Option<&str>) -> String {
    let context = CallContext {
        target_node: node.and_then(NodeId::given),
        target_inst: inst.and_then(InstId::given),
        urn: urn.map(str::to_owned),
        ..CallContext::default()
    };
    match target(snapshot, &context) {
        Ok(Target::Local) => "local".to_owned(),
        Ok(Target::Remote(route)) => route.node_id.to_string(),
        Err(e) => mesh_core::ProtocolError::code(&e).number().to_string(),
    }
}

#[test]
fn a_target_is_found_as_section_8_3_says() {
    let snapshot = snapshot();
    let inst_a = snapshot.node.inst_id.to_string();
    let inst_b = snapshot.routes()[0].inst_id.as_ref().unwrap().to_string();
    let urn = |label: &str| format!("push.chan.mesh.0001000000000000000000000000000000000.{label}.trustbe.cn");
    let (to_a, to_b) = (urn("lx0000010000280"), urn("lx0000010000270"));
    let (to_nobody, to_inst_b) = (urn("lx0000010009990"), urn(&inst_b.to_ascii_lowercase()));
    let to_placeholder = urn("lx0000000000000");
    type Row<'r> = (Option<&'r str>, Option<&'r str>, Option<&'r str>, &'r str);
    let table: &[Row<'_>] = &[
        (None, None, None, "local"),
        (Some(A), None, None, "local"),
        (Some("lx0000010000280"), None, None, "local"),
        (Some(B), None, None, B),
        (Some("lx0000010000270"), None, None, B),
        (Some("LX9999999999999"), None, None, "618"),
        // Whole ids count, and not the sequence of six digits that the reference compares (PTP section 8.2).
        (Some("LX9999910000280"), None, None, "618"),
        (Some("LX9999910000270"), None, None, "618"),
        (None, Some("JG9900002800000000"), None, "618"),
        // A node id decides alone.
        (Some("LX9999999999999"), Some(&inst_b), None, "618"),
        (Some(A), Some(&inst_b), None, "local"),
        (Some(B), Some(&inst_a), None, B),
        // A placeholder is none.
        (Some("LX0000000000000"), Some(&inst_b), None, B),
        (Some("LX0000000000000"), Some("JG0000000000000000"), None, "local"),
        (None, Some(&inst_a), None, "local"),
        (None, Some(&inst_b), None, B),
        (None, Some("JG9999999999999999"), Some(&to_b), "618"),
        (None, None, Some(&to_a), "local"),
        (None, None, Some(&to_b), B),
        (None, None, Some(&to_inst_b), B),
        (None, None, Some(&to_nobody), "618"),
        (None, None, Some(&to_placeholder), "local"),
        (None, None, Some("mesh.net.environ"), "local"),
        (Some(A), None, Some(&to_b), "local"),
        // Found, and refused.
        (Some(C), None, None, "605"),
        (Some("YL070-LX0000"), None, None, "606"),
    ];
    for (node, inst, urn, expected) in table {
        assert_eq!(asked(&snapshot, *node, *inst, *urn), *expected, "{node:?} {inst:?} {urn:?}");
    }
}

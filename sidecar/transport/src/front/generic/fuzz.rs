//! The fuzz target of generic calls. How it runs, and where its inputs lie, says `sidecar/fuzz`.

use bytes::Bytes;
use mesh_core::{CallContext, SessionId};
use serde_json::{Value, json};

use super::asked::Asked;
use crate::front::op::Op;

/// A call means the same whether a urn names it or its body does; who calls, and whom, is not for a body to say.
#[test]
fn generic_call() {
    fuzz::run("generic-call", |bytes| {
        let body = Bytes::copy_from_slice(bytes);
        let context = || CallContext { session: SessionId::new("said"), ..CallContext::default() };
        if let Ok(asked) = Asked::by_body(&body) {
            assert!(asked.arguments.starts_with(b"{") && Asked::by_urn(&asked.arguments).is_ok());
        }
        let Ok(asked) = Asked::by_urn(&body) else { return };
        let arguments = serde_json::from_slice::<Value>(&asked.arguments);
        let mut known = context();
        let members = asked.members(&mut known);
        assert_eq!(
            arguments.ok().is_some_and(|value| value.is_object()),
            members.is_ok() || is_of_attachments(&members)
        );
        for op in [Op::Push, Op::Pop, Op::Peek, Op::Release] {
            let mut said = context();
            let Ok(call) = asked.channel(op, &mut said) else { continue };
            assert!(call.topic.as_str().len() <= 1024 && said.session.as_str().len() <= 1024);
            let CallContext { source_node, target_node, source_inst, target_inst, urn, topic, timeout, .. } = &said;
            assert_eq!((source_node, target_node, source_inst, target_inst), (&None, &None, &None, &None));
            assert_eq!((urn, topic, timeout), (&None, &None, &None), "they are the headers'");
            let Ok(content) = serde_json::from_slice::<Value>(bytes) else { continue };
            let named = json!({"method": "m", "content": content}).to_string();
            let again = Asked::by_body(&named.into()).unwrap().channel(op, &mut context()).unwrap();
            assert_eq!(again, call, "{op:?} by its body");
        }
    });
}

/// The arguments are an object, but what is attached to them cannot be headers.
fn is_of_attachments(members: &Result<serde_json::Map<String, Value>, String>) -> bool {
    members.as_ref().is_err_and(|text| text.starts_with("attachments"))
}

//! The channel MPIs of the generic service at a partner of our kind: numbered, repeated and leased like any push and pop (PTP
//! section 8.4; design section 6, "Across nodes").

use mesh_core::{Code, Retry};
use serde_json::{Value, json};

use crate::node::{A, Ask, B, Node, refusal};

const OK: &str = "E0000000000";

fn pair() -> (Node, Node) {
    let (a, b) = (Node::new(A, &[B], &json!({})), Node::new(B, &[A], &json!({})));
    a.connect(&b);
    b.connect(&a);
    (a, b)
}

/// A call by name to B.
fn call(mpi: &str, arguments: &Value) -> Ask {
    let ask = Ask::json("", arguments).header("mesh-urn", mpi).to(B);
    Ask { uri: "/mesh/invoke".into(), ..ask }
}

fn push() -> Ask {
    call("mesh.chan.push", &json!({"topic": "t", "payload": "aGVsbG8="}))
}

#[tokio::test]
async fn a_push_by_name_carries_an_id_and_its_repeat_enters_once() {
    let (a, b) = pair();
    // The first answer is lost on its way: the push is repeated, and B knows it.
    a.wire.losses.lock().push(refusal(Code::UNREACHABLE, Retry::Unknown));
    assert_eq!(a.ask(push()).await.code(), OK);
    let sent = a.wire.sent.lock().clone();
    let ids: Vec<_> = sent.iter().map(|(path, headers, _)| (path.as_str(), headers.get("x-ptp-message-id"))).collect();
    assert_eq!(ids, [("/v1/interconn/chan/invoke", ids[0].1); 2]);
    assert!(ids[0].1.is_some());
    assert_eq!(b.channels.levels().messages, 1);
}

#[tokio::test]
async fn a_pop_by_name_holds_a_lease_until_its_caller_has_the_message() {
    let (a, b) = pair();
    assert_eq!(a.ask(push()).await.code(), OK);
    let pop = || call("mesh.chan.pop", &json!({"topic": "t", "timeout": 20_000}));
    let answer = a.answer(mesh_core::Caller::Local, pop()).await;
    assert_eq!(b.channels.levels().messages, 1, "it is leased, and still there");
    // The caller goes away with the answer unread: it comes again, marked.
    drop(answer);
    let again = a.ask(pop()).await;
    assert_eq!((again.code().as_str(), again.json()["content"].as_str()), (OK, Some("aGVsbG8=")));
    assert_eq!(again.headers["x-ptp-redelivered"], "true");
    b.until_messages(0).await;
}

/// PTP section 8.4: the hop is the published dialect, so that only a caller of FATE's hears of an empty pop as it does.
#[tokio::test(start_paused = true)]
async fn an_empty_pop_at_a_partner_is_named_by_the_callers_own_node() {
    let (a, _b) = pair();
    let arguments = json!({"topic": "t", "timeout": 500});
    let by_fate = |ask: Ask| ask.header("x-ptp-tech-provider-code", "FATE");
    let by_name = a.ask(by_fate(call("mesh.chan.pop", &arguments))).await.json();
    assert_eq!(by_name, json!({"code": OK, "message": "请求成功"}));
    let osx = a.ask(by_fate(Ask::json("pop", &arguments).to(B))).await.json();
    assert_eq!(osx, json!({"code": "E0000000601", "message": "请求超时", "msg": "请求超时"}));
}

#[tokio::test]
async fn a_call_by_name_that_is_no_channels_goes_on_as_it_is() {
    let (a, b) = pair();
    let asked = call("mesh.net.environ", &json!({}));
    a.ask(asked).await;
    let sent = a.wire.sent.lock().clone();
    assert_eq!(sent.iter().map(|(path, ..)| path.as_str()).collect::<Vec<_>>(), ["/mesh/invoke"]);
    assert_eq!(b.channels.levels().messages, 0);
}

//! Targets in odd forms, and paths that only look like ours: each is what it is byte for byte, or nobody's.

use crate::harness::{Node, Raw};

async fn ask(node: &Node, line: &str) -> (u16, Option<String>) {
    let mut raw = Raw::to(node).await;
    raw.write(format!("{line} HTTP/1.1\r\nhost: localhost\r\nx-ptp-session-id: s\r\ncontent-length: 0\r\n\r\n")).await;
    raw.answer().await.map_or((0, None), |heard| (heard.status, heard.code()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_only_looks_like_a_channels_is_nobodys() {
    let node = Node::start().await;
    let call = "?topic=t&payload=eA==";
    for path in [
        "/v1/interconn/chan/%70ush",
        "/v1/interconn/chan/push%20",
        "/v1/interconn/chan/push%00",
        "/v1/interconn/chan/push/",
        "/v1/interconn/chan//push",
        "/v1/interconn//chan/push",
        "//v1/interconn/chan/push",
        "/v1/interconn/chan/./push",
        "/v1/interconn/chan/../chan/push",
        "/v1/interconn/chan/%2e%2e/chan/push",
        "/v1%2finterconn/chan/push",
        "/V1/interconn/chan/push",
        "/v1/interconn/chan/Push",
        "/v1/interconn/chan/push;x=1",
        "/v1/interconn/chan/push%3f",
        "/v1/interconn/chan",
        "/v1/interconn/chan/",
        "/x/../v1/interconn/chan/push",
        "/v1/interconn/chan/pushpush",
        "/./v1/interconn/chan/push",
        "/mesh/invoke/",
        "/org.ppc.ptp",
        "/v1/interconn/registry/register/..",
        "/v1/interconn/node/refresh%2f",
    ] {
        let expected = (404, Some("E0000000404".to_owned()));
        assert_eq!(ask(&node, &format!("POST {path}{call}")).await, expected, "{path}");
    }
    assert_eq!(node.pop_now("t").await, None, "nothing was pushed");
    assert_eq!(ask(&node, &format!("POST /v1/interconn/chan/push{call}")).await, (200, Some("E0000000000".to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_in_other_forms_are_served_or_refused_and_never_hurt() {
    let node = Node::start().await;
    let long = "a".repeat(60_000);
    let call = "/v1/interconn/chan/push?topic=t&payload=eA==";
    let ok = Some("E0000000000");
    for (line, status, code) in [
        (format!("POST http://localhost{call}"), 200, ok),
        (format!("POST http://127.0.0.1:7304{call}"), 200, ok),
        // The authority of an absolute target counts before the header (RFC 9112 section 3.2.2): it is no application's.
        (format!("POST http://evil.example{call}"), 403, None),
        (format!("POST http://user@evil.example{call}"), 403, None),
        ("GET localhost:80".to_owned(), 404, Some("E0000000404")),
        ("GET *".to_owned(), 404, Some("E0000000404")),
        ("OPTIONS *".to_owned(), 404, Some("E0000000404")),
        ("CONNECT evil.example:443".to_owned(), 403, None),
        ("CONNECT /stats".to_owned(), 405, None),
        ("TRACE /v1/interconn/chan/push".to_owned(), 405, None),
        ("DELETE /v1/interconn/chan/release".to_owned(), 405, None),
        ("M-SEARCH /v1/interconn/chan/pop".to_owned(), 405, None),
        (format!("GET /{long}"), 404, Some("E0000000404")),
        (format!("GET /{long}{long}"), 431, None),
        (format!("GET /v1/interconn/chan/peek?topic={}", "%41".repeat(1025)), 200, Some("E0000000400")),
        (format!("GET /v1/interconn/chan/peek?{}", "topic=a&".repeat(5000)), 200, ok),
        ("GET /v1/interconn/chan/peek?topic=%ff%00%zz&timeout=".to_owned(), 200, ok),
    ] {
        let name: String = line.chars().take(80).collect();
        let (got, said) = ask(&node, &line).await;
        assert_eq!((got, said.as_deref()), (status, code), "{name}");
    }
}

//! A page in a browser on the same machine is no application (design section 4): whatever it can make its browser send is
//! refused, on every room of the node, and does nothing.

use crate::harness::{Node, Raw};

/// What pages of other sites can send, and what their browsers add.
const PAGES: [(&str, &str); 9] = [
    (
        "a form",
        "host: 127.0.0.1\r\norigin: https://evil.example\r\ncontent-type: application/x-www-form-urlencoded\r\n",
    ),
    (
        "a fetch without cors",
        "host: 127.0.0.1\r\norigin: https://evil.example\r\nsec-fetch-mode: no-cors\r\ncontent-type: text/plain\r\n",
    ),
    (
        "an image",
        "host: 127.0.0.1\r\nsec-fetch-site: cross-site\r\nsec-fetch-mode: no-cors\r\nsec-fetch-dest: image\r\n",
    ),
    ("a sandboxed frame", "host: 127.0.0.1\r\norigin: null\r\n"),
    ("a file", "host: localhost\r\norigin: file://\r\n"),
    ("a rebound name", "host: evil.example\r\n"),
    (
        "a rebound name of its own origin",
        "host: evil.example:7304\r\norigin: http://evil.example:7304\r\nsec-fetch-site: same-origin\r\n",
    ),
    (
        "another port of this machine",
        "host: 127.0.0.1\r\norigin: http://127.0.0.1:8080\r\nsec-fetch-site: same-site\r\n",
    ),
    ("a name that only starts like ours", "host: localhost.evil.example\r\n"),
];

/// What applications send, some of them by libraries that know of browsers.
const APPLICATIONS: [(&str, &str); 6] = [
    ("curl", "host: 127.0.0.1:7304\r\naccept: */*\r\n"),
    ("a name", "host: localhost\r\n"),
    ("an IPv6 address", "host: [::1]:7304\r\n"),
    ("a urn", "host: push.chan.mesh.0001000000000000000000000000000000000.lx0000000000000.trustbe.cn\r\n"),
    ("a page that a person typed", "host: localhost\r\nsec-fetch-site: none\r\n"),
    ("the same origin", "host: localhost:7304\r\norigin: http://localhost:7304\r\nsec-fetch-site: same-origin\r\n"),
];

const CALLS: [&str; 5] = [
    "POST /v1/interconn/chan/push?topic=t&payload=eA==",
    "GET /v1/interconn/chan/push?topic=t&payload=eA==",
    "GET /v1/interconn/chan/release?topic=t",
    "POST /mesh/invoke",
    "GET /some/service",
];

async fn status(node: &Node, call: &str, lines: &str) -> u16 {
    let mut raw = Raw::to(node).await;
    raw.write(format!("{call} HTTP/1.1\r\n{lines}x-ptp-session-id: s\r\ncontent-length: 0\r\n\r\n")).await;
    raw.answer().await.unwrap().status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_reaches_no_room_and_an_application_reaches_all() {
    let node = Node::start().await;
    for call in CALLS {
        for (page, lines) in PAGES {
            assert_eq!(status(&node, call, lines).await, 403, "{page}: {call}");
        }
    }
    assert_eq!(node.pop_now("t").await, None, "no page pushed anything");
    for (application, lines) in APPLICATIONS {
        assert_eq!(status(&node, CALLS[0], lines).await, 200, "{application}");
        assert_eq!(node.pop_now("t").await.as_deref(), Some("x"), "{application}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_somebody_passed_on_is_not_local() {
    let node = Node::start().await;
    for line in [
        "x-forwarded-for: 10.0.0.1",
        "x-forwarded-host: a",
        "forwarded: for=10.0.0.1",
        "via: 1.1 proxy",
        "x-real-ip: 10.0.0.1",
    ] {
        let lines = format!("host: localhost\r\n{line}\r\n");
        assert_eq!(status(&node, CALLS[0], &lines).await, 403, "{line}");
    }
    assert_eq!(node.pop_now("t").await, None);
}

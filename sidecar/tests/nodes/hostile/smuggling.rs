//! Request smuggling (PTP section 15): whatever the framing of a request, the bytes of its body are never another request,
//! and a request behind it is answered as itself or not at all.

use crate::harness::{
    Node, Raw,
    h2::{H2, HEADERS},
};

/// What must come of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    /// Refused with this status, or without a word; the connection ends.
    Refused(u16),
    /// Served, and so is the next request on the connection.
    Served,
    /// Answered, and then the connection ends: what follows is not looked at.
    Last,
}
use Want::{Last, Refused, Served};

/// A push that nobody may ever see done.
const SMUGGLED: &str = "POST /v1/interconn/chan/push?topic=smuggled&payload=eA== HTTP/1.1\r\nhost: localhost\r\nx-ptp-session-id: s\r\ncontent-length: 0\r\n\r\n";

/// What stands behind every input.
const MARKER: &str =
    "GET /v1/interconn/chan/peek?topic=marker HTTP/1.1\r\nhost: localhost\r\nx-ptp-session-id: s\r\n\r\n";

/// A push of `{"topic":"t","payload":""}` with these header lines before, and its body as given.
fn push(lines: &str, body: &str) -> Vec<u8> {
    format!("POST /v1/interconn/chan/push HTTP/1.1\r\nhost: localhost\r\nx-ptp-session-id: s\r\ncontent-type: application/json\r\n{lines}\r\n{body}").into_bytes()
}

const JSON: &str = r#"{"topic":"t","payload":""}"#;

/// The body in one chunk.
fn chunked() -> String {
    format!("{:x}\r\n{JSON}\r\n0\r\n\r\n", JSON.len())
}

fn lengths() -> Vec<(String, Vec<u8>, Want)> {
    let l = JSON.len();
    let (inner, zero) = (SMUGGLED.len(), format!("0\r\n\r\n{SMUGGLED}"));
    let mut all = Vec::new();
    let mut add = |name: &str, lines: String, body: &str, want| all.push((name.to_owned(), push(&lines, body), want));
    add("as it should be", format!("content-length: {l}\r\n"), JSON, Served);
    add("in chunks, as it should be", "transfer-encoding: chunked\r\n".into(), &chunked(), Served);
    add("length and chunks", format!("content-length: {}\r\ntransfer-encoding: chunked\r\n", zero.len()), &zero, Last);
    add("chunks and length", format!("transfer-encoding: chunked\r\ncontent-length: {}\r\n", zero.len()), &zero, Last);
    add(
        "chunks and a length of nothing",
        "transfer-encoding: chunked\r\ncontent-length: 0\r\n".into(),
        &chunked(),
        Last,
    );
    add("two lengths", format!("content-length: 0\r\ncontent-length: {inner}\r\n"), SMUGGLED, Refused(400));
    add(
        "two lengths, the longer first",
        format!("content-length: {inner}\r\ncontent-length: 0\r\n"),
        SMUGGLED,
        Refused(400),
    );
    add("a list of lengths", format!("content-length: 0, {inner}\r\n"), SMUGGLED, Refused(400));
    add("two equal lengths", format!("content-length: {l}\r\ncontent-length: {l}\r\n"), JSON, Served);
    add("a list of equal lengths", format!("content-length: {l}, {l}\r\n"), JSON, Refused(400));
    add("noughts before a length", format!("content-length: 000{l}\r\n"), JSON, Served);
    add("blanks around a length", format!("content-length: \t {l} \t\r\n"), JSON, Served);
    add("chunks in capitals", "Transfer-ENCODING:\tChunked \r\n".into(), &chunked(), Served);
    add("chunked twice", "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n".into(), &zero, Refused(400));
    add("chunked twice in a list", "transfer-encoding: chunked, chunked\r\n".into(), &zero, Refused(400));
    add(
        "a coding, then chunks in a header of their own",
        "transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n".into(),
        &zero,
        Refused(400),
    );
    add(
        "chunks, then a coding in a header of its own",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n".into(),
        &zero,
        Refused(400),
    );
    add("a packed body in chunks", "transfer-encoding: gzip, chunked\r\n".into(), &zero, Refused(400));
    add("accepted codings are none of the request's", format!("content-length: {l}\r\nte: chunked\r\n"), JSON, Served);
    add("an announced trailer", format!("content-length: {l}\r\ntrailer: content-length\r\n"), JSON, Served);
    for length in [
        "+0",
        "-0",
        "-1",
        "0x0",
        "0 0",
        "0;",
        "",
        " ",
        "1e1",
        "０",
        "18446744073709551616",
        "99999999999999999999999",
        "0\0",
        "0\x0b",
        "\"0\"",
        "0.",
    ] {
        add(&format!("length {length:?}"), format!("content-length: {length}\r\n"), SMUGGLED, Refused(400));
    }
    for coding in [
        "xchunked",
        "chunkedx",
        "identity",
        "gzip",
        "chunked, identity",
        "chunked, gzip",
        "\"chunked\"",
        "chunked;q=1",
        "\x0bchunked",
        "chunked\x0b",
        "chunked\0",
        "chunk",
        "",
    ] {
        add(&format!("coding {coding:?}"), format!("transfer-encoding: {coding}\r\n"), &zero, Refused(400));
        let with_length = format!("content-length: {}\r\ntransfer-encoding: {coding}\r\n", zero.len());
        add(&format!("length and coding {coding:?}"), with_length, &zero, Refused(400));
    }
    for lines in [
        "transfer-encoding : chunked\r\n",
        "transfer-encoding\t: chunked\r\n",
        "content-length : 0\r\n",
        "content-length\0: 0\r\n",
        "x: y\r\n transfer-encoding: chunked\r\n",
        "x: y\r\n\tcontent-length: 0\r\n",
        " content-length: 0\r\n",
        ": y\r\n",
        "no colon\r\n",
        "x: a\0b\r\n",
        "x\0: a\r\n",
        "x: a\rtransfer-encoding: chunked\r\n",
        "tränsfer-encoding: chunked\r\n",
        "(x): a\r\n",
        "x\r: a\r\n",
        "x: a\r\n\x0btransfer-encoding: chunked\r\n",
        "\0transfer-encoding: chunked\r\n",
        "x: a\r\n\r transfer-encoding: chunked\r\n",
        "host: localhost\r\n",
    ] {
        add(&format!("line {lines:?}"), lines.to_owned(), &zero, Refused(400));
    }
    // Names that only look like ours mean nothing: there is no body, so what follows is the next request.
    add(
        "an underscore is no hyphen",
        format!("content-length: {l}\r\ntransfer_encoding: chunked\r\ncontent_length: 0\r\n"),
        JSON,
        Served,
    );
    add("an answered expectation", format!("content-length: {l}\r\nexpect: 100-continue\r\n"), JSON, Served);
    all
}

fn chunks() -> Vec<(String, Vec<u8>, Want)> {
    let (l, rest) = (JSON.len(), format!("{JSON}\r\n0\r\n\r\n"));
    let mut all = Vec::new();
    let mut add = |name: &str, body: String, want| {
        all.push((name.to_owned(), push("transfer-encoding: chunked\r\n", &body), want));
    };
    add("a chunk extension", format!("{l:x};a=b\r\n{rest}"), Served);
    add("blanks behind a chunk size", format!("{l:x} \t\r\n{rest}"), Served);
    add("noughts before a chunk size", format!("0000{l:x}\r\n{rest}"), Served);
    let (ten, sixteen) = JSON.split_at(10);
    add("a chunk size in capitals", format!("A\r\n{ten}\r\n{:X}\r\n{sixteen}\r\n00\r\n\r\n", l - 10), Served);
    add("an extension with a carriage return", format!("{l:x};a\rb\r\n{rest}{SMUGGLED}"), Last);
    add("a quoted chunk extension", format!("{l:x};a=\"b c\"\r\n{rest}"), Served);
    add("trailers that name a length", format!("{l:x}\r\n{JSON}\r\n0\r\ncontent-length: 5\r\nhost: x\r\n\r\n"), Served);
    for size in
        ["", " ", "-1", "+1a", "0x1a", "1a_", "g", "1a\0", "ffffffffffffffffffff", "10000000000000000", "1a;a=b\nx"]
    {
        add(&format!("chunk size {size:?}"), format!("{size}\r\n{rest}{SMUGGLED}"), Last);
    }
    add("a bare line feed behind a chunk size", format!("{l:x}\n{rest}{SMUGGLED}"), Last);
    add("a bare line feed behind a chunk", format!("{l:x}\r\n{JSON}\n0\r\n\r\n{SMUGGLED}"), Last);
    add("a chunk that is longer than it says", format!("5\r\n{rest}{SMUGGLED}"), Last);
    add("extensions without end", format!("{l:x};{}\r\n{rest}", "a".repeat(64 << 10)), Last);
    add("trailers without end", format!("{l:x}\r\n{JSON}\r\n0\r\n{}", "a: b\r\n".repeat(20_000)), Last);
    all
}

/// Whole requests: their first line, their ends, and bodies that the answer does not wait for.
fn heads() -> Vec<(String, Vec<u8>, Want)> {
    let inner = SMUGGLED.len();
    let body = format!("content-length: {inner}\r\n\r\n{SMUGGLED}");
    let in_chunk = format!("transfer-encoding: chunked\r\n\r\n{inner:x}\r\n{SMUGGLED}\r\n0\r\n\r\n");
    let table = [
        ("a body that nobody reads", format!("GET /stats HTTP/1.1\r\nhost: localhost\r\n{body}"), Served),
        ("chunks that nobody reads", format!("GET /stats HTTP/1.1\r\nhost: localhost\r\n{in_chunk}"), Served),
        (
            "a body of a head request",
            format!("HEAD /stats HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{body}"),
            Last,
        ),
        ("a body of an unknown path", format!("POST /nothing HTTP/1.1\r\nhost: localhost\r\n{body}"), Served),
        (
            "a body of a wrong method",
            format!("PUT /v1/interconn/chan/push HTTP/1.1\r\nhost: localhost\r\n{body}"),
            Served,
        ),
        (
            "chunks of a wrong method",
            format!("PUT /v1/interconn/chan/push HTTP/1.1\r\nhost: localhost\r\n{in_chunk}"),
            Served,
        ),
        (
            "a body of a browser",
            format!(
                "POST /v1/interconn/chan/push HTTP/1.1\r\nhost: localhost\r\norigin: https://evil.example\r\n{body}"
            ),
            Served,
        ),
        // A line feed alone ends a line for us wherever a line ends (RFC 9112 section 2.2 permits it): a request is as long
        // with it as without, and a coding that hides behind one counts.
        ("bare line feeds", "GET /stats HTTP/1.1\nhost: localhost\n\n".into(), Served),
        (
            "a bare line feed among others",
            format!("GET /stats HTTP/1.1\r\nhost: localhost\r\nx: y\ntransfer-encoding: chunked\r\n\r\n{SMUGGLED}"),
            Last,
        ),
        ("a bare line feed at the end of the head", "GET /stats HTTP/1.1\r\nhost: localhost\r\n\n".into(), Served),
        (
            "an absolute target with a body",
            format!("POST http://localhost/nothing HTTP/1.1\r\nhost: localhost\r\n{body}"),
            Served,
        ),
        (
            "an absolute target beside another host",
            format!("POST http://localhost/nothing HTTP/1.1\r\nhost: 127.0.0.1\r\n{body}"),
            Served,
        ),
        (
            "an absolute target with chunks",
            format!("POST http://localhost/nothing HTTP/1.1\r\nhost: localhost\r\n{in_chunk}"),
            Served,
        ),
        ("a colon in the first line", format!("GET: /stats HTTP/1.1\r\nhost: localhost\r\n\r\n{SMUGGLED}"), Refused(400)),
        ("a version in small letters", format!("GET /stats http/1.1\r\nhost: localhost\r\n\r\n{SMUGGLED}"), Refused(400)),
        ("two blanks", format!("GET  /stats HTTP/1.1\r\nhost: localhost\r\n\r\n{SMUGGLED}"), Refused(400)),
        ("a blank at the end", format!("GET /stats HTTP/1.1 \r\nhost: localhost\r\n\r\n{SMUGGLED}"), Refused(400)),
        ("a tab", format!("GET\t/stats HTTP/1.1\r\nhost: localhost\r\n\r\n{SMUGGLED}"), Refused(400)),
        ("no version", format!("GET /stats\r\n\r\n{SMUGGLED}"), Refused(400)),
        ("another version", format!("GET /stats HTTP/1.2\r\nhost: localhost\r\n\r\n{SMUGGLED}"), Refused(400)),
        (
            "version 2 without its preface",
            format!("GET /stats HTTP/2.0\r\nhost: localhost\r\n\r\n{SMUGGLED}"),
            Refused(400),
        ),
        (
            "a zero byte in the target",
            format!("GET /stats\0 HTTP/1.1\r\nhost: localhost\r\n\r\n{SMUGGLED}"),
            Refused(400),
        ),
        ("no host", format!("GET /stats HTTP/1.1\r\n\r\n{SMUGGLED}"), Refused(400)),
        (
            "two hosts",
            format!("GET /stats HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n\r\n{SMUGGLED}"),
            Refused(400),
        ),
        (
            "the last request",
            format!("GET /stats HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n{SMUGGLED}"),
            Last,
        ),
        ("version 1.0", format!("GET /stats HTTP/1.0\r\nhost: localhost\r\n\r\n{SMUGGLED}"), Last),
        (
            "version 1.0 with chunks",
            format!(
                "POST /v1/interconn/chan/push HTTP/1.0\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"
            ),
            Refused(400),
        ),
        ("empty lines before", "\r\n\r\nGET /stats HTTP/1.1\r\nhost: localhost\r\n\r\n".into(), Served),
        ("two at once", "GET /stats HTTP/1.1\r\nhost: localhost\r\n\r\n".into(), Served),
        (
            "an upgrade to HTTP/2",
            format!(
                "GET /stats HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n{body}"
            ),
            Served,
        ),
        (
            "an upgrade on a channel",
            "GET /v1/interconn/chan/peek?topic=t HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".to_owned(),
            Served,
        ),
        (
            "another expectation",
            format!("POST /v1/interconn/chan/push HTTP/1.1\r\nhost: localhost\r\nexpect: 200-ok\r\n{body}"),
            Served,
        ),
    ];
    table.into_iter().map(|(name, text, want)| (name.to_owned(), text.into_bytes(), want)).collect()
}

async fn try_all(inputs: Vec<(String, Vec<u8>, Want)>) {
    let node = Node::start().await;
    assert_eq!(node.push(None, "marker", "found").await, "E0000000000");
    let mut wrong = Vec::new();
    for (name, bytes, want) in inputs {
        if let Err(what) = try_one(&node, &bytes, want).await {
            wrong.push(format!("{name} ({want:?}): {what}"));
        }
        if node.pop_now("smuggled").await.is_some() {
            wrong.push(format!("{name}: its body was taken for a request"));
        }
    }
    assert!(wrong.is_empty(), "{} of the inputs:\n{}", wrong.len(), wrong.join("\n"));
}

async fn try_one(node: &Node, bytes: &[u8], want: Want) -> Result<(), String> {
    let mut raw = Raw::to(node).await;
    raw.write(bytes).await;
    raw.write(MARKER).await;
    let first = raw.answer().await;
    let second = if first.is_some() { raw.answer().await } else { None };
    let said = || format!("{first:?}, then {second:?}");
    let is_marker = |heard: &crate::harness::Heard| heard.text().contains(r#""payload":"Zm91bmQ=""#);
    match (&first, &second) {
        (None, _) if want != Served => Ok(()),
        (Some(first), None) if !is_marker(first) => match want {
            Refused(status) if first.status == status => Ok(()),
            Last => Ok(()),
            _ => Err(said()),
        },
        (Some(first), Some(second)) if want == Served && !is_marker(first) && is_marker(second) => Ok(()),
        _ => Err(said()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn differing_lengths_and_codings_never_make_a_request_of_a_body() {
    try_all(lengths()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_chunks_never_make_a_request_of_a_body() {
    try_all(chunks()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_heads_and_unread_bodies_never_make_a_request_of_a_body() {
    try_all(heads()).await;
}

/// `:status: 400`, whole, in the first byte of an answer's head (RFC 7541 appendix A).
const STATUS_400: u8 = 0x8c;

#[tokio::test(flavor = "multi_thread")]
async fn over_http2_a_request_has_no_two_hosts_either() {
    let node = Node::start().await;
    let mut h2 = H2::to(&node, 1 << 16).await;
    for (stream, hosts, is_refused) in
        [(1, &["localhost"][..], false), (3, &["localhost", "other"], true), (5, &["localhost", "localhost"], true)]
    {
        let hosts: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
        h2.ask(stream, "/v1/interconn/chan/peek?topic=t", &hosts, b"").await;
        let head = h2.wait_for(HEADERS, stream).await.unwrap();
        assert_eq!(head.payload.first() == Some(&STATUS_400), is_refused, "{hosts:?}: {:02x?}", head.payload);
    }
}

//! Callers that ask for nothing but an answer, as most do: the listener serves them by its short way (`listen/h1`), before every kind of
//! service.

use std::time::Duration;

use serde_json::json;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{
    conformance::{SERVICES, node_before},
    house::{bank_a, bank_b, connect, node, raw_service, read_head},
    two_nodes::open,
};

const LIMIT: Duration = Duration::from_secs(60);

/// All until `end`.
async fn hear(stream: &mut TcpStream, end: &str, pair: &str) -> String {
    let (mut all, mut byte) = (Vec::new(), [0]);
    while !all.ends_with(end.as_bytes()) {
        let read = timeout(LIMIT, stream.read(&mut byte)).await;
        let heard = String::from_utf8_lossy(&all).into_owned();
        assert_eq!(
            read.unwrap_or_else(|_| panic!("{pair}: nothing behind {heard:?}")).unwrap(),
            1,
            "{pair}: {heard:?}"
        );
        all.push(byte[0]);
    }
    String::from_utf8(all).unwrap()
}

fn post(path: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nx-multi: a\r\nx-multi: b\r\ncontent-length: {length}\r\n\r\n")
}

#[tokio::test]
async fn a_plain_caller_has_all_of_a_call_on_one_connection_before_every_service() {
    let (own, partner) = (bank_a(), bank_b());
    for behind in SERVICES {
        let pair = &format!("{behind:?}");
        let node = node_before(behind, &own, &partner).await;
        let mut stream = connect(open(&node)).await;
        for _ in 0..3 {
            // Piece by piece, in both directions.
            stream.write_all((post("/serving/x?y=%2F", 6) + "one").as_bytes()).await.unwrap();
            let head = hear(&mut stream, "\r\n\r\n", pair).await;
            assert!(head.starts_with("HTTP/1.1 207 Multi-Status\r\n"), "{pair}: {head}");
            assert!(
                head.contains("transfer-encoding: chunked\r\n") && !head.contains("content-length"),
                "{pair}: {head}"
            );
            for said in [
                "x-saw: POST /serving/x?y=%2F\r\n",
                "x-saw-multi: a|b\r\n",
                "x-saw-length: 6\r\n",
                "x-saw-source: LX0000010000280\r\n",
                "x-saw-via: 1.1 mesh\r\n",
                "set-cookie: a=1\r\nset-cookie: b=2\r\n",
            ] {
                assert!(head.contains(said), "{pair}: {said} in {head}");
            }
            assert_eq!(hear(&mut stream, "one\r\n", pair).await, "3\r\none\r\n");
            stream.write_all(b"two").await.unwrap();
            // Trailers are for those who ask for them.
            assert_eq!(hear(&mut stream, "0\r\n\r\n", pair).await, "3\r\ntwo\r\n0\r\n\r\n", "{pair}");
            // With its length, and without a body.
            stream.write_all((post("/serving/whole", 5) + "hello").as_bytes()).await.unwrap();
            let answer = hear(&mut stream, "\r\n\r\nhello", pair).await;
            assert_eq!(answer.matches("content-length: 5\r\n").count(), 1, "{pair}: {answer}");
            assert_eq!(answer.matches("\r\ndate: ").count(), 1, "{pair}: {answer}");
            stream.write_all(post("/serving/nothing", 0).as_bytes()).await.unwrap();
            let answer = hear(&mut stream, "\r\n\r\n", pair).await;
            assert!(answer.starts_with("HTTP/1.1 204 ") && !answer.contains("content-length"), "{pair}: {answer}");
        }
        for (path, status, says) in [
            ("/serving/refused", "404 ", "no such model"),
            ("/serving/silent", "504 ", "E0000000601"),
            ("/serving/away", "503 ", "E0000000602"),
            ("/elsewhere", "404 ", "nothing is registered there"),
        ] {
            stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").as_bytes()).await.unwrap();
            let answer = hear(&mut stream, says, pair).await;
            assert!(answer.contains(&format!("HTTP/1.1 {status}")), "{pair}: {answer}");
            // The rest of what is said.
            let length = answer.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
            let body = answer.split_once("\r\n\r\n").unwrap().1;
            let mut rest = vec![0; length.parse::<usize>().unwrap() - body.len()];
            stream.read_exact(&mut rest).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_plain_caller_that_gives_up_or_sends_too_much_ends_its_call_before_every_service() {
    let (own, partner) = (bank_a(), bank_b());
    for behind in SERVICES {
        let pair = &format!("{behind:?}");
        let node = node_before(behind, &own, &partner).await;
        let port = open(&node);
        let under_way = || node.registry.status().iter().map(|instance| instance.under_way).sum::<usize>();
        for length in [3, 6] {
            let mut stream = connect(port).await;
            stream.write_all((post("/serving/x", length) + "one").as_bytes()).await.unwrap();
            hear(&mut stream, "3\r\none\r\n", pair).await;
            drop(stream);
            let over = async {
                while under_way() > 0 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            timeout(LIMIT, over).await.unwrap_or_else(|_| panic!("{pair}: the call goes on"));
        }
        // An answer before the end of the request; the little that is left is read for nobody.
        let mut stream = connect(port).await;
        stream.write_all((post("/serving/early", 40_000) + "one").as_bytes()).await.unwrap();
        hear(&mut stream, "too large", pair).await;
        stream.write_all(&vec![b'x'; 40_000 - 3]).await.unwrap();
        stream.write_all((post("/serving/whole", 2) + "ok").as_bytes()).await.unwrap();
        hear(&mut stream, "\r\n\r\nok", pair).await;
    }
}

/// Long enough that the bytes go from socket to socket by a pipe, and no multiple of anything.
const LONG: usize = 5_000_001;

fn long() -> Vec<u8> {
    (0..LONG).map(|n| (n / 3 % 251) as u8).collect()
}

#[tokio::test]
async fn a_long_answer_arrives_as_it_was_sent_and_one_that_breaks_off_ends_the_connection() {
    let node = node();
    let service = raw_service(|mut stream| async move {
        let long = long();
        loop {
            let head = read_head(&mut stream).await;
            let cut = head.starts_with("GET /serving/cut ");
            if head.is_empty() {
                return;
            }
            let begin = format!("HTTP/1.1 200 OK\r\ncontent-length: {LONG}\r\n\r\n");
            stream.write_all(begin.as_bytes()).await.unwrap();
            for piece in long.chunks(1_000_000).take(if cut { 3 } else { 6 }) {
                stream.write_all(piece).await.ok();
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
            if cut {
                return;
            }
        }
    })
    .await;
    node.register("1", &service.to_string(), json!({})).await;
    let port = open(&node);
    let ask = |path: &str| format!("GET /serving/{path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
    let mut stream = connect(port).await;
    let mut body = vec![0; LONG];
    for _ in 0..3 {
        stream.write_all(ask("long").as_bytes()).await.unwrap();
        let head = hear(&mut stream, "\r\n\r\n", "long").await;
        assert_eq!(head.matches(&format!("content-length: {LONG}\r\n")).count(), 1, "{head}");
        timeout(LIMIT, stream.read_exact(&mut body)).await.expect("all of it").unwrap();
        assert!(body == long(), "other bytes arrived");
    }
    stream.write_all(ask("cut").as_bytes()).await.unwrap();
    let mut said = Vec::new();
    let _ = timeout(LIMIT, stream.read_to_end(&mut said)).await.expect("an end");
    assert!((2_000_000..LONG).contains(&said.len()), "{} bytes", said.len());
    // Who goes away in the middle of one leaves nothing behind for the next.
    for _ in 0..3 {
        let mut stream = connect(port).await;
        stream.write_all(ask("long").as_bytes()).await.unwrap();
        stream.read_exact(&mut body[..1_000_000]).await.unwrap();
    }
    let mut stream = connect(port).await;
    stream.write_all(ask("long").as_bytes()).await.unwrap();
    hear(&mut stream, "\r\n\r\n", "long").await;
    timeout(LIMIT, stream.read_exact(&mut body)).await.expect("all of it").unwrap();
    assert!(body == long(), "other bytes arrived");
}

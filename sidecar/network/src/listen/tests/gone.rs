//! What is known of an answer over HTTP/2 once it is written: its client can give it up, leave it in a closed window, or go.

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    sync::mpsc::UnboundedReceiver,
};

use super::fates::{Fate, start};
use crate::testing::{
    http2::{CANCEL, DATA, Frame, Frames, GOAWAY, HEADERS, NO_ERROR, RST_STREAM},
    tls_client,
};

/// Room for any answer.
const WIDE: u32 = 1 << 30;

/// Longer than an answer's time of peace.
async fn longer_than_peace() {
    tokio::time::sleep(Duration::from_millis(1500)).await;
}

fn is_open(fates: &mut UnboundedReceiver<Fate>) -> bool {
    fates.try_recv().is_err()
}

#[tokio::test]
async fn an_answer_is_received_after_a_second_in_which_nobody_gave_it_up() {
    let (address, mut fates, _drain) = start(true);
    let mut client = Frames::to(address, WIDE).await;
    client.get(1, "/small").await;
    client.until(Frame::ends).await;
    assert!(is_open(&mut fates), "not known yet");
    assert_eq!(fates.recv().await, Some(Fate::Received));
}

#[tokio::test]
async fn an_answer_that_was_given_up_after_its_end_is_lost_and_the_others_are_not() {
    let (address, mut fates, _drain) = start(true);
    let mut client = Frames::to(address, WIDE).await;
    for stream in [1, 3, 5] {
        client.get(stream, "/small").await;
        client.until(Frame::ends).await;
    }
    client.reset(3, CANCEL).await;
    assert_eq!(fates.recv().await, Some(Fate::Lost));
    assert_eq!(fates.recv().await, Some(Fate::Received));
    assert_eq!(fates.recv().await, Some(Fate::Received));
}

#[tokio::test]
async fn a_client_that_only_stops_sending_has_its_answer() {
    let (address, mut fates, _drain) = start(true);
    let mut client = Frames::to(address, WIDE).await;
    client.head(1, 0, "/small").await;
    client.until(Frame::ends).await;
    // The node wants no more of the request either.
    let reset = client.until(|frame| frame.kind == RST_STREAM).await;
    assert_eq!((reset.stream, reset.payload), (1, NO_ERROR.to_be_bytes().to_vec()));
    client.reset(1, NO_ERROR).await;
    assert_eq!(fates.recv().await, Some(Fate::Received));
}

#[tokio::test]
async fn an_answer_that_waits_in_a_closed_window_is_not_written() {
    let (address, mut fates, _drain) = start(true);
    let mut client = Frames::to(address, 0).await;
    client.get(1, "/small").await;
    client.until(|frame| frame.kind == HEADERS).await;
    longer_than_peace().await;
    assert!(is_open(&mut fates), "none of its body was written");
    client.open_window(1, 2).await;
    client.until(|frame| frame.kind == DATA).await;
    longer_than_peace().await;
    assert!(is_open(&mut fates), "the last byte was not written");
    client.open_window(1, 1).await;
    client.until(Frame::ends).await;
    assert_eq!(fates.recv().await, Some(Fate::Received));
}

#[tokio::test]
async fn an_answer_that_is_given_up_in_a_closed_window_is_lost() {
    let (address, mut fates, _drain) = start(true);
    for (window, path) in [(0, "/small"), (2, "/small"), (0, "/large"), (70_000, "/large")] {
        let mut client = Frames::to(address, window).await;
        client.get(1, path).await;
        let last = if window == 0 { HEADERS } else { DATA };
        client.until(|frame| frame.kind == last).await;
        client.reset(1, CANCEL).await;
        assert_eq!(fates.recv().await, Some(Fate::Lost), "{path} in a window of {window}");
    }
}

#[tokio::test]
async fn a_call_that_is_given_up_with_the_request_is_not_answered_or_its_answer_is_lost() {
    let (address, mut fates, _drain) = start(true);
    let mut client = Frames::to(address, WIDE).await;
    for stream in (1..200).step_by(2) {
        client.get(stream, "/small").await;
        client.reset(stream, CANCEL).await;
    }
    // A last one shows that all others are over.
    client.get(201, "/small").await;
    client.until(|frame| frame.ends() && frame.stream == 201).await;
    longer_than_peace().await;
    let mut all: Vec<_> = std::iter::from_fn(|| fates.try_recv().ok()).collect();
    assert_eq!(all.pop(), Some(Fate::Received), "the last one");
    assert!(all.iter().all(|fate| *fate == Fate::Lost), "{all:?}");
}

#[tokio::test]
async fn a_connection_that_breaks_loses_what_was_written_within_its_last_second() {
    let (address, mut fates, _drain) = start(true);
    for path in ["/small", "/large"] {
        let mut client = Frames::to(address, WIDE).await;
        client.open_window(0, WIDE).await;
        client.get(1, path).await;
        client.until(Frame::ends).await;
        client.reset_connection();
        assert_eq!(fates.recv().await, Some(Fate::Lost), "{path}");
    }
}

#[tokio::test]
async fn a_client_that_dies_with_unread_bytes_has_not_seen_the_answer_over_tls_either() {
    let (address, mut fates, _drain) = start(true);
    for is_tls in [false, true] {
        // Dropped without a goodbye, as by a kill; what it has not read makes its kernel send a reset.
        if is_tls {
            let stream = tls_client(None, &["h2"]).connect(address).await;
            let mut client = Frames::over(stream, WIDE).await;
            reads_one_of_two(&mut client).await;
            client.io.get_ref().0.peek(&mut [0]).await.unwrap();
        } else {
            let mut client = Frames::to(address, WIDE).await;
            reads_one_of_two(&mut client).await;
            client.io.peek(&mut [0]).await.unwrap();
        }
        // Of the first one only a slow machine knows by now that it was received.
        fates.recv().await.unwrap();
        assert_eq!(fates.recv().await, Some(Fate::Lost), "TLS {is_tls}");
    }
}

/// Asks twice and reads the first answer: whatever comes then is of the second.
async fn reads_one_of_two(client: &mut Frames<impl AsyncRead + AsyncWrite + Unpin>) {
    client.get(1, "/small").await;
    client.until(Frame::ends).await;
    client.get(3, "/small").await;
}

#[tokio::test]
async fn a_client_that_read_everything_and_goes_has_its_answer_with_a_goodbye_or_without() {
    let (address, mut fates, _drain) = start(true);
    for goodbye in [true, false] {
        let stream = tls_client(None, &["h2"]).connect(address).await;
        let mut client = Frames::over(stream, WIDE).await;
        client.get(1, "/small").await;
        client.until(Frame::ends).await;
        if goodbye {
            client.write(GOAWAY, 0, 0, &[0; 8]).await;
            client.io.shutdown().await.unwrap();
        } else {
            client.io.get_mut().0.shutdown().await.unwrap();
        }
        while client.next().await.is_some() {}
        drop(client);
        assert_eq!(fates.recv().await, Some(Fate::Received), "goodbye: {goodbye}");
    }
}

#[tokio::test]
async fn what_was_not_written_when_its_client_goes_is_lost() {
    let (address, mut fates, _drain) = start(true);
    let mut client = Frames::to(address, 0).await;
    client.get(1, "/small").await;
    client.until(|frame| frame.kind == HEADERS).await;
    client.io.shutdown().await.unwrap();
    assert_eq!(fates.recv().await, Some(Fate::Lost));
}

#[tokio::test]
async fn what_was_not_written_of_a_stream_that_the_node_resets_is_lost() {
    let (address, mut fates, _drain) = start(true);
    // Handed over whole, and with its last piece still waiting for room.
    for path in ["/large", "/two"] {
        let mut client = Frames::to(address, WIDE).await;
        client.get(1, path).await;
        client.until(|frame| frame.kind == DATA).await;
        // The connection's window is full, and the stream's becomes larger than a window may be.
        client.open_window(1, (1 << 31) - 1).await;
        client.until(|frame| frame.kind == RST_STREAM).await;
        assert_eq!(fates.recv().await, Some(Fate::Lost), "{path}");
    }
}

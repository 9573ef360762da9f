//! A WebSocket passed through: after both sides have switched, bytes go both ways until one ends, or the caller's route does.
//! When the node ends, both sides are told by a close frame of 1012, between two frames (`frames.rs`).

use std::{future::pending, io, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Request, header::CONNECTION, header::UPGRADE};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use mesh_core::Drained;
use mesh_network::listen::Connection;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split},
    time::sleep,
};

use super::frames::{Frames, To, restart};

/// What is read at a time.
const PIECE: usize = 8 * 1024;
/// What a WebSocket has for its end when the node ends: the rest of the frame under way, and the answer to ours.
const GOODBYE: Duration = Duration::from_secs(2);

/// The caller's side of a switch.
pub(crate) struct Switch {
    stream: OnUpgrade,
    /// Ends when the caller's route is closed, which the stream by itself does not.
    connection: Option<Arc<Connection>>,
}

impl Switch {
    /// Of a request that asks for one.
    pub(crate) fn of<B>(request: &mut Request<B>) -> Self {
        let connection = request.extensions().get().cloned();
        Self { stream: hyper::upgrade::on(request), connection }
    }
}

/// Puts the headers of the switch back on, which are hop-by-hop and were taken off.
pub(crate) fn mark(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// Joins the two sides; what the call occupies is `held` until they part. The drain counts the task, and ends it when it is
/// asked for.
pub(crate) fn join(caller: Switch, service: OnUpgrade, held: impl Send + 'static, drained: &Drained) {
    let asked = drained.clone();
    drained.spawn(async move {
        let _held = held;
        let Switch { stream, connection } = caller;
        let ended = async {
            match connection {
                Some(connection) => connection.ended().await,
                None => pending().await,
            }
        };
        let Ok((caller, service)) = futures::future::try_join(stream, service).await else { return };
        let (from_caller, to_caller) = split(TokioIo::new(caller));
        let (from_service, to_service) = split(TokioIo::new(service));
        let there = pass(from_caller, to_service, To::Server { mask: rand::random() }, &asked);
        let back = pass(from_service, to_caller, To::Client, &asked);
        let too_long = async {
            asked.asked().await;
            sleep(GOODBYE).await;
        };
        tokio::select! {
            // How it ended is known to both ends themselves.
            _ = async { tokio::try_join!(there, back) } => {}
            () = too_long => {}
            () = ended => {}
        }
    });
}

/// Passes on what comes until it ends; when the node does, the other side hears of it between two frames, and what still comes is
/// read until it is the answer: a connection that is closed with bytes unread is torn, and the last word with it.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    side: To,
    asked: &Drained,
) -> io::Result<()> {
    let (mut frames, mut piece) = (Frames::default(), vec![0; PIECE]);
    loop {
        let read = tokio::select! {
            biased;
            () = asked.asked(), if frames.is_between() => break,
            read = from.read(&mut piece) => read?,
        };
        let bytes = piece.get(..read).unwrap_or_default();
        if bytes.is_empty() {
            return to.shutdown().await;
        }
        let passes = frames.take(bytes, asked.is_asked());
        to.write_all(bytes.get(..passes).unwrap_or_default()).await?;
        // A TLS connection may keep some of it back.
        to.flush().await?;
    }
    if !frames.has_closed() {
        to.write_all(&restart(side)).await?;
        to.flush().await?;
    }
    while !frames.has_closed() {
        let read = from.read(&mut piece).await?;
        if read == 0 {
            break;
        }
        frames.take(piece.get(..read).unwrap_or_default(), false);
    }
    Ok(())
}

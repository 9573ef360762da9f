//! A WebSocket client of another make.

use std::{net::SocketAddr, time::Duration};

use futures::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest, http::HeaderName},
};

use super::connect;

/// Long beyond all doubt, also on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// A connection.
pub(crate) struct Socket<S = TcpStream>(pub(crate) WebSocketStream<S>);

impl Socket {
    /// A connection that is made.
    pub(crate) async fn to(address: SocketAddr, path: &str) -> Self {
        Self::with(address, path, &[]).await.unwrap_or_else(|status| panic!("{path} was answered by {status}"))
    }

    /// A connection, or the status that its handshake was answered by.
    pub(crate) async fn with(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Result<Self, u16> {
        Self::over(connect([127, 0, 0, 1].into(), address).await, &format!("ws://{address}{path}"), headers).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// The same over a stream that is there.
    pub(crate) async fn over(stream: S, url: &str, headers: &[(&str, &str)]) -> Result<Self, u16> {
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        match timeout(LONG, client_async(request, stream)).await.expect("no answer to a handshake") {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(e) => panic!("{url}: {e}"),
        }
    }

    pub(crate) async fn sends(&mut self, message: Message) {
        self.0.send(message).await.unwrap();
    }

    pub(crate) async fn says(&mut self, text: &str) {
        self.sends(Message::text(text)).await;
    }

    /// The next message that is no ping and no pong.
    pub(crate) async fn next(&mut self) -> Message {
        loop {
            let message = timeout(LONG, self.0.next()).await.expect("nothing comes");
            match message.expect("the connection has ended").expect("a message") {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return message,
            }
        }
    }

    /// The next text.
    pub(crate) async fn hears(&mut self) -> String {
        match self.next().await {
            Message::Text(text) => text.to_string(),
            other => panic!("{other:?} is no text"),
        }
    }

    pub(crate) async fn hears_json(&mut self) -> Value {
        serde_json::from_str(&self.hears().await).unwrap()
    }

    /// What comes next after a request: its answer, where nothing else is under way.
    pub(crate) async fn asks(&mut self, request: &Value) -> Value {
        self.says(&request.to_string()).await;
        self.hears_json().await
    }

    /// The code that it is closed with; 1006: without one.
    pub(crate) async fn is_closed(&mut self) -> u16 {
        loop {
            match timeout(LONG, self.0.next()).await.expect("it is not closed") {
                Some(Ok(Message::Close(frame))) => return frame.map_or(1005, |frame| frame.code.into()),
                Some(Ok(_)) => {}
                None | Some(Err(_)) => return 1006,
            }
        }
    }
}

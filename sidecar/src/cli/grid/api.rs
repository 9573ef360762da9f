//! One call of the backends' API (Grid sections 3 and 4): over HTTP where that has it, else over its WebSocket.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use http::{
    HeaderValue, Request,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use http_body_util::{BodyExt as _, Limited};
use mesh_core::Body;
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{self, client::IntoClientRequest as _},
};

use crate::{
    args::ApiCall,
    cli::{
        client,
        tls::{Stream, Tls},
    },
    exit::Exit,
};

/// A call is answered from memory; one through a sidecar waits 10 s for a gateway that is away.
const LIMIT: Duration = Duration::from_secs(20);

/// The context of a client has 16 KiB by default and its channels 32 KiB; more than this is none of ours.
const LARGEST: usize = 4 << 20;

/// The API at an address, with the caller's token.
pub(super) struct Api<'a> {
    call: &'a ApiCall,
}

/// The API's WebSocket.
pub(super) struct Socket {
    stream: WebSocketStream<Stream>,
    address: String,
}

impl<'a> Api<'a> {
    pub(super) fn of(call: &'a ApiCall) -> Self {
        Self { call }
    }

    /// Calls `path`; the result, or what it was refused by.
    pub(super) async fn post(&self, path: &str, parameters: &Value) -> Result<Value, Exit> {
        let address = &self.call.address;
        let mut request = Request::post(path).header(CONTENT_TYPE, "application/json");
        if let Some(token) = &self.call.token {
            request = request.header(AUTHORIZATION, bearer(token)?);
        }
        let request = request
            .body(Body::Full(parameters.to_string().into()))
            .map_err(|e| Exit::local("the call cannot be sent", e))?;
        let answer = client::send_over(connect(self.call).await?, request, LIMIT).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LARGEST).collect().await;
        let body = body.map_err(|e| Exit::Unreachable(format!("{address}: {e}")))?.to_bytes();
        let answer = serde_json::from_slice(&body);
        result(answer.map_err(|_| Exit::Unreachable(format!("{address} is no grid: it answered HTTP {status}")))?)
    }
}

impl Socket {
    /// Connects to `/ws/v1`.
    pub(super) async fn open(call: &ApiCall) -> Result<Self, Exit> {
        let (stream, address) = connect(call).await?;
        let not = |e: &dyn std::fmt::Display| Exit::local("the WebSocket cannot be asked for", e);
        let mut request = format!("ws://{address}/ws/v1").into_client_request().map_err(|e| not(&e))?;
        if let Some(token) = &call.token {
            request.headers_mut().insert(AUTHORIZATION, bearer(token)?);
        }
        let opened = timeout(LIMIT, client_async(request, stream)).await;
        let opened = opened.map_err(|_| Exit::Unreachable(format!("{address} did not answer in time")))?;
        match opened {
            Ok((stream, _)) => Ok(Self { stream, address }),
            Err(tungstenite::Error::Http(answer)) => Err(denied(&answer)),
            Err(e) => Err(Exit::Unreachable(format!("{address}: {e}"))),
        }
    }

    /// Calls a method and waits for its answer; nothing else may be under way.
    pub(super) async fn ask(&mut self, method: &str, parameters: &Value) -> Result<Value, Exit> {
        self.tell(method, parameters).await?;
        let answer = timeout(LIMIT, self.next()).await;
        result(answer.map_err(|_| Exit::Unreachable(format!("{} did not answer in time", self.address)))??)
    }

    /// Calls a method; its answer comes among the events.
    pub(super) async fn tell(&mut self, method: &str, parameters: &Value) -> Result<(), Exit> {
        let text = json!({"m": method, "p": parameters, "i": 1}).to_string();
        let sent = self.stream.send(tungstenite::Message::text(text)).await;
        sent.map_err(|e| Exit::Unreachable(format!("{}: {e}", self.address)))
    }

    /// The next answer or event. Pings are answered on the way.
    pub(super) async fn next(&mut self) -> Result<Value, Exit> {
        let ended = |why: &dyn std::fmt::Display| Exit::Unreachable(format!("{} has ended: {why}", self.address));
        loop {
            match self.stream.next().await {
                Some(Ok(tungstenite::Message::Text(text))) => {
                    return serde_json::from_str(&text).map_err(|e| ended(&e));
                }
                Some(Ok(tungstenite::Message::Close(frame))) => {
                    let why = frame.map(|frame| format!("{} {}", u16::from(frame.code), frame.reason));
                    return Err(ended(&why.unwrap_or_default()));
                }
                Some(Ok(_)) => {}
                Some(Err(e)) => return Err(ended(&e)),
                None => return Err(ended(&"the connection is gone")),
            }
        }
    }
}

/// A connection to the node; what is to be secret needs somebody to believe.
async fn connect(call: &ApiCall) -> Result<(Stream, String), Exit> {
    let tls = call.ca.as_deref().map(|ca| Tls::read(ca, call.server_name.as_deref())).transpose()?;
    if tls.is_none() && call.address.contains("https://") {
        return Err(Exit::Local("an https:// address needs --ca, the file with the node's root".into()));
    }
    client::connect(&call.address, crds::GRID_PORT, tls.as_ref()).await
}

/// The result of an answer, or its error (Grid section 3).
pub(super) fn result(mut answer: Value) -> Result<Value, Exit> {
    let error = &answer["E"];
    if error.is_null() {
        return Ok(answer["r"].take());
    }
    let reason = error["m"].as_str().unwrap_or_default().escape_debug();
    Err(Exit::Refused(format!("{} {reason}", error["c"])))
}

fn denied(answer: &http::Response<Option<Vec<u8>>>) -> Exit {
    let body = answer.body().as_deref().and_then(|body| serde_json::from_slice(body).ok());
    match body.map(result) {
        Some(Err(refused)) => refused,
        _ => Exit::Refused(format!("HTTP {}: this is no grid's /ws/v1", answer.status())),
    }
}

fn bearer(token: &str) -> Result<HeaderValue, Exit> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
        .map_err(|_| Exit::Local("the token has characters that no header can carry".into()))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_its_result_or_what_it_was_refused_by() {
        assert_eq!(result(json!({"E": null, "r": {"s": 2, "f": 0}})).unwrap(), json!({"s": 2, "f": 0}));
        let gone = result(json!({"E": {"c": 401, "m": "no such client", "k": "gone"}}));
        assert!(matches!(gone, Err(Exit::Refused(text)) if text == "401 no such client"));
    }
}

//! One HTTP/1.1 call to a node: the addresses are tried in order, the first that accepts a connection is used, and where it begins
//! with `https://` proves itself.

use std::time::Duration;

use http::{HeaderValue, Request, Response, header::HOST};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use mesh_core::Body;
use tokio::{net::TcpStream, time::timeout};

use super::tls::{Stream, Tls};
use crate::exit::Exit;

/// A node on this machine or nearby answers a SYN at once.
const CONNECT: Duration = Duration::from_secs(3);

/// Sends `request` (its URI is a path) to the first of `addresses` that accepts a connection.
pub(crate) async fn send(
    addresses: &str,
    default_port: u16,
    request: Request<Body>,
    limit: Duration,
) -> Result<Response<Incoming>, Exit> {
    send_over(connect(addresses, default_port, None).await?, request, limit).await
}

/// The same over a connection that is there.
pub(crate) async fn send_over(
    (stream, address): (Stream, String),
    mut request: Request<Body>,
    limit: Duration,
) -> Result<Response<Incoming>, Exit> {
    let host = HeaderValue::from_str(&address).map_err(|e| Exit::local(&address, e))?;
    request.headers_mut().insert(HOST, host);
    let lost = |e: hyper::Error| Exit::Unreachable(format!("{address} did not answer: {e}"));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
    tokio::spawn(connection);
    match timeout(limit, sender.send_request(request)).await {
        Ok(answer) => answer.map_err(lost),
        Err(_) => Err(Exit::Unreachable(format!("{address} did not answer within {} s", limit.as_secs()))),
    }
}

/// A connection to the first of `addresses` that accepts one, and which that is. `tls` is for those that begin with `https://`.
pub(crate) async fn connect(addresses: &str, default_port: u16, tls: Option<&Tls>) -> Result<(Stream, String), Exit> {
    let mut refusals = Vec::new();
    for given in addresses.split(',').map(str::trim).filter(|address| !address.is_empty()) {
        let secret = given.strip_prefix("https://");
        let address = with_port(secret.unwrap_or(given.trim_start_matches("http://")), default_port);
        let opened = match (secret, tls) {
            (None, _) => dial(&address).await.map(|tcp| Box::new(tcp) as Stream),
            (Some(secret), Some(tls)) => match dial(&address).await {
                Ok(tcp) => tls.over(tcp, host(&with_port(secret, default_port)), CONNECT).await,
                Err(reason) => Err(reason),
            },
            (Some(_), None) => Err("TLS is not spoken here".to_owned()),
        };
        match opened {
            Ok(stream) => return Ok((stream, address)),
            Err(reason) => refusals.push(format!("{address}: {reason}")),
        }
    }
    Err(Exit::Unreachable(format!(
        "no node answers ({}): is one running? try mesh start --server",
        refusals.join("; ")
    )))
}

#[allow(clippy::disallowed_methods, reason = "a person typed the address; nothing from outside leads here")]
async fn dial(address: &str) -> Result<TcpStream, String> {
    match timeout(CONNECT, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream.set_nodelay(true).map(|()| stream).map_err(|e| e.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no connection within {} s", CONNECT.as_secs())),
    }
}

/// The host of an address that has a port.
fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

/// `localhost` is what people type; a static binary has no NSS to look it up with.
fn with_port(address: &str, default_port: u16) -> String {
    let address = address.replace("localhost", "127.0.0.1");
    let has_port =
        address.rsplit_once(':').is_some_and(|(host, port)| !host.ends_with(':') && port.parse::<u16>().is_ok());
    if has_port { address } else { format!("{address}:{default_port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_port_gets_the_default_one() {
        assert_eq!(with_port("127.0.0.1", 7304), "127.0.0.1:7304");
        assert_eq!(with_port("localhost:17304", 7304), "127.0.0.1:17304");
        assert_eq!(with_port("[::1]:1", 7304), "[::1]:1");
        assert_eq!(["mesh.example:1", "[::1]:1"].map(host), ["mesh.example", "::1"]);
    }

    #[tokio::test]
    async fn what_is_to_be_secret_is_not_asked_for_in_plain_text() {
        let Err(refused) = connect("https://127.0.0.1:1", 6789, None).await else { panic!("it was") };
        assert!(refused.to_string().contains("TLS"), "{refused}");
    }
}

//! One HTTP/1.1 call to a node: the addresses are tried in order, the first that accepts a connection is used.

use std::time::Duration;

use http::{HeaderValue, Request, Response, header::HOST};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use mesh_core::Body;
use tokio::{net::TcpStream, time::timeout};

use crate::exit::Exit;

/// A node on this machine or nearby answers a SYN at once.
const CONNECT: Duration = Duration::from_secs(3);

/// Sends `request` (its URI is a path) to the first of `addresses` that accepts a connection.
pub(crate) async fn send(
    addresses: &str,
    default_port: u16,
    mut request: Request<Body>,
    limit: Duration,
) -> Result<Response<Incoming>, Exit> {
    let (stream, address) = connect(addresses, default_port).await?;
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

/// A connection to the first of `addresses` that accepts one, and which that is.
pub(crate) async fn connect(addresses: &str, default_port: u16) -> Result<(TcpStream, String), Exit> {
    let mut refusals = Vec::new();
    for address in addresses.split(',').map(str::trim).filter(|address| !address.is_empty()) {
        let address = with_port(address.trim_start_matches("http://"), default_port);
        match dial(&address).await {
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
    }
}

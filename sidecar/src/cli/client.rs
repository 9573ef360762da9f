//! One HTTP/1.1 call to a node: the addresses are tried in order, the first that accepts a connection is used, and where it begins
//! with `https://` proves itself.

use std::{net::IpAddr, time::Duration};

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

/// A connection to the first of `addresses` that accepts one, and which that is. `tls` is for those that begin with `https://`: with
/// it nothing is said in plain text but on this machine, and a list is never left for one that is less secret.
pub(crate) async fn connect(addresses: &str, default_port: u16, tls: Option<&Tls>) -> Result<(Stream, String), Exit> {
    let given: Vec<&str> = addresses.split(',').map(str::trim).filter(|address| !address.is_empty()).collect();
    check(&given, tls.is_some())?;
    let mut refusals = Vec::new();
    for given in given {
        let secret = given.strip_prefix("https://");
        let address = with_port(secret.unwrap_or(in_plain(given)), default_port);
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

/// Whether what is to be secret stays so at all of these addresses. `believes`: whether there are roots, and so a wish for TLS.
fn check(given: &[&str], believes: bool) -> Result<(), Exit> {
    let (secret, plain): (Vec<&str>, Vec<&str>) = given.iter().partition(|address| address.starts_with("https://"));
    if !secret.is_empty()
        && let Some(plain) = plain.first()
    {
        return Err(Exit::Local(format!(
            "{plain} does not begin with https://, and others do: either all do, or none"
        )));
    }
    match plain.iter().find(|address| believes && !is_here(in_plain(address))) {
        Some(plain) => Err(Exit::Local(format!(
            "{plain} does not begin with https://: with --ca or MESH_GRID_CA nothing is sent in plain text but on this machine"
        ))),
        None => Ok(()),
    }
}

fn in_plain(given: &str) -> &str {
    given.trim_start_matches("http://")
}

/// Names but `localhost` are not here, whatever they are looked up as.
fn is_here(address: &str) -> bool {
    host(&with_port(address, 0)).parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
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
    let address = match address.strip_prefix("localhost") {
        Some(port) if port.is_empty() || port.starts_with(':') => format!("127.0.0.1{port}"),
        _ => address.to_owned(),
    };
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
        assert_eq!(with_port("localhost", 7304), "127.0.0.1:7304");
        assert_eq!(with_port("localhost.example:1", 7304), "localhost.example:1");
        assert_eq!(with_port("my-localhost", 7304), "my-localhost:7304");
        assert_eq!(with_port("[::1]:1", 7304), "[::1]:1");
        assert_eq!(["mesh.example:1", "[::1]:1"].map(host), ["mesh.example", "::1"]);
    }

    #[tokio::test]
    async fn what_is_to_be_secret_is_not_asked_for_in_plain_text() {
        let Err(refused) = connect("https://127.0.0.1:1", 6789, None).await else { panic!("it was") };
        assert!(refused.to_string().contains("TLS"), "{refused}");
    }

    #[test]
    fn with_roots_nothing_goes_elsewhere_in_plain_text_and_a_list_is_all_secret_or_none() {
        let table = [
            ("127.0.0.1:1", true, true),
            ("localhost, http://[::1]:1", true, true),
            ("https://mesh.example,https://10.0.0.1:1", true, true),
            ("mesh.example", true, false),
            ("mesh.example", false, true),
            ("127.0.0.1,10.0.0.1:1", true, false),
            ("localhost.example", true, false),
            ("127.0.0.1:1@mesh.example", true, false),
            ("http://mesh.example", true, false),
            ("HTTPS://mesh.example", true, false),
            ("https://mesh.example,127.0.0.1", true, false),
            ("mesh.example,https://mesh.example", false, false),
        ];
        for (addresses, believes, is_good) in table {
            let given: Vec<&str> = addresses.split(',').map(str::trim).collect();
            assert_eq!(check(&given, believes).is_ok(), is_good, "{addresses}");
        }
    }
}

//! The way to the operator's intake: TLS under the authorities that the configuration names, and the token of this pod.
//!
//! A connection for each call: there are few, and hours lie between them. Address, authorities and token are read anew each time,
//! so that none of them can go stale. What is sent and what an answer means is `crds::intake`'s and the callers' business.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use crds::{
    intake::{Outcome, REPORTS, ROUTES, Report, RouteChange, TOKEN_FILE},
    snapshot::IntakeConfig,
};
use futures::future::BoxFuture;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mesh_core::{
    Code, Live,
    config::{TrustDesk, TrustError},
};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsConnector;

use crate::{
    dial::{self, Address, Given, Patience, Resolver, Unopened},
    tls::provider,
};

/// The operator asks the API server up to four questions, and gives up after 8 s itself.
const PATIENCE: Duration = Duration::from_secs(10);
/// One address that swallows everything leaves time for the next. Straight: the operator is in the same cluster, whatever leads out
/// of it.
const DIAL: Patience = Patience { connect: Duration::from_millis(2500), acknowledge: PATIENCE };
/// An outcome is a sentence.
const LONGEST_ANSWER: usize = 16 * 1024;
/// Tokens have some 2 KiB.
const LONGEST_TOKEN: usize = 16 * 1024;

/// Why the intake brought nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntakeError {
    /// The configuration names no intake.
    #[error("the operator takes no reports: its intake is off")]
    Off,
    /// There is no token.
    #[error("the token of this pod cannot be read: {0}")]
    Token(String),
    /// The intake is not reached.
    #[error("{address}: {reason}")]
    Away {
        /// Where it should be.
        address: String,
        /// What is in the way.
        reason: String,
    },
    /// It answered, and not with an outcome.
    #[error("HTTP {status}: {message}")]
    Status {
        /// What it answered.
        status: u16,
        /// What it said.
        message: String,
    },
}

/// The way to the intake.
pub struct Intake {
    live: Arc<Live>,
    token: PathBuf,
    resolver: Resolver,
}

impl Intake {
    /// Of a process whose configuration lies in `directory`, with the token beside it.
    #[must_use]
    pub fn new(live: Arc<Live>, directory: &std::path::Path) -> Self {
        Self { live, token: directory.join(TOKEN_FILE), resolver: Resolver::default() }
    }

    /// Tells the operator what this process runs on.
    ///
    /// # Errors
    /// Why it did not take it.
    pub async fn report(&self, report: &Report) -> Result<Outcome, IntakeError> {
        self.post(REPORTS, serde_json::to_vec(report).unwrap_or_default()).await
    }

    async fn post(&self, path: &str, body: Vec<u8>) -> Result<Outcome, IntakeError> {
        let place = self.live.load().intake.clone().ok_or(IntakeError::Off)?;
        let token = self.token().await?;
        let away = |reason: String| IntakeError::Away { address: place.address.clone(), reason };
        let exchange = async {
            let (host, stream) = self.connect(&place).await.map_err(away)?;
            let (mut sender, connection) =
                http1::handshake(TokioIo::new(stream)).await.map_err(|e| away(e.to_string()))?;
            let driver = tokio::spawn(connection);
            let request = Request::post(path)
                .header(header::HOST, host)
                .header(header::CONTENT_TYPE, "application/json")
                .header(header::AUTHORIZATION, token)
                .body(Full::new(Bytes::from(body)))
                .map_err(|e| away(e.to_string()))?;
            let answer = sender.send_request(request).await.map_err(|e| away(e.to_string()))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), LONGEST_ANSWER).collect().await;
            driver.abort();
            let body = body.map_err(|_| away("the answer broke off, or is too long".into()))?.to_bytes();
            outcome(status, &body)
        };
        let deadline = Instant::now() + PATIENCE;
        timeout_at(deadline, exchange).await.unwrap_or_else(|_| Err(away("no answer in time".into())))
    }

    /// The kubelet renews it; nobody else may have it in mind.
    async fn token(&self) -> Result<header::HeaderValue, IntakeError> {
        let read = tokio::fs::read_to_string(&self.token).await.map_err(|e| IntakeError::Token(e.to_string()))?;
        if read.len() > LONGEST_TOKEN {
            return Err(IntakeError::Token("it is too long".into()));
        }
        let value = header::HeaderValue::from_str(&format!("Bearer {}", read.trim()));
        let mut value = value.map_err(|_| IntakeError::Token("it is no token".into()))?;
        value.set_sensitive(true);
        Ok(value)
    }

    async fn connect(
        &self,
        place: &IntakeConfig,
    ) -> Result<(String, tokio_rustls::client::TlsStream<TcpStream>), String> {
        let address = Address::parse(&place.address).map_err(|e| e.to_string())?;
        let ips = match place.static_ips.as_slice() {
            [] => self.resolver.resolve(&address.host).await?,
            given => given.to_vec(),
        };
        let connector = TlsConnector::from(Arc::new(trusting(&place.ca)?));
        let name =
            ServerName::try_from(address.host.clone()).map_err(|_| "it cannot be asked for in TLS".to_owned())?;
        let mut last = "its name has no address".to_owned();
        for ip in ips {
            match dial::open(SocketAddr::new(ip, address.port), &[], Given::ByOperator, DIAL).await {
                Ok(tcp) => {
                    let stream = connector.connect(name, tcp).await.map_err(|e| format!("TLS: {e}"))?;
                    return Ok((place.address.clone(), stream));
                }
                Err(Unopened::Refused(reason)) => last = reason,
                Err(Unopened::Forbidden(rule)) => rule.clone_into(&mut last),
                Err(Unopened::Silent) => "it keeps silent".clone_into(&mut last),
            }
        }
        Err(last)
    }
}

impl TrustDesk for Intake {
    fn change<'d>(&'d self, change: &'d RouteChange) -> BoxFuture<'d, Result<(), TrustError>> {
        Box::pin(async move {
            let body = serde_json::to_vec(change).unwrap_or_default();
            let outcome = self.post(ROUTES, body).await.map_err(|e| TrustError::Away { reason: e.to_string() })?;
            let code = Code::parse(&outcome.code).unwrap_or(Code::UNKNOWN);
            if code.is_success() {
                return Ok(());
            }
            Err(TrustError::Refused { code, message: outcome.message })
        })
    }
}

/// Those authorities and no other.
fn trusting(ca: &str) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    for der in mesh_pki::parse_certificates(ca).map_err(|e| format!("the intake's authorities: {e}"))? {
        roots.add(der).map_err(|e| format!("the intake's authorities: {e}"))?;
    }
    let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    Ok(config.map_err(|e| e.to_string())?.with_root_certificates(roots).with_no_client_auth())
}

fn outcome(status: StatusCode, body: &[u8]) -> Result<Outcome, IntakeError> {
    if status == StatusCode::OK {
        let read: Result<Outcome, _> = serde_json::from_slice(body);
        return read.map_err(|e| IntakeError::Status { status: 200, message: format!("no outcome: {e}") });
    }
    let message = String::from_utf8_lossy(body).chars().filter(|c| !c.is_control()).take(256).collect();
    Err(IntakeError::Status { status: status.as_u16(), message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_outcome_is_one() {
        let done = br#"{"code":"E0000000000","message":"noted","later":1}"#;
        assert_eq!(outcome(StatusCode::OK, done).unwrap().code, Outcome::DONE);
        assert!(matches!(outcome(StatusCode::OK, b"<html>"), Err(IntakeError::Status { status: 200, .. })));
        let away = outcome(StatusCode::SERVICE_UNAVAILABLE, b"later\n").unwrap_err();
        assert_eq!(away.to_string(), "HTTP 503: later");
    }

    #[test]
    fn authorities_that_cannot_be_read_are_trusted_with_nothing() {
        assert!(trusting("no PEM").is_err());
    }
}

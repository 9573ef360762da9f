//! New certificates in time: asked of the register plane through the tunnel, for the keys that the node has.

use std::{
    future::Future,
    time::{Duration, SystemTime},
};

use mesh_pki::{CertificateInfo, RequestedKey};
use proto::tunnel::{RenewRequest, enrolment_client::EnrolmentClient};
use rustls_pki_types::ServerName;
use tokio::{io::DuplexStream, time::timeout};
use tokio_rustls::TlsConnector;

use super::{
    Member, dial,
    enrol::{Calls, in_time},
    member::Papers,
    trust::Trust,
};

/// What a certificate has left when it is renewed: the last third of a year (NC section 8).
const LEFT: Duration = Duration::from_secs(365 * 24 * 3600 / 3);
/// How long TLS with the register plane may take.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// Whether a node's certificates are to be renewed. Those of a legacy server cannot be.
pub(super) fn is_due(member: &Member, now: SystemTime) -> bool {
    let ends_soon = |papers: &Papers| {
        CertificateInfo::from_pem(&papers.certificate)
            .is_ok_and(|info| info.not_after.duration_since(now).unwrap_or_default() <= LEFT)
    };
    !member.node.is_empty() && (ends_soon(&member.join) || ends_soon(&member.registered))
}

/// Asks for new certificates on a connection to the register plane.
pub(super) async fn renewed(member: &Member, stream: DuplexStream) -> Result<Member, String> {
    let text = |e: &dyn std::fmt::Display| e.to_string();
    let (host, _) = dial::split(&member.register).ok_or("the register plane's address is not known")?;
    let trust = Trust::authority(&member.registered.authority).map_err(|e| text(&e))?;
    let config = trust.config(Some(&member.registered), &["h2"]).map_err(|e| text(&e))?;
    let name = ServerName::try_from(host.to_owned()).map_err(|e| text(&e))?;
    let shaken = timeout(HANDSHAKE, TlsConnector::from(config).connect(name, stream)).await;
    let stream = shaken.map_err(|e| text(&e))?.map_err(|e| text(&e))?;
    let calls = Calls::begin(stream).await.map_err(|e| text(&e))?;
    let ask = RenewRequest {
        register_request: RequestedKey::ask_for(&member.registered.key).map_err(|e| text(&e))?,
        join_request: RequestedKey::ask_for(&member.join.key).map_err(|e| text(&e))?,
    };
    let origin = super::enrol::origin(host).map_err(|e| text(&e))?;
    let answer =
        in_time(EnrolmentClient::with_origin(calls, origin).renew(ask)).await.map_err(|e| text(&e.message()))?;
    let papers = |authority, certificate, old: &Papers| Papers { authority, certificate, key: old.key.clone() };
    Ok(Member {
        join: papers(answer.join_ca, answer.join_certificate, &member.join),
        registered: papers(answer.register_ca, answer.register_certificate, &member.registered),
        ..member.clone()
    })
}

/// What becomes of a renewal.
pub(super) type Renewing = std::pin::Pin<Box<dyn Future<Output = Result<Member, String>> + Send>>;

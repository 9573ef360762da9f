//! New certificates in time: asked of the register plane through the tunnel, for the keys that the node has.

use std::{
    future::Future,
    net::Ipv4Addr,
    time::{Duration, SystemTime},
};

use mesh_pki::{CertificateInfo, RequestedKey};
use proto::tunnel::{RenewRequest, enrolment_client::EnrolmentClient};
use rustls_pki_types::ServerName;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{
    Member, dial,
    enrol::{Calls, in_time},
    member::Papers,
    trust::Trust,
};
use crate::{authority::Named, seam::Stream};

/// What a certificate has left when it is renewed: the last third of a year (NC section 8).
const LEFT: Duration = Duration::from_secs(365 * 24 * 3600 / 3);
/// How long TLS with the register plane may take.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// Whether a node's certificates are to be renewed: soon they end, or they name another address than the one that it has now. Those
/// of a legacy server cannot be.
pub(super) fn is_due(member: &Member, address: Option<Ipv4Addr>, now: SystemTime) -> bool {
    let is_due = |papers: &Papers| {
        CertificateInfo::from_pem(&papers.certificate).is_ok_and(|info| {
            let named = Named::by(&info).ok().flatten();
            let moved = named.zip(address).is_some_and(|(named, address)| named.address != address);
            moved || info.not_after.duration_since(now).unwrap_or_default() <= LEFT
        })
    };
    !member.is_legacy() && (is_due(&member.join) || is_due(&member.registered))
}

/// Asks for new certificates on a connection to the register plane.
pub(super) async fn renewed(member: &Member, stream: impl Stream + 'static) -> Result<Member, String> {
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
    let renewed = |what: &str, authority, certificate, old: &Papers| {
        let new = Papers { authority, certificate, key: old.key.clone() };
        match replaces(&new, old, SystemTime::now()) {
            Ok(()) => Ok(new),
            Err(why) => Err(format!("what the server gave for the {what} plane cannot be used: {why}")),
        }
    };
    Ok(Member {
        join: renewed("join", answer.join_ca, answer.join_certificate, &member.join)?,
        registered: renewed("register", answer.register_ca, answer.register_certificate, &member.registered)?,
        ..member.clone()
    })
}

/// Whether new papers may take the place of old ones. With any that do not serve at both ends the node would have no way back: so
/// the certificate is of its key, its chain ends in the authority that came with it, and it does not end sooner than the old one.
fn replaces(new: &Papers, old: &Papers, now: SystemTime) -> Result<(), String> {
    let leaf = new.tried(now)?;
    let before = CertificateInfo::from_pem(&old.certificate).map_err(|e| e.to_string())?;
    if leaf.not_after < before.not_after {
        return Err("its certificate ends before the one that it is to replace".into());
    }
    Ok(())
}

/// What becomes of a renewal.
pub(super) type Renewing = std::pin::Pin<Box<dyn Future<Output = Result<Member, String>> + Send>>;

#[cfg(test)]
mod tests {
    use mesh_pki::{PlaneUse, Root};

    use super::*;
    use crate::join::made::{DAY, authority, papers};

    #[test]
    fn an_answer_that_does_not_serve_takes_no_place() {
        let now = SystemTime::now();
        let (root, other) = (authority(now), authority(now));
        let client = |root: &Root, life| papers(root, PlaneUse::Client(None), life, now);
        let old = client(&root, 100 * DAY);
        let new = client(&root, 365 * DAY);
        assert_eq!(replaces(&new, &old, now), Ok(()));
        let table = [
            ("nothing", Papers { certificate: String::new(), ..new.clone() }),
            ("no certificate", Papers { certificate: "-----BEGIN CERTIFICATE-----".into(), ..new.clone() }),
            ("of another key", Papers { key: old.key.clone(), ..new.clone() }),
            ("no authority", Papers { authority: String::new(), ..new.clone() }),
            ("of another authority", Papers { authority: other.certificate_pem().to_owned(), ..new.clone() }),
            ("of a server", papers(&root, PlaneUse::Server(&[]), 365 * DAY, now)),
            ("it ends sooner", client(&root, 99 * DAY)),
        ];
        for (what, bad) in table {
            assert!(replaces(&bad, &old, now).is_err(), "{what}");
        }
        assert!(replaces(&new, &old, now + 366 * DAY).is_err(), "over");
        // A new authority comes with its own certificates; during a change both are there.
        let moved = client(&other, 365 * DAY);
        assert_eq!(replaces(&moved, &old, now), Ok(()));
        let both = format!("{}{}", root.certificate_pem(), other.certificate_pem());
        assert_eq!(replaces(&Papers { authority: both, ..moved }, &old, now), Ok(()));
    }
}

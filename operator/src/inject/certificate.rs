//! Which certificate the webhook has next: pure, with time as a value.
//!
//! An authority of its own signs it. API servers trust a *set* of authorities (`ca.crt`), so that a new one comes in three
//! steps, none of which leaves a call without trust: it joins the set, the set reaches the webhook's configuration and, where there is
//! an intake, the pods (`followed.rs`), and only then does it sign. The old one leaves an hour later: no process shows a certificate of
//! it for longer, since each looks three times a minute.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

use mesh_pki::{
    Algorithm, CertificateInfo, Identity, LeafRequest, Pair, PkiError, PrivateKeyPem, Role, Root, TrustAnchors,
    check_pair, encode_certificate, parse_certificates, renewal_due,
};

/// The authority's life. It is known to one cluster alone and replaced without anybody's help.
const AUTHORITY_LIFE: Duration = Duration::from_secs(5 * 365 * 24 * 3600);
/// The certificate's life.
const LEAF_LIFE: Duration = Duration::from_secs(90 * 24 * 3600);
/// Both are renewed when so many percent of their lives are over.
const RENEW_AT: u8 = 67;
/// Every process has taken a new certificate in by then, by its watch or by its poll.
const OVERLAP: Duration = Duration::from_secs(3600);
/// More authorities than two are of lives that overlapped by hand.
const AUTHORITIES: usize = 4;

/// The Secret's keys.
pub(super) const CA_CRT: &str = "ca.crt";
/// The newest authority's key.
pub(super) const CA_KEY: &str = "ca.key";
/// The certificate.
pub(super) const TLS_CRT: &str = "tls.crt";
/// Its key.
pub(super) const TLS_KEY: &str = "tls.key";

/// What the Secret holds.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// The authorities that are trusted, PEM, the newest first.
    pub(super) authorities_pem: String,
    /// The newest one's key.
    pub(super) authority_key: PrivateKeyPem,
    /// What is shown.
    pub(super) leaf: Pair,
}

/// How far the newest authority has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trusted {
    /// API servers know it.
    Yes,
    /// Not yet, as far as is known.
    NotYet,
}

impl Kept {
    /// Reads the Secret's data; `None` where a part is missing or no text.
    pub(super) fn read(data: &BTreeMap<String, Vec<u8>>) -> Option<Self> {
        let text = |key: &str| Some(std::str::from_utf8(data.get(key)?).ok()?.to_owned());
        Some(Self {
            authorities_pem: text(CA_CRT)?,
            authority_key: PrivateKeyPem::new(text(CA_KEY)?),
            leaf: Pair { chain_pem: text(TLS_CRT)?, key: PrivateKeyPem::new(text(TLS_KEY)?) },
        })
    }

    /// The Secret's data.
    pub(super) fn data(&self) -> BTreeMap<String, Vec<u8>> {
        [
            (CA_CRT, self.authorities_pem.as_str()),
            (CA_KEY, self.authority_key.expose()),
            (TLS_CRT, &self.leaf.chain_pem),
            (TLS_KEY, self.leaf.key.expose()),
        ]
        .map(|(key, text)| (key.to_owned(), text.as_bytes().to_vec()))
        .into()
    }
}

/// What is to be kept from now on; `None`: what is kept is good.
///
/// # Errors
/// A machine without randomness, or names that no certificate can have.
pub(super) fn next(
    kept: Option<&Kept>,
    names: &[String],
    trusted: Trusted,
    now: SystemTime,
) -> Result<Option<Kept>, PkiError> {
    let Some(kept) = kept else { return fresh(names, now).map(Some) };
    let Ok(authority) = newest(kept, now) else {
        // Damaged, or past its end. What is shown is of no use, so there is nothing to be careful about.
        return fresh(names, now).map(Some);
    };
    if renewal_due(authority.info(), RENEW_AT, now) {
        return rolled(kept, now).map(Some);
    }
    let age = now.duration_since(authority.info().not_before).unwrap_or_default();
    let leaf = leaf(kept, names, now);
    let is_own = leaf == Leaf::Good && signed_by(&kept.leaf, &authority, now);
    if !is_own && (leaf != Leaf::Good || trusted == Trusted::Yes) {
        let leaf = issue(&authority, names, now)?;
        return Ok(Some(Kept { leaf, ..kept.clone() }));
    }
    let is_settled = is_own && age > OVERLAP && leaf_age(kept, now) > OVERLAP;
    if is_settled && parse_certificates(&kept.authorities_pem)?.len() > 1 {
        let authorities_pem = authority.certificate_pem().to_owned();
        return Ok(Some(Kept { authorities_pem, ..kept.clone() }));
    }
    Ok(None)
}

/// A new authority joins the set in front; the certificate stays until API servers know it.
///
/// # Errors
/// A machine without randomness.
pub(super) fn rolled(kept: &Kept, now: SystemTime) -> Result<Kept, PkiError> {
    let authority = authority(now)?;
    let mut authorities_pem = authority.certificate_pem().to_owned();
    for der in parse_certificates(&kept.authorities_pem)?.iter().take(AUTHORITIES - 1) {
        authorities_pem.push_str(&encode_certificate(der));
    }
    Ok(Kept { authorities_pem, authority_key: authority.key().clone(), leaf: kept.leaf.clone() })
}

fn fresh(names: &[String], now: SystemTime) -> Result<Kept, PkiError> {
    let authority = authority(now)?;
    let leaf = issue(&authority, names, now)?;
    let authorities_pem = authority.certificate_pem().to_owned();
    Ok(Kept { authorities_pem, authority_key: authority.key().clone(), leaf })
}

fn authority(now: SystemTime) -> Result<Root, PkiError> {
    Root::generate(&identity(), Algorithm::EcdsaP256, AUTHORITY_LIFE, now)
}

fn identity() -> Identity {
    Identity { node_id: "interconn-webhook".into(), name: "Interconn webhook".into() }
}

/// The newest authority with its key.
fn newest(kept: &Kept, now: SystemTime) -> Result<Root, PkiError> {
    let first = parse_certificates(&kept.authorities_pem)?.first().map(|der| encode_certificate(der));
    Root::from_pem(&first.unwrap_or_default(), kept.authority_key.expose(), now)
}

fn issue(authority: &Root, names: &[String], now: SystemTime) -> Result<Pair, PkiError> {
    let (extra_ips, extra_dns): (Vec<_>, Vec<_>) =
        names.iter().map(|name| (name.parse().ok(), name)).partition(|(ip, _)| ip.is_some());
    let request = LeafRequest {
        identity: identity(),
        algorithm: Algorithm::EcdsaP256,
        lifetime: LEAF_LIFE,
        extra_dns: extra_dns.into_iter().map(|(_, name)| name.clone()).collect(),
        extra_ips: extra_ips.into_iter().filter_map(|(ip, _)| ip).collect(),
    };
    authority.issue(&request, now)
}

/// How the certificate fits.
#[derive(PartialEq, Eq)]
enum Leaf {
    /// It holds under one of the authorities and names what it must.
    Good,
    /// It is to be issued again at once.
    Bad,
}

fn leaf(kept: &Kept, names: &[String], now: SystemTime) -> Leaf {
    let is_good = || {
        let info = check_pair(&kept.leaf.chain_pem, kept.leaf.key.expose()).ok()?.into_iter().next()?;
        let anchors = TrustAnchors::from_pems(&[&kept.authorities_pem]).ok()?;
        anchors.verify(&parse_certificates(&kept.leaf.chain_pem).ok()?, Role::Server, now).ok()?;
        let named: BTreeSet<String> =
            info.dns_names.iter().cloned().chain(info.ips.iter().map(ToString::to_string)).collect();
        (names.iter().all(|name| named.contains(name)) && !renewal_due(&info, RENEW_AT, now)).then_some(())
    };
    if is_good().is_some() { Leaf::Good } else { Leaf::Bad }
}

fn signed_by(leaf: &Pair, authority: &Root, now: SystemTime) -> bool {
    let verified = || {
        let anchors = TrustAnchors::from_pems(&[authority.certificate_pem()]).ok()?;
        anchors.verify(&parse_certificates(&leaf.chain_pem).ok()?, Role::Server, now).ok()
    };
    verified().is_some()
}

fn leaf_age(kept: &Kept, now: SystemTime) -> Duration {
    let info = CertificateInfo::from_pem(&kept.leaf.chain_pem);
    info.ok().and_then(|info| now.duration_since(info.not_before).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests;

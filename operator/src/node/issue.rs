//! A leaf from an issuer of the cluster (`certificates.issuerRef`): when to ask, with what, and what is taken of the answer.
//!
//! Pure. `controllers/node/issuer.rs` keeps the key, sends the request, and reads the answer.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use crds::MeshNodeSpec;
use mesh_pki::{
    CertificateInfo, LeafRequest, Pair, PkiError, PrivateKeyPem, Role, TrustAnchors, check_pair, parse_certificates,
    renewal_due,
};

use super::build::leaf_request;

/// After a refusal the issuer may have been put right; asking sooner fills its log.
const AGAIN_AFTER: Duration = Duration::from_secs(3600);

/// How soon an answer is looked for at first.
const LOOK_FIRST: Duration = Duration::from_secs(5);
/// How seldom at last: a whole look at the node, which many nodes of a broken issuer take at the same time.
pub(crate) const LOOK_LAST: Duration = Duration::from_secs(300);

/// What is kept of the dealings with an issuer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    /// The leaf that was issued last.
    pub(crate) pair: Option<Pair>,
    /// The roots that it leads to, PEM.
    pub(crate) ca_pem: String,
    /// The request that is out, and its key.
    pub(crate) asked: Option<Asked>,
}

/// A request that is out.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// PKCS#10, PEM.
    pub(crate) request_pem: String,
    /// Its key.
    pub(crate) key: PrivateKeyPem,
    /// What of the spec stands in it.
    pub(crate) wish: String,
}

/// What the issuer has said to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Nothing yet.
    None,
    /// No, and why.
    Refused(String),
    /// A certificate.
    Issued {
        /// The leaf and what leads to the root.
        chain_pem: String,
        /// The root, where the issuer tells it.
        ca_pem: String,
    },
}

/// What to do next.
#[derive(Debug)]
pub(crate) enum Turn {
    /// The leaf that is kept will do.
    Rest,
    /// Keep this key and request, then send the request.
    Ask(Asked),
    /// Send the request that is kept, or wait for its answer.
    Wait,
    /// The issuer refused, or its answer cannot be used. Why.
    Refused(String),
    /// Keep this leaf and these roots in place of the last.
    Take(Pair, String),
}

/// Decides by what is kept, and what was answered to the request that was sent at `asked_at`.
///
/// # Errors
/// A request that cannot be made.
pub(crate) fn decide(
    spec: &MeshNodeSpec,
    kept: &Kept,
    (answer, asked_at): (&Answer, SystemTime),
    now: SystemTime,
) -> Result<Turn, PkiError> {
    let wanted = leaf_request(spec);
    if kept.pair.as_ref().is_some_and(|pair| is_good(pair, &kept.ca_pem, &wanted, spec, now)) {
        return Ok(Turn::Rest);
    }
    let wish = wish(spec);
    let turn = match (kept.asked.as_ref().filter(|asked| asked.wish == wish), answer) {
        (None, _) => None,
        (Some(_), Answer::None) => Some(Turn::Wait),
        (Some(_), Answer::Refused(why)) => Some(Turn::Refused(why.clone())),
        (Some(asked), Answer::Issued { chain_pem, ca_pem }) => Some(take(asked, chain_pem, ca_pem, &wanted, spec, now)),
    };
    match turn {
        Some(Turn::Refused(_)) if now >= ask_again(asked_at) => {}
        Some(turn) => return Ok(turn),
        None => {}
    }
    let (request_pem, key) = wanted.to_authority()?;
    Ok(Turn::Ask(Asked { request_pem, key, wish }))
}

/// When to look again at a request that was sent at `asked_at` and has no answer. A signer takes seconds, a person's approval
/// does not hurry: the longer it has taken, the longer it may take.
pub(crate) fn next_look(asked_at: SystemTime, now: SystemTime) -> SystemTime {
    let waited = now.duration_since(asked_at).unwrap_or_default();
    now + (waited / 10).clamp(LOOK_FIRST, LOOK_LAST)
}

/// When to ask again after a refusal of what was sent at `asked_at`.
pub(crate) fn ask_again(asked_at: SystemTime) -> SystemTime {
    asked_at + AGAIN_AFTER
}

/// A request for what is no longer wanted is not waited for.
fn wish(spec: &MeshNodeSpec) -> String {
    format!("{} {:?}", spec.address, spec.certificates.algorithm)
}

/// An answer that would not do is a refusal: asking again at once would bring the same.
fn take(
    asked: &Asked,
    chain_pem: &str,
    ca_pem: &str,
    wanted: &LeafRequest,
    spec: &MeshNodeSpec,
    now: SystemTime,
) -> Turn {
    let pair = Pair { chain_pem: chain_pem.to_owned(), key: asked.key.clone() };
    let ca_pem = if ca_pem.trim().is_empty() { top(chain_pem) } else { ca_pem.to_owned() };
    match fault(&pair, &ca_pem, wanted, spec, now) {
        None => Turn::Take(pair, ca_pem),
        Some(fault) => Turn::Refused(fault),
    }
}

/// Some issuers put the root at the chain's end and name none beside it.
fn top(chain_pem: &str) -> String {
    let chain = parse_certificates(chain_pem).unwrap_or_default();
    chain.last().filter(|_| chain.len() > 1).map(|der| mesh_pki::encode_certificate(der)).unwrap_or_default()
}

fn is_good(pair: &Pair, ca_pem: &str, wanted: &LeafRequest, spec: &MeshNodeSpec, now: SystemTime) -> bool {
    fault(pair, ca_pem, wanted, spec, now).is_none()
}

/// Why a leaf cannot be used now.
fn fault(pair: &Pair, ca_pem: &str, wanted: &LeafRequest, spec: &MeshNodeSpec, now: SystemTime) -> Option<String> {
    let infos = match check_pair(&pair.chain_pem, pair.key.expose()) {
        Ok(infos) => infos,
        Err(error) => return Some(format!("certificate and key: {error}")),
    };
    let leaf = infos.first()?;
    let chain = parse_certificates(&pair.chain_pem).unwrap_or_default();
    let led = TrustAnchors::from_pems(&[ca_pem]).map_err(|error| error.to_string());
    let led = led.and_then(|roots| roots.verify(&chain, Role::Server, now).map_err(|problem| problem.to_string()));
    if let Err(problem) = led {
        return Some(format!("the certificate does not lead to the issuer's root: {problem}"));
    }
    if !has_names(leaf, wanted) {
        return Some("the certificate lacks a name that was asked for: allow the issuer to sign it".into());
    }
    let is_due = renewal_due(leaf, spec.certificates.renew_at, now);
    is_due.then(|| "the certificate is due for renewal already: have the issuer give it a longer life".into())
}

/// An issuer may add names.
fn has_names(leaf: &CertificateInfo, wanted: &LeafRequest) -> bool {
    let names: BTreeSet<String> = leaf.dns_names.iter().map(|name| name.to_ascii_lowercase()).collect();
    let own = wanted.identity.dns_name();
    let mut dns = wanted.extra_dns.iter().chain([&own]);
    dns.all(|name| names.contains(&name.to_ascii_lowercase()))
        && wanted.extra_ips.iter().all(|ip| leaf.ips.contains(ip))
}

#[cfg(test)]
mod tests {
    use mesh_pki::{CertificateRequest, Root};

    use super::*;
    use crate::node::sample::{self, days, now, root};

    fn spec() -> MeshNodeSpec {
        sample::node("bank-a", "LX1").spec
    }

    fn turn(kept: &Kept, answer: &Answer) -> Turn {
        decide(&spec(), kept, (answer, now()), now()).unwrap()
    }

    fn asked() -> Kept {
        let Turn::Ask(asked) = turn(&Kept::default(), &Answer::None) else { panic!("it does not ask") };
        Kept { asked: Some(asked), ..Kept::default() }
    }

    fn answer(kept: &Kept, authority: &Root, life: Duration) -> Answer {
        let request = CertificateRequest::from_pem(&kept.asked.as_ref().unwrap().request_pem).unwrap();
        let chain_pem = authority.certify(&request, life, now()).unwrap();
        Answer::Issued { chain_pem, ca_pem: authority.certificate_pem().to_owned() }
    }

    #[test]
    fn a_leaf_is_asked_for_once_taken_and_kept_until_it_is_due() {
        let (authority, kept) = (root("LX9", days(3650)), asked());
        assert!(matches!(turn(&kept, &Answer::None), Turn::Wait));
        let Turn::Take(pair, ca_pem) = turn(&kept, &answer(&kept, &authority, days(30))) else { panic!("not taken") };
        let kept = Kept { pair: Some(pair), ca_pem, asked: None };
        assert!(matches!(turn(&kept, &Answer::None), Turn::Rest));
        let later = decide(&spec(), &kept, (&Answer::None, now()), now() + days(25)).unwrap();
        let Turn::Ask(next) = later else { panic!("{later:?}") };
        assert_ne!(next.key.expose(), kept.pair.unwrap().key.expose(), "a new leaf has a new key");
    }

    #[test]
    fn another_address_asks_for_another_leaf() {
        let (authority, kept) = (root("LX9", days(3650)), asked());
        let Turn::Take(pair, ca_pem) = turn(&kept, &answer(&kept, &authority, days(30))) else { panic!("not taken") };
        let kept = Kept { pair: Some(pair), ca_pem, asked: None };
        let moved = MeshNodeSpec { address: "mesh.bank-a.example:7304".into(), ..spec() };
        for kept in [kept, asked()] {
            assert!(matches!(decide(&moved, &kept, (&Answer::None, now()), now()).unwrap(), Turn::Ask(_)));
        }
    }

    #[test]
    fn a_refusal_is_told_and_asked_again_an_hour_later() {
        let kept = asked();
        let refused = Answer::Refused("not allowed".into());
        assert!(matches!(turn(&kept, &refused), Turn::Refused(why) if why == "not allowed"));
        let later = decide(&spec(), &kept, (&refused, now()), now() + AGAIN_AFTER).unwrap();
        assert!(matches!(later, Turn::Ask(_)), "{later:?}");
    }

    #[test]
    fn an_issuer_that_does_not_answer_is_asked_ever_more_seldom() {
        let after = |waited: u64| {
            let later = now() + Duration::from_secs(waited);
            next_look(now(), later).duration_since(later).unwrap().as_secs()
        };
        assert_eq!([after(0), after(50), after(120), after(600), after(36_000)], [5, 5, 12, 60, 300]);
    }

    #[test]
    fn an_answer_that_would_not_do_is_a_refusal_with_its_reason() {
        let (kept, authority, other) = (asked(), root("LX9", days(3650)), root("LX9", days(3650)));
        let good = answer(&kept, &authority, days(30));
        let Answer::Issued { chain_pem, ca_pem } = good else { panic!() };
        for (chain, ca, part) in [
            (String::new(), ca_pem.clone(), "certificate and key"),
            (chain_pem.clone(), other.certificate_pem().to_owned(), "does not lead to the issuer's root"),
            (chain_pem.clone(), String::new(), "does not lead to the issuer's root"),
            (sample::leaf(&authority, "LX1", days(30)).chain_pem, ca_pem.clone(), "certificate and key"),
        ] {
            let said = turn(&kept, &Answer::Issued { chain_pem: chain, ca_pem: ca });
            assert!(matches!(&said, Turn::Refused(why) if why.contains(part)), "{part}: {said:?}");
        }
        let with_root = Answer::Issued { chain_pem: format!("{chain_pem}{ca_pem}"), ca_pem: String::new() };
        assert!(matches!(turn(&kept, &with_root), Turn::Take(_, ca) if ca == ca_pem));
    }
}

//! The roll of an issued root (design section 3): the next root takes over while partners still trust the last one.
//!
//! The last root certifies the next one, and that cross certificate stays in the chain that we show, and the last root among
//! those that we publish, until the partner of every route is known to trust the next one, or the last one ends. Whether a
//! partner does is told by people, on its route: nothing that it says on the wire tells by which root it took us.

use std::time::SystemTime;

use crds::MeshNodeSpec;
use kube::ResourceExt;
use mesh_pki::{CertificateInfo, Pair, PkiError, Root, TrustAnchors, renewal_time};

use super::{build, found::Issued};

/// On a MeshNode: another value asks for another root.
pub(crate) const ROLL_ROOT: &str = "interconn.dev/roll-root";
/// On a MeshRoute: the sha256 of the root of ours that the partner is known to trust, or how it begins.
pub(crate) const TRUSTS_ROOT: &str = "interconn.dev/trusts-root";

/// Of a root's life, in percent, after which it rolls by itself: of a hundred years the last ten are left to partners.
const ROLL_AT: u8 = 90;
/// As many hex digits as people compare; fewer could be another root's.
pub(crate) const TRUSTS_ROOT_DIGITS: usize = 16;

/// What is to be done about a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Roll {
    /// Nothing.
    Rest,
    /// Another one is asked for, or due.
    Begin,
    /// These routes' partners may still trust the last one only.
    Pending(Pending),
    /// Nobody needs the last one any more.
    End,
}

/// A roll that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    /// The sha256 of the root that is in use now.
    pub(crate) sha256: String,
    /// The routes whose partners are not known to trust it, by name.
    pub(crate) waiting: Vec<String>,
}

/// What the MeshNode or a MeshRoute says under an annotation; nothing where it says nothing.
pub(crate) fn annotation<'r>(resource: &'r impl ResourceExt, name: &str) -> &'r str {
    resource.annotations().get(name).map(String::as_str).unwrap_or_default().trim()
}

/// Decides. `asked` is what the MeshNode's annotation says; `routes` are names, and what each route's annotation says.
pub(crate) fn decide<'r>(
    root: &CertificateInfo,
    kept: &Issued,
    asked: &str,
    routes: impl Iterator<Item = (String, &'r str)>,
    now: SystemTime,
) -> Roll {
    let retired = retired(kept);
    if retired.is_empty() {
        let is_asked = !asked.is_empty() && asked != kept.rolled;
        return if is_asked || now >= due(root) { Roll::Begin } else { Roll::Rest };
    }
    let mut waiting: Vec<String> = routes.filter(|(_, trusts)| !is_named(root, trusts)).map(|(name, _)| name).collect();
    let is_over = waiting.is_empty() || retired.iter().all(|root| root.not_after < now);
    waiting.sort();
    if is_over { Roll::End } else { Roll::Pending(Pending { sha256: root.sha256.clone(), waiting }) }
}

/// When time alone changes the decision: the root is due, or one that it took over from ends.
pub(crate) fn turns(root: &CertificateInfo, kept: &Issued) -> Vec<SystemTime> {
    retired(kept).iter().map(|root| root.not_after).chain([due(root)]).collect()
}

fn due(root: &CertificateInfo) -> SystemTime {
    renewal_time(root.not_before, root.not_after, ROLL_AT)
}

/// Whether people mean this root.
pub(super) fn is_named(root: &CertificateInfo, trusts: &str) -> bool {
    trusts.len() >= TRUSTS_ROOT_DIGITS && root.sha256.starts_with(&trusts.to_ascii_lowercase())
}

/// What cannot be read was written by nobody of us and keeps no roll open.
fn retired(kept: &Issued) -> Vec<CertificateInfo> {
    TrustAnchors::from_pems(&[&kept.retired_pem]).map(|roots| roots.roots().cloned().collect()).unwrap_or_default()
}

/// The next root, with the cross certificate by which partners of `last` take its leaves.
///
/// # Errors
/// Certificates that cannot be made.
pub(crate) fn next(spec: &MeshNodeSpec, last: &Root, asked: &str, now: SystemTime) -> Result<(Root, Issued), PkiError> {
    let root = build::generate(spec, now)?;
    let cross = last.cross_sign(&root, now)?;
    let chain_pem = format!("{}{cross}", root.certificate_pem());
    let kept = Issued {
        pair: Pair { chain_pem, key: root.key().clone() },
        retired_pem: last.certificate_pem().to_owned(),
        rolled: asked.to_owned(),
    };
    Ok((root.with_cross_certificates(&cross)?, kept))
}

/// The root alone: without its cross certificate, and without the one that it took over from.
pub(crate) fn ended(root: &Root, kept: &Issued) -> Issued {
    Issued { pair: build::pair_of(root), retired_pem: String::new(), rolled: kept.rolled.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::sample::{self, days, now, root};

    fn issued(root: &Root, retired: &[&Root], rolled: &str) -> Issued {
        let retired_pem = retired.iter().map(|root| root.certificate_pem()).collect();
        Issued { pair: build::pair_of(root), retired_pem, rolled: rolled.into() }
    }

    #[test]
    fn a_root_rolls_when_it_is_asked_to_and_once_for_each_value() {
        let root = root("LX1", days(3650));
        let decide =
            |rolled: &str, asked| decide(root.info(), &issued(&root, &[], rolled), asked, [].into_iter(), now());
        assert_eq!(decide("", ""), Roll::Rest);
        assert_eq!(decide("", "2026-11"), Roll::Begin);
        assert_eq!(decide("2026-11", "2026-11"), Roll::Rest);
        assert_eq!(decide("2026-11", ""), Roll::Rest, "the annotation was taken away");
        assert_eq!(decide("2026-11", "2026-12"), Roll::Begin);
    }

    #[test]
    fn a_root_rolls_by_itself_before_it_ends() {
        let root = root("LX1", days(100));
        let at = |day| decide(root.info(), &issued(&root, &[], ""), "", [].into_iter(), now() + days(day));
        assert_eq!((at(80), at(95)), (Roll::Rest, Roll::Begin));
    }

    #[test]
    fn a_roll_is_pending_until_every_partner_is_known_to_trust_the_next_root_or_the_last_one_ends() {
        let (next, last) = (root("LX1", days(3650)), root("LX1", days(30)));
        let kept = issued(&next, &[&last], "1");
        let sum = next.info().sha256.clone();
        let upper = sum[..16].to_ascii_uppercase();
        let decide = |b: &str, c: &str, day| {
            let routes = [("c".to_owned(), c), ("b".to_owned(), b)];
            decide(next.info(), &kept, "2", routes.into_iter(), now() + days(day))
        };
        let pending = |names: &[&str]| {
            let waiting = names.iter().map(|name| (*name).to_owned()).collect();
            Roll::Pending(Pending { sha256: sum.clone(), waiting })
        };
        assert_eq!(decide("", "", 0), pending(&["b", "c"]), "another roll waits for the end of this one");
        assert_eq!(decide(&sum, &sum[..15], 0), pending(&["c"]), "too short to say which");
        assert_eq!(decide(&sum, &last.info().sha256, 0), pending(&["c"]));
        assert_eq!(decide(&sum, &upper, 0), Roll::End);
        assert_eq!(decide("", "", 31), Roll::End, "nobody takes the last one any more");
    }

    #[test]
    fn who_trusts_the_last_root_takes_the_leaves_of_the_next_one() {
        let (spec, last) = (sample::node("a", "LX1").spec, root("LX1", days(3650)));
        let (next, kept) = next(&spec, &last, "1", now()).unwrap();
        // As the next pass reads it.
        let read = Root::from_pem(&kept.pair.chain_pem, kept.pair.key.expose(), now()).unwrap();
        assert_eq!(read.info(), next.info());
        for root in [&next, &read] {
            let leaf = root.issue(&build::leaf_request(&spec), now()).unwrap();
            let chain = mesh_pki::parse_certificates(&leaf.chain_pem).unwrap();
            for trusted in [&last, &next] {
                let anchors = TrustAnchors::from_pems(&[trusted.certificate_pem()]).unwrap();
                assert_eq!(anchors.verify(&chain, mesh_pki::Role::Server, now()), Ok(()));
            }
        }
        assert_eq!(kept.retired_pem, last.certificate_pem());
        let ended = ended(&read, &kept);
        assert_eq!((ended.pair.chain_pem.as_str(), ended.retired_pem.as_str()), (next.certificate_pem(), ""));
        assert_eq!(ended.rolled, "1");
    }
}

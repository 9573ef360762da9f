//! An issued root that is gone: it is never replaced in silence, because every partner would refuse the new one.
//!
//! That there was one is read off what was published of the node. A root of the user's does not carry the node's name as
//! ours do, so that a node may leave it for an issued one.

use kube::ResourceExt;
use mesh_pki::{CertificateInfo, TrustAnchors};

use super::Credentials;
use crate::node::{
    Found, Problem,
    names::root_name,
    roll::{TRUSTS_ROOT_DIGITS, annotation, is_named},
};

/// On a MeshNode: the sha256 of the lost root that need not come back, or how it begins. It names one root, so that the next
/// one to be lost is missed again.
pub(crate) const NEW_ROOT: &str = "interconn.dev/new-root";

/// Refuses a node that would get another root though it had one.
pub(super) fn refuse_silent_successor(credentials: Credentials, found: &Found) -> Result<Credentials, Problem> {
    match (&credentials, last_root(found)) {
        (Credentials::Issued(None), Some(lost)) if !is_named(&lost, annotation(&*found.node, NEW_ROOT)) => {
            let node = &found.node;
            Err(Problem::RootMissing {
                secret: root_name(&node.namespace().unwrap_or_else(|| "default".into()), &node.name_any()),
                node: node.name_any(),
                digits: lost.sha256[..TRUSTS_ROOT_DIGITS.min(lost.sha256.len())].to_owned(),
            })
        }
        _ => Ok(credentials),
    }
}

/// The root of our making that partners were given last.
fn last_root(found: &Found) -> Option<CertificateInfo> {
    let published = TrustAnchors::from_pems(&[&found.published_pem]).ok()?;
    published.roots().find(|root| root.names_node(&found.node.spec.node_id)).cloned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mesh_pki::Root;

    use super::*;
    use crate::node::{
        build, sample,
        sample::{days, now, root},
        validate::all,
    };

    fn found(published: &Root, annotated: &str) -> Found {
        let mut node = sample::node("bank-a", "LX1");
        node.annotations_mut().insert(NEW_ROOT.into(), annotated.into());
        Found { published_pem: published.certificate_pem().to_owned(), ..sample::found(node, Vec::new()) }
    }

    #[test]
    fn a_root_that_partners_trust_and_that_is_gone_is_not_replaced() {
        let refused = all(&found(&root("LX1", days(99)), ""), now()).node.unwrap_err().remove(0);
        assert_eq!(refused.reason(), "RootMissing");
        assert!(refused.to_string().contains("restore Secret mesh-root.privacy.bank-a"), "{refused}");
    }

    #[test]
    fn who_names_the_lost_root_begins_anew_once() {
        let (lost, next) = (root("LX1", days(99)), root("LX1", days(99)));
        let digits = &lost.info().sha256[..16];
        assert!(build::node(&all(&found(&lost, digits), now()), now()).unwrap().unwrap().new_root.is_some());
        let again = all(&found(&next, digits), now()).node.unwrap_err().remove(0);
        assert_eq!(again.reason(), "RootMissing", "the annotation spoke of another one");
    }

    #[test]
    fn a_new_node_and_one_that_leaves_the_users_root_get_one() {
        let nothing_yet = Found { published_pem: String::new(), ..found(&root("LX1", days(99)), "") };
        for found in [nothing_yet, found(&root("LX9", days(99)), "")] {
            assert!(all(&found, now()).node.is_ok());
        }
        let mut kept = found(&root("LX1", days(99)), "");
        kept.root = Some(build::pair_of(&root("LX1", days(99))).into());
        kept.node = Arc::new(sample::node("bank-a", "LX1"));
        assert!(all(&kept, now()).node.is_ok(), "one that is there is not missed");
    }
}

//! What sidecars prove themselves with to their gateway (design section 4, members of the node): a root that is published
//! nowhere, so that no partner takes a member for the node, and one pair under it that all sidecars share.

use std::time::SystemTime;

use crds::MeshNodeSpec;
use mesh_pki::{Algorithm, LeafRequest, Pair, PkiError, Root};

use super::{ROOT_LIFETIME, identity, leaf, leaf::Leaf, pair_of};
use crate::node::found::FoundGateway;

/// The members' root and pair.
#[derive(Debug)]
pub(crate) struct Members {
    /// What the gateway takes members by, PEM.
    pub(super) roots_pem: String,
    /// A root that was made now. It must be kept before anything else is written.
    pub(crate) new_root: Option<Pair>,
    /// What sidecars show.
    pub(crate) leaf: Leaf,
}

/// Keeps root and pair, or issues what no longer does. A root that cannot be used is replaced, unlike the node's own: nobody
/// outside trusts it, and sidecars get their new pair together with the gateway's new roots.
pub(super) fn settle(spec: &MeshNodeSpec, found: &FoundGateway, now: SystemTime) -> Result<Members, PkiError> {
    let kept = found.member_root.as_ref();
    let kept = kept.and_then(|pair| Root::from_pem(&pair.chain_pem, pair.key.expose(), now).ok());
    let (root, new_root) = match kept.filter(|root| root.info().names_node(&spec.node_id)) {
        Some(root) => (root, None),
        None => {
            let root = Root::generate(&identity(spec), Algorithm::EcdsaP256, ROOT_LIFETIME, now)?;
            let pair = pair_of(&root);
            (root, Some(pair))
        }
    };
    let leaf = leaf::settle(&request(spec), spec, &root, found.member.as_ref(), now)?;
    Ok(Members { roots_pem: root.certificate_pem().to_owned(), new_root, leaf })
}

/// Small keys whatever partners want: only our own programs see this pair. It has no other name than the node's, because
/// nobody dials a sidecar.
fn request(spec: &MeshNodeSpec) -> LeafRequest {
    LeafRequest {
        identity: identity(spec),
        algorithm: Algorithm::EcdsaP256,
        lifetime: spec.certificates.leaf_lifetime.get(),
        extra_dns: Vec::new(),
        extra_ips: Vec::new(),
    }
}

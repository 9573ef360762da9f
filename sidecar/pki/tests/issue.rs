//! What is issued holds: for a verifier of the root, for the reader of its shape, over a root roll.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mesh_pki::{Algorithm, Identity, LeafRequest, Role, Root, TrustAnchors, check_pair, parse_certificates};

fn identity() -> Identity {
    Identity { node_id: "LX0000010000280".into(), name: "互联互通节点X".into() }
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

fn request(algorithm: Algorithm) -> LeafRequest {
    LeafRequest { identity: identity(), algorithm, lifetime: YEAR, extra_dns: vec![], extra_ips: vec![] }
}

#[test]
fn a_leaf_of_a_generated_root_holds_for_whoever_trusts_the_root() {
    for (of_root, of_leaf) in [(Algorithm::EcdsaP256, Algorithm::EcdsaP256), (Algorithm::Rsa2048, Algorithm::Rsa2048)] {
        let root = Root::generate(&identity(), of_root, 10 * YEAR, now()).unwrap();
        let pair = root.issue(&request(of_leaf), now()).unwrap();
        check_pair(&pair.chain_pem, pair.key.expose()).unwrap();
        let chain = parse_certificates(&pair.chain_pem).unwrap();
        let anchors = TrustAnchors::from_pems(&[root.certificate_pem()]).unwrap();
        assert_eq!(anchors.verify(&chain, Role::Client, now()), Ok(()));
        assert_eq!(anchors.verify(&chain, Role::Server, now()), Ok(()));
    }
}

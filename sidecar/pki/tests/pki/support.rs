//! Shared set-up: a fixed time, fixed identities, and keys that are made once because RSA takes its time.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mesh_pki::{Algorithm, CertificateDer, Identity, LeafRequest, Root, TrustAnchors, parse_certificates};

pub(crate) const SAMPLE_ROOT: &str = include_str!("fixtures/sample-root.crt");
pub(crate) const SAMPLE_KEY: &str = include_str!("fixtures/sample-root.key");
pub(crate) const SAMPLE_KEY_PKCS8: &str = include_str!("fixtures/sample-root.pkcs8.key");
pub(crate) const CORPORATE_ROOT: &str = include_str!("fixtures/corporate-root.crt");
pub(crate) const CORPORATE_KEY: &str = include_str!("fixtures/corporate-root.key");
pub(crate) const INTERMEDIATE: &str = include_str!("fixtures/intermediate.crt");
pub(crate) const INTERMEDIATE_KEY: &str = include_str!("fixtures/intermediate.key");
pub(crate) const LONE: &str = include_str!("fixtures/lone.crt");
pub(crate) const LONE_SEC1: &str = include_str!("fixtures/lone.sec1.key");
pub(crate) const LONE_PKCS8: &str = include_str!("fixtures/lone.pkcs8.key");
pub(crate) const ED25519: &str = include_str!("fixtures/ed25519.key");
pub(crate) const ENCRYPTED: &str = include_str!("fixtures/encrypted.key");

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);
pub(crate) const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

pub(crate) const NODE: &str = "LX0000010000280";

/// One root of each kind of key, ten years long.
pub(crate) static EC_ROOT: LazyLock<Root> = LazyLock::new(|| root(Algorithm::EcdsaP256));
pub(crate) static RSA_ROOT: LazyLock<Root> = LazyLock::new(|| root(Algorithm::Rsa2048));

/// 2027-01-15T08:00:00Z: within the life of every fixture.
pub(crate) fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

pub(crate) fn identity() -> Identity {
    Identity { node_id: NODE.into(), name: "互联互通节点X".into() }
}

pub(crate) fn root(algorithm: Algorithm) -> Root {
    Root::generate(&identity(), algorithm, 10 * YEAR, now()).unwrap()
}

/// A leaf of thirty days; tests change what they are about.
pub(crate) fn request() -> LeafRequest {
    LeafRequest {
        identity: identity(),
        algorithm: Algorithm::EcdsaP256,
        lifetime: 30 * DAY,
        extra_dns: Vec::new(),
        extra_ips: Vec::new(),
    }
}

pub(crate) fn chain(pem: &str) -> Vec<CertificateDer<'static>> {
    parse_certificates(pem).unwrap()
}

/// The chain of a fresh leaf.
pub(crate) fn leaf_of(root: &Root) -> Vec<CertificateDer<'static>> {
    chain(&root.issue(&request(), now()).unwrap().chain_pem)
}

pub(crate) fn trusting(pems: &[&str]) -> TrustAnchors {
    TrustAnchors::from_pems(pems).unwrap()
}

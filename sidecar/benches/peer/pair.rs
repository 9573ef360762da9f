//! The certificates of the peers that speak mutual TLS: one root, one leaf that both sides show.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use anyhow::Result;
use mesh_pki::{Algorithm, Identity, LeafRequest, Root};

use crate::work::folder;

/// The name that the leaf speaks for.
pub(crate) const NAME: &str = "bench.trustbe.cn";

/// A day outlives every run.
const LIFE: Duration = Duration::from_secs(24 * 3600);

/// Writes `root.pem`, `chain.pem` and `key.pem` into a folder.
pub(crate) fn pair() -> Result<PathBuf> {
    let (home, now) = (folder("pair")?, SystemTime::now());
    let identity = Identity { node_id: "bench".to_owned(), name: "bench".to_owned() };
    let root = Root::generate(&identity, Algorithm::EcdsaP256, LIFE * 2, now)?;
    let request = LeafRequest {
        identity,
        algorithm: Algorithm::EcdsaP256,
        lifetime: LIFE,
        extra_dns: Vec::new(),
        extra_ips: Vec::new(),
    };
    let leaf = root.issue(&request, now)?;
    fs::write(home.join("root.pem"), root.certificate_pem())?;
    fs::write(home.join("chain.pem"), &leaf.chain_pem)?;
    fs::write(home.join("key.pem"), leaf.key.expose())?;
    Ok(home)
}

//! The certificates of a test cluster: one authority, one pair for each program, and a kubeconfig for each client.

use std::path::PathBuf;

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use serde_json::json;
use time::{Duration, OffsetDateTime};

use super::state::State;

/// A cluster lives for a test run; a day is enough even for one that somebody keeps to look at.
const LIFE: Duration = Duration::DAY;

/// The authority of one cluster. Writes into `pki/` and `etc/` of its folder.
pub struct Authority {
    state: State,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

fn params(name: &str, names: &[&str]) -> Result<CertificateParams> {
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let mut params = CertificateParams::new(names)?;
    params.not_before = OffsetDateTime::now_utc() - Duration::HOUR;
    params.not_after = OffsetDateTime::now_utc() + LIFE;
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

impl Authority {
    /// A new authority, with the key pair for service account tokens beside it.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn create(state: &State) -> Result<Self> {
        let mut root = params("e2e-ca", &[])?;
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(root, KeyPair::generate()?)?;
        state.write("pki/ca.crt", &issuer.pem())?;
        state.write("pki/ca.key", &issuer.key().serialize_pem())?;
        let tokens = KeyPair::generate()?;
        state.write("pki/sa.key", &tokens.serialize_pem())?;
        state.write("pki/sa.pub", &tokens.public_key_pem())?;
        Ok(Self { state: state.clone(), issuer })
    }

    /// `pki/FILE.crt` and `pki/FILE.key` for the subject `group`/`name`, valid for the addresses `names`.
    ///
    /// # Errors
    /// When a name is none or a file cannot be written.
    pub fn pair(&self, file: &str, group: Option<&str>, name: &str, names: &[&str]) -> Result<()> {
        let mut leaf = params(name, names)?;
        if let Some(group) = group {
            leaf.distinguished_name.push(DnType::OrganizationName, group);
        }
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        self.state.write(&format!("pki/{file}.crt"), &leaf.signed_by(&key, &self.issuer)?.pem())?;
        self.state.write(&format!("pki/{file}.key"), &key.serialize_pem())
    }

    /// A client's pair and the `etc/FILE.kubeconfig` that uses it.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn client(&self, server: &str, file: &str, group: Option<&str>, name: &str) -> Result<PathBuf> {
        self.pair(file, group, name, &[])?;
        let pki = |file: String| self.state.text(&format!("pki/{file}"));
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "e2e",
            "clusters": [{"name": "e2e", "cluster": {"server": server, "certificate-authority": pki("ca.crt".into())}}],
            "users": [{"name": name, "user": {
                "client-certificate": pki(format!("{file}.crt")), "client-key": pki(format!("{file}.key"))}}],
            "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": name}}],
        });
        let path = format!("etc/{file}.kubeconfig");
        self.state.write(&path, &config.to_string())?;
        Ok(self.state.path(&path))
    }
}

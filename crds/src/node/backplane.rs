//! What several gateways of one node share their work over.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ByteSize, ConfigMapKeyRef, LocalRef, SecretKeyRef, Violation,
    law::{self, Law},
    pattern,
};

/// What several gateways of one node share their work over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Backplane {
    /// NATS with JetStream, as the user already runs it.
    pub nats: Nats,
}

/// A NATS with JetStream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = law::write(LAWS))]
pub struct Nats {
    /// One server or several, with commas between: `nats://a:4222,nats://b:4222`; `tls://` asks for TLS. Credentials stand in a
    /// Secret, never here.
    #[schemars(length(min = 1, max = 1024), regex(pattern = pattern::NATS))]
    pub url: String,
    /// A Secret with a credentials file of the NATS tools, or `user:password`, or a token; absent key: `nats.creds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretKeyRef>,
    /// TLS to the servers; absent: as the URL says, with the system's roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<NatsTls>,
    /// The JetStream domain, where the servers are leaf nodes; empty: none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64), regex(pattern = pattern::KEY_OR_EMPTY))]
    pub jetstream_domain: String,
    /// How many servers keep each stream: 1, 3 or 5.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 5))]
    pub replicas: u8,
    /// Where the servers keep the streams.
    #[serde(default)]
    pub storage: NatsStorage,
    /// What the streams of this node may hold; absent: as much as the servers allow the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<ByteSize>,
}

impl Nats {
    /// These servers, and every setting at its default.
    #[must_use]
    pub fn at(url: &str) -> Self {
        Self {
            url: url.into(),
            credentials_secret_ref: None,
            tls: None,
            jetstream_domain: String::new(),
            replicas: one(),
            storage: NatsStorage::default(),
            max_bytes: None,
        }
    }
}

fn one() -> u8 {
    1
}

/// TLS to the servers of NATS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NatsTls {
    /// The roots that the servers' certificates must chain to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_config_map_ref: Option<ConfigMapKeyRef>,
    /// A Secret with a pair to show to the servers: `tls.crt` and `tls.key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate_secret_ref: Option<LocalRef>,
    /// The name that the servers' certificates must carry; empty: the URL's host.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253), regex(pattern = pattern::HOST_OR_EMPTY))]
    pub server_name: String,
}

/// Where the servers of NATS keep streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NatsStorage {
    /// On disk.
    #[default]
    File,
    /// In memory.
    Memory,
}

/// The laws of [`Nats`].
const LAWS: &[Law<Nats>] = &[Law {
    field: ".replicas",
    cel: "self.replicas in [1, 3, 5]",
    message: "must be 1, 3 or 5: a stream needs a majority",
    holds: |n| matches!(n.replicas, 1 | 3 | 5),
}];

impl Backplane {
    pub(crate) fn judge(&self, path: &str, broken: &mut Vec<Violation>) {
        law::judge(LAWS, &self.nats, &format!("{path}.nats"), broken);
    }
}

/// What the gateways show to NATS, as it lies in a snapshot's directory: credentials, and a pair. None of the backplane's files is
/// named in the manifest, like the keys of other rooms: an older sidecar would ask for what its Secret does not have.
pub const BACKPLANE_CREDENTIALS: &str = "backplane.creds";
/// The pair that is shown to the servers.
pub const BACKPLANE_PAIR: (&str, &str) = ("backplane.crt", "backplane.key");
/// What the servers' certificates must chain to.
pub const BACKPLANE_CA: &str = "backplane-ca.crt";

/// Whether a file of the snapshot is of these.
#[must_use]
pub fn is_of_backplane(file: &str) -> bool {
    [BACKPLANE_CREDENTIALS, BACKPLANE_PAIR.0, BACKPLANE_PAIR.1, BACKPLANE_CA].contains(&file)
}

/// What a backplane's references lead to. `Debug` shows nothing of it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct BackplaneSecrets {
    /// The text of a credentials file, or `user:password`, or a token.
    pub credentials: Option<String>,
    /// The roots that the servers' certificates must chain to, PEM; `None`: the machine's.
    pub roots: Option<String>,
    /// A chain and its key for the servers, PEM.
    pub pair: Option<(String, String)>,
}

/// What a backplane refers to, and what it is called in a snapshot's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackplaneNeed<'n> {
    /// The Secret or ConfigMap.
    pub object: &'n str,
    /// Whether it is a ConfigMap.
    pub is_config_map: bool,
    /// The key in it.
    pub key: &'n str,
    /// The field that refers to it.
    pub field: &'static str,
    /// The file in the snapshot's directory.
    pub file: &'static str,
}

impl BackplaneSecrets {
    /// Reads all that a backplane refers to.
    ///
    /// # Errors
    /// What `read` says of the first that is not there.
    pub fn read<E>(
        backplane: &Backplane,
        mut read: impl FnMut(BackplaneNeed<'_>) -> Result<String, E>,
    ) -> Result<Self, E> {
        let nats = &backplane.nats;
        let mut secret =
            |object, key, field, file| read(BackplaneNeed { object, is_config_map: false, key, field, file });
        let credentials = nats.credentials_secret_ref.as_ref().map(|found| {
            let key = if found.key.is_empty() { "nats.creds" } else { found.key.as_str() };
            secret(&found.name, key, "spec.backplane.nats.credentialsSecretRef", BACKPLANE_CREDENTIALS)
        });
        let credentials = credentials.transpose()?;
        let tls = nats.tls.as_ref();
        let pair = tls.and_then(|tls| tls.client_certificate_secret_ref.as_ref()).map(|found| {
            let mut half =
                |key, file| secret(&found.name, key, "spec.backplane.nats.tls.clientCertificateSecretRef", file);
            Ok((half("tls.crt", BACKPLANE_PAIR.0)?, half("tls.key", BACKPLANE_PAIR.1)?))
        });
        let pair = pair.transpose()?;
        let roots = tls.and_then(|tls| tls.ca_config_map_ref.as_ref()).map(|found| {
            let (object, key) = (found.name.as_str(), found.key.as_str());
            let field = "spec.backplane.nats.tls.caConfigMapRef";
            read(BackplaneNeed { object, is_config_map: true, key, field, file: BACKPLANE_CA })
        });
        Ok(Self { credentials, roots: roots.transpose()?, pair })
    }

    /// The files, with what stands in them.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let pair = self
            .pair
            .iter()
            .flat_map(|(chain, key)| [(BACKPLANE_PAIR.0, chain.as_str()), (BACKPLANE_PAIR.1, key.as_str())]);
        let credentials = self.credentials.iter().map(|text| (BACKPLANE_CREDENTIALS, text.as_str()));
        credentials.chain(pair).chain(self.roots.iter().map(|roots| (BACKPLANE_CA, roots.as_str())))
    }
}

impl fmt::Debug for BackplaneSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BackplaneSecrets")
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use serde_json::json;

    use super::*;

    #[test]
    fn whatever_it_refers_to_is_read_kept_as_files_and_shown_to_nobody() {
        let read = |nats| {
            let backplane: Backplane = serde_json::from_value(json!({"nats": nats})).unwrap();
            let mut asked = Vec::new();
            let secrets = BackplaneSecrets::read(&backplane, |need| {
                asked.push(format!("{}/{}", need.object, need.key));
                Ok::<_, Infallible>(format!("of {}", need.file))
            });
            (asked, secrets.unwrap())
        };
        let tls = json!({"caConfigMapRef": {"name": "ca"}, "clientCertificateSecretRef": {"name": "pair"}});
        let (asked, all) = read(json!({"url": "tls://n:4222", "credentialsSecretRef": {"name": "nats"}, "tls": tls}));
        assert_eq!(asked, ["nats/nats.creds", "pair/tls.crt", "pair/tls.key", "ca/ca.crt"]);
        let files: Vec<_> = all.files().collect();
        assert_eq!(files.len(), 4);
        assert!(files.iter().all(|(file, text)| is_of_backplane(file) && *text == format!("of {file}")), "{files:?}");
        assert_eq!(format!("{all:?}"), "BackplaneSecrets");
        let (asked, none) = read(json!({"url": "nats://n:4222", "tls": {"serverName": "nats.example"}}));
        assert!(asked.is_empty() && none.files().next().is_none());
    }
}

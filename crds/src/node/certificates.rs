//! Where a node's certificates come from, and how long they live.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    LocalRef, Span, Violation,
    law::{self, Law},
    pattern,
};

/// Where certificates come from: an issued root unless one of the references is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = law::write(LAWS))]
pub struct Certificates {
    /// The kind of key of the root and of its leaves.
    pub algorithm: KeyAlgorithm,
    /// How long a leaf lives.
    pub leaf_lifetime: Span,
    /// The share of a leaf's life, in percent, after which it is renewed.
    #[schemars(range(min = 10, max = 95))]
    pub renew_at: u8,
    /// Whether the issued root outlives the MeshNode.
    pub root_deletion_policy: DeletionPolicy,
    /// A Secret with the user's root: `tls.crt` and `tls.key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_secret_ref: Option<LocalRef>,
    /// A Secret with the user's leaf and chain, and no root key: `tls.crt`, `tls.key`, `ca.crt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaf_secret_ref: Option<LocalRef>,
    /// A cert-manager issuer that signs the leaves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer_ref: Option<IssuerRef>,
}

impl Default for Certificates {
    fn default() -> Self {
        Self {
            algorithm: KeyAlgorithm::EcdsaP256,
            leaf_lifetime: Span::hours(720),
            renew_at: 67,
            root_deletion_policy: DeletionPolicy::Retain,
            root_secret_ref: None,
            leaf_secret_ref: None,
            issuer_ref: None,
        }
    }
}

/// The kinds of key that certificates are made with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KeyAlgorithm {
    /// ECDSA on the curve P-256.
    #[default]
    #[serde(rename = "ECDSA_P256")]
    EcdsaP256,
    /// RSA with 2048 bits, which other servers of PTP/1.0 need for weaving.
    #[serde(rename = "RSA_2048")]
    Rsa2048,
}

/// What becomes of an object that the operator made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// It stays.
    #[default]
    Retain,
    /// It goes with the MeshNode.
    Delete,
}

/// An issuer of cert-manager, or of a signer that answers its CertificateRequests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IssuerRef {
    /// The issuer's name.
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::OBJECT))]
    pub name: String,
    /// `Issuer`, `ClusterIssuer`, or the kind of an external issuer.
    #[serde(default = "issuer")]
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// The API group of the kind.
    #[serde(default = "cert_manager")]
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::OBJECT))]
    pub group: String,
}

fn issuer() -> String {
    "Issuer".into()
}

fn cert_manager() -> String {
    "cert-manager.io".into()
}

/// The laws of [`Certificates`].
const LAWS: &[Law<Certificates>] = &[
    Law {
        field: "",
        cel: "[has(self.rootSecretRef), has(self.leafSecretRef), has(self.issuerRef)].filter(given, given).size() <= 1",
        message: "give at most one of rootSecretRef, leafSecretRef and issuerRef",
        holds: |c| {
            let given = [c.root_secret_ref.is_some(), c.leaf_secret_ref.is_some(), c.issuer_ref.is_some()];
            given.into_iter().filter(|given| *given).count() <= 1
        },
    },
    Law {
        field: ".leafLifetime",
        cel: "duration(self.leafLifetime) >= duration('1h') && duration(self.leafLifetime) <= duration('87600h')",
        message: "must be between 1h and 87600h (ten years)",
        holds: |c| c.leaf_lifetime >= Span::hours(1) && c.leaf_lifetime <= Span::hours(87_600),
    },
];

impl Certificates {
    pub(crate) fn judge(&self, path: &str, broken: &mut Vec<Violation>) {
        law::judge(LAWS, self, path, broken);
    }
}

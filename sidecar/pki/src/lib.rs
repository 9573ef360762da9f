//! Roots, leaves, chains and their rotation.
//!
//! A pure core for everybody who handles certificates: the sidecar, its network room, and the operator. Time comes in as a
//! value; the only effect is the random source that makes keys and serial numbers. It opens no file, holds no socket, and
//! decides nothing about who may call what: it answers whose certificate this is and whether it holds.
//!
//! | file | what it is for |
//! |---|---|
//! | `identity.rs` | the names that a node carries in its certificates |
//! | `root.rs`, `leaf.rs`, `life.rs` | a root: generated or brought along; what a leaf is asked for; how long they live |
//! | `request.rs` | what others ask a certificate for, with a key of their own |
//! | `plane.rs` | the authorities, servers and clients of a network controller |
//! | `body.rs`, `extensions.rs`, `der.rs` | how a certificate is written |
//! | `key.rs`, `secret.rs` | keys that sign, and their text that must not leak |
//! | `armor.rs` | PEM in and out |
//! | `info.rs`, `pair.rs` | what a certificate says; whether key and chain belong together |
//! | `trust.rs`, `names.rs`, `verdict.rs`, `problem.rs` | whether a peer's chain holds, and what to do when it does not |
//! | `statement.rs` | what a node says under its certificate outside of TLS |
//! | `renewal.rs` | when to renew |

mod armor;
mod body;
mod der;
mod error;
mod extensions;
mod identity;
mod info;
mod key;
mod leaf;
mod life;
mod names;
mod pair;
mod plane;
mod problem;
mod renewal;
mod request;
mod root;
mod secret;
mod statement;
mod trust;
mod verdict;

pub use armor::{encode_certificate, parse_certificates, parse_key};
pub use error::{PkiError, PkiErrorKind};
pub use identity::{Identity, node_dns_name, node_of_dns_name};
pub use info::CertificateInfo;
pub use key::Algorithm;
pub use leaf::LeafRequest;
pub use names::require_name;
pub use pair::check_pair;
pub use plane::{PlaneSubject, PlaneUse};
pub use problem::ChainProblem;
pub use renewal::{renewal_due, renewal_time};
pub use request::{CertificateRequest, RequestedKey};
pub use root::Root;
pub use rustls_pki_types::{CertificateDer, PrivateKeyDer};
pub use secret::{Pair, PrivateKeyPem};
pub use statement::{require_signed, sign_statement};
pub use trust::{Role, TrustAnchors};

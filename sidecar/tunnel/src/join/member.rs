//! What a node was given when it joined, and the file that keeps it: one, so that it is there whole or not at all, and its owner's
//! alone.

use std::{
    fmt, fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use mesh_core::private::{self, NotPrivate};
use mesh_pki::{CertificateInfo, Role, TrustAnchors, check_pair, parse_certificates};
use serde::{Deserialize, Serialize};

use super::JoinError;
use crate::legacy::LegacyClient;

/// The file in the node's folder.
const FILE: &str = "node.json";

/// A node of a network controller.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// What the header `Node-Token` carries.
    pub(super) token: String,
    /// What the server calls it; empty: a legacy server, which says nothing.
    #[serde(default)]
    pub(super) node: String,
    /// `host:port` of the tunnel.
    pub(super) tunnel: String,
    /// `host:port` of the register plane, within the tunnel.
    #[serde(default)]
    pub(super) register: String,
    /// For the tunnel.
    pub(super) join: Papers,
    /// For the register plane; empty where they were not brought along.
    #[serde(default)]
    pub(super) registered: Papers,
}

/// Whom it trusts on a plane, and what it shows there. PEM.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Papers {
    pub(super) authority: String,
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Papers {
    /// Whether they would let a node in at `now`: the certificate is of the key, its chain ends in the authority that is beside it, and
    /// neither is over. Answers the certificate.
    ///
    /// # Errors
    /// What does not hold, for people.
    pub(super) fn tried(&self, now: SystemTime) -> Result<CertificateInfo, String> {
        let text = |e: &dyn fmt::Display| e.to_string();
        let authority = TrustAnchors::from_pems(&[&self.authority]).map_err(|e| format!("the authority: {e}"))?;
        let pair = check_pair(&self.certificate, &self.key).map_err(|e| text(&e))?;
        let chain = parse_certificates(&self.certificate).map_err(|e| text(&e))?;
        authority.verify(&chain, Role::Client, now).map_err(|e| text(&e))?;
        pair.into_iter().next().ok_or_else(|| "there is no certificate".to_owned())
    }
}

impl Member {
    /// A node of LiteKube's by its settings and, as PEM, the authority that it trusts, its certificate and its key. It goes on under
    /// its token; its configuration names no certificate of the register plane, which the tunnel does not need.
    ///
    /// # Errors
    /// What would let it in nowhere: no PEM, a key of another certificate, one of another authority, or one that is over at `now`.
    pub fn brought(
        client: &LegacyClient,
        [authority, certificate, key]: [String; 3],
        now: SystemTime,
    ) -> Result<Self, JoinError> {
        let join = Papers { authority, certificate, key };
        join.tried(now).map_err(|e| JoinError::Local(format!("what the node shows in the tunnel: {e}")))?;
        Ok(Self {
            token: client.token.clone(),
            node: String::new(),
            tunnel: client.tunnel.clone(),
            register: String::new(),
            join,
            registered: Papers::default(),
        })
    }

    /// Whether its server is a legacy one, or it was brought from one: its certificates cannot be renewed.
    pub(super) fn is_legacy(&self) -> bool {
        self.node.is_empty()
    }

    /// The one that is kept in `folder`, if one is.
    ///
    /// # Errors
    /// A file that is not the user's own, cannot be read, or holds something else.
    pub fn load(folder: &Path) -> Result<Option<Self>, JoinError> {
        let path = file(folder);
        let opened = match private::open(&path, fs::OpenOptions::new().read(true)) {
            Ok(opened) => opened,
            Err(NotPrivate::Disk { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let text = io::read_to_string(opened).map_err(|source| NotPrivate::Disk { path: path.clone(), source })?;
        serde_json::from_str(&text).map(Some).map_err(|e| {
            // The error tells places and kinds, not contents.
            JoinError::Local(format!("{}: {e}: move it away to join anew", path.display()))
        })
    }

    /// Keeps it in `folder`, which is made if it is not there.
    ///
    /// # Errors
    /// What the disk says.
    pub fn keep(&self, folder: &Path) -> Result<(), JoinError> {
        let path = file(folder);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|source| NotPrivate::Disk { path: folder.to_owned(), source })?;
        let text = serde_json::to_string_pretty(self).map_err(|e| JoinError::Local(e.to_string()))?;
        Ok(private::replace(&path, text.as_bytes())?)
    }

    /// What people call it: the server's name for it, where it told one.
    pub fn name(&self) -> &str {
        if self.is_legacy() { "a node" } else { &self.node }
    }

    /// `host:port` of the tunnel.
    pub fn tunnel(&self) -> &str {
        &self.tunnel
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Member({} at {})", self.name(), self.tunnel)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use mesh_pki::PlaneUse;

    use super::*;
    use crate::join::made::{DAY, authority, legacy_member, papers};

    fn member() -> Member {
        let papers = |name: &str| Papers {
            authority: format!("{name} ca"),
            certificate: format!("{name} certificate"),
            key: format!("{name} secret"),
        };
        Member {
            token: "b52f93d3f0ec4be7".into(),
            node: "n7".into(),
            tunnel: "203.0.113.7:6441".into(),
            register: "10.1.1.1:6440".into(),
            join: papers("join"),
            registered: papers("register"),
        }
    }

    #[test]
    fn it_is_kept_for_its_owner_alone_and_read_again() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("edge");
        assert_eq!(Member::load(&folder).unwrap(), None);
        member().keep(&folder).unwrap();
        assert_eq!(Member::load(&folder).unwrap(), Some(member()));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join(FILE))), (0o700, 0o600));
        let shown = format!("{:?}", member());
        assert!(!shown.contains("secret") && !shown.contains("b52f93d3f0ec4be7"), "{shown}");
    }

    #[test]
    fn a_node_of_litekube_is_brought_along_only_with_what_would_let_it_in() {
        let now = SystemTime::now();
        let client = LegacyClient {
            token: "b52f93d3f0ec4be7".into(),
            tunnel: "203.0.113.7:6441".into(),
            folder: "certs".into(),
            without: Vec::new(),
        };
        let brought = |papers: Papers, now| {
            let Papers { authority, certificate, key } = papers;
            Member::brought(&client, [authority, certificate, key], now)
        };
        let good = legacy_member(10 * DAY, now);
        assert_eq!(brought(good.join.clone(), now).unwrap(), good);
        let (root, other) = (authority(now), authority(now));
        let of = |root| papers(root, PlaneUse::Client(None), 10 * DAY, now);
        let (own, of_another) = (of(&root), of(&other));
        let table = [
            ("no authority", Papers { authority: String::new(), ..own.clone() }, now),
            ("another authority", Papers { authority: of_another.authority.clone(), ..own.clone() }, now),
            ("another key", Papers { key: of_another.key, ..own.clone() }, now),
            ("no certificate", Papers { certificate: String::new(), ..own.clone() }, now),
            ("a server's", papers(&root, PlaneUse::Server(&[]), 10 * DAY, now), now),
            ("over", own.clone(), now + 11 * DAY),
            ("of an authority that is over", papers(&root, PlaneUse::Client(None), 2000 * DAY, now), now + 1001 * DAY),
            ("not yet", own, now - 101 * DAY),
        ];
        for (what, bad, at) in table {
            let key = bad.key.clone();
            let problem = brought(bad, at).expect_err(what).to_string();
            assert!(problem.starts_with("what the node shows") && !problem.contains(key.trim()), "{what}: {problem}");
        }
    }

    #[test]
    fn a_file_with_something_else_in_it_is_named_and_not_shown() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(FILE), r#"{"token": ["b52f93d3f0ec4be7"]}"#).unwrap();
        let problem = Member::load(home.path()).unwrap_err().to_string();
        assert!(problem.contains(FILE) && !problem.contains("b52f93d3f0ec4be7"), "{problem}");
    }
}

//! An institution: its root, its leaf, and its configuration as the operator writes it.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::fs::symlink,
    path::Path,
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use crds::{RoomKeys, TunnelKeys, snapshot};
use mesh_pki::{Algorithm, Identity, LeafRequest, Pair, PlaneSubject, Root};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

/// Long enough for a test, short enough to be no mistake.
const LIFE: Duration = Duration::from_secs(24 * 3600);

/// An institution.
pub(crate) struct Bank {
    pub(crate) node_id: &'static str,
    pub(crate) root: Root,
    pub(crate) leaf: Pair,
    /// Who signs the pairs of its sidecars, where it has a gateway: the newest first.
    members_pem: String,
    /// What its sidecars show.
    pub(crate) member: Pair,
    /// What the operator keeps for its tunnel and directory, once somebody asks.
    rooms: OnceLock<RoomKeys>,
}

/// What a bank's configuration says of a partner.
pub(crate) struct Partner<'b> {
    pub(crate) bank: &'b Bank,
    pub(crate) address: Option<SocketAddr>,
    /// Members of the route beside these.
    pub(crate) more: Value,
}

impl Bank {
    pub(crate) fn new(node_id: &'static str) -> Self {
        let identity = Identity { node_id: node_id.into(), name: "bank".into() };
        let root = Root::generate(&identity, Algorithm::EcdsaP256, LIFE, SystemTime::now()).unwrap();
        let (members_pem, member) = new_member(node_id);
        Self { node_id, leaf: leaf(&root, node_id), root, members_pem, member, rooms: OnceLock::new() }
    }

    /// Another pair for its sidecars, under another root; the one before is known beside it.
    pub(crate) fn renew_member(&mut self) {
        let (root, member) = new_member(self.node_id);
        self.members_pem.insert_str(0, &root);
        self.member = member;
    }

    /// Takes the roots before the newest away.
    pub(crate) fn forget_old_members(&mut self) {
        const END: &str = "-----END CERTIFICATE-----\n";
        let newest = self.members_pem.find(END).unwrap() + END.len();
        self.members_pem.truncate(newest);
    }

    /// What the operator keeps for its tunnel and directory.
    pub(crate) fn room_keys(&self) -> &RoomKeys {
        self.rooms.get_or_init(|| {
            let authority = |name: &str| {
                let subject = PlaneSubject { organization: None, common_name: name };
                let root = Root::generate_plane(subject, LIFE, SystemTime::now()).unwrap();
                (root.certificate_pem().to_owned(), root.key().expose().to_owned())
            };
            let tunnel = TunnelKeys { register: authority("register"), join: authority("join") };
            // Base64 of 32 bytes each.
            let seed = |letter: &str| format!("{}=", letter.repeat(43));
            let origin = format!("{}/datanet", self.node_id);
            let directory = json!({"origin": origin, "log": seed("U"), "directory": seed("Q")}).to_string();
            RoomKeys { tunnel: Some(tunnel), directory: Some(directory), ..RoomKeys::default() }
        })
    }

    /// What the operator knows of the directory's log from now on, and its keys where they are others.
    pub(crate) fn keeps(&mut self, begun: Option<String>, directory: Option<String>) {
        let kept = self.room_keys().clone();
        let directory = directory.or(kept.directory.clone());
        self.rooms = OnceLock::from(RoomKeys { begun, directory, ..kept });
    }

    /// The same, with a certificate that is good for the address of its node here too.
    pub(crate) fn at_loopback(node_id: &'static str) -> Self {
        let mut bank = Self::new(node_id);
        bank.leaf = leaf_at(&bank.root, node_id, vec![Ipv4Addr::LOCALHOST.into()]);
        bank
    }

    /// The same with a gateway at `address`; a volume for both roles, of which each reads its own.
    pub(crate) fn publish_for_gateway(
        &self,
        volume: &Path,
        partners: &[Partner<'_>],
        more: &Value,
        address: SocketAddr,
    ) {
        let mut more = more.clone();
        more["gateway"] = json!({"address": address.to_string()});
        self.publish_with(volume, partners, &more);
    }

    /// Writes the configuration as a new version in `volume`, and swaps `..data` to it as the kubelet does.
    pub(crate) fn publish(&self, volume: &Path, partners: &[Partner<'_>]) {
        self.publish_with(volume, partners, &json!({}));
    }

    /// The same with more members of the node.
    pub(crate) fn publish_with(&self, volume: &Path, partners: &[Partner<'_>], more: &Value) {
        let version = format!("..v{}", fs::read_dir(volume).unwrap().count());
        fs::create_dir(volume.join(&version)).unwrap();
        self.write(&volume.join(&version), partners, more);
        symlink(&version, volume.join("..next")).unwrap();
        fs::rename(volume.join("..next"), volume.join("..data")).unwrap();
    }

    fn write(&self, directory: &Path, partners: &[Partner<'_>], more: &Value) {
        let mut node = json!({"nodeId": self.node_id, "instId": "JG1", "displayName": "bank"});
        node.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        let routes: Vec<Value> = partners.iter().map(Partner::route).collect();
        let mut files = vec![
            (snapshot::NODE.to_owned(), node.to_string()),
            (snapshot::routes_file(0), Value::from(routes).to_string()),
            (snapshot::CA_CRT.to_owned(), self.root.certificate_pem().to_owned()),
            (snapshot::TLS_CRT.to_owned(), self.leaf.chain_pem.clone()),
        ];
        if node.get("gateway").is_some() {
            files.push((snapshot::MEMBERS_CRT.to_owned(), self.members_pem.clone()));
            files.push((snapshot::MEMBER_CRT.to_owned(), self.member.chain_pem.clone()));
            fs::write(directory.join(snapshot::MEMBER_KEY), self.member.key.expose()).unwrap();
        }
        if node.get("tunnel").is_some() || node.get("directory").is_some() {
            for (file, text) in self.room_keys().files() {
                fs::write(directory.join(file), text).unwrap();
            }
        }
        let mut sums = Map::new();
        for (name, text) in &files {
            fs::write(directory.join(name), text).unwrap();
            let sum: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
            sums.insert(name.clone(), sum.into());
        }
        fs::write(directory.join(snapshot::TLS_KEY), self.leaf.key.expose()).unwrap();
        let manifest = json!({"format": snapshot::FORMAT, "namespace": "test", "name": "bank", "files": sums});
        fs::write(directory.join(snapshot::MANIFEST), manifest.to_string()).unwrap();
    }
}

impl Partner<'_> {
    fn route(&self) -> Value {
        let addresses: Vec<Value> = self.address.iter().map(|a| json!({"address": a.to_string()})).collect();
        let mut route = json!({
            "name": self.bank.node_id.to_lowercase(),
            "peer": {"nodeId": self.bank.node_id},
            "addresses": addresses,
            "roots": [self.bank.root.certificate_pem()],
        });
        let members = route.as_object_mut().unwrap();
        members.extend(self.more.as_object().cloned().unwrap_or_default());
        route
    }
}

/// A root that signs pairs of sidecars, and the first of them.
fn new_member(node_id: &str) -> (String, Pair) {
    let identity = Identity { node_id: node_id.into(), name: "bank".into() };
    let root = Root::generate(&identity, Algorithm::EcdsaP256, LIFE, SystemTime::now()).unwrap();
    (root.certificate_pem().to_owned(), leaf(&root, node_id))
}

/// A leaf for `node_id` under `root`.
pub(crate) fn leaf(root: &Root, node_id: &str) -> Pair {
    leaf_at(root, node_id, Vec::new())
}

fn leaf_at(root: &Root, node_id: &str, extra_ips: Vec<IpAddr>) -> Pair {
    let request = LeafRequest {
        identity: Identity { node_id: node_id.into(), name: "bank".into() },
        algorithm: Algorithm::EcdsaP256,
        lifetime: LIFE / 2,
        extra_dns: Vec::new(),
        extra_ips,
    };
    root.issue(&request, SystemTime::now()).unwrap()
}

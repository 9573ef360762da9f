//! The files of a snapshot, by name, and where Kubernetes keeps each.

use std::{collections::BTreeMap, fmt};

use crds::{
    is_of_backplane, is_room_key,
    snapshot::{FORMAT, GRID, MANIFEST, MEMBER_CRT, MEMBER_KEY, Manifest, TLS_CRT},
};
use sha2::{Digest, Sha256};

/// The files of a snapshot. `Debug` shows names and sizes, no content.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Files(BTreeMap<String, Vec<u8>>);

/// Where Kubernetes keeps a file (the table of `crds::snapshot`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// The ConfigMap with the manifest.
    Main,
    /// A ConfigMap of its own, called after the file: `routes-3`.
    Part(String),
    /// The Secret of the gateway, or of the lone sidecar.
    Secret,
    /// The Secret of the sidecars beside a gateway.
    Member,
}

impl Files {
    pub(super) fn add_text(&mut self, name: &str, text: &str) {
        self.add(name, text.as_bytes());
    }

    pub(super) fn add(&mut self, name: &str, bytes: &[u8]) {
        self.0.insert(name.to_owned(), bytes.to_vec());
    }

    /// Adds the manifest over all files but the keys; answers the manifest's own sum.
    pub(super) fn seal(&mut self, namespace: String, name: String) -> Result<String, serde_json::Error> {
        let open = self.0.iter().filter(|(file, _)| !is_key(file));
        let files = open.map(|(file, bytes)| (file.clone(), hex(&Sha256::digest(bytes)))).collect();
        let mut text = serde_json::to_string_pretty(&Manifest { format: FORMAT, namespace, name, files })?;
        text.push('\n');
        self.add_text(MANIFEST, &text);
        Ok(hex(&Sha256::digest(&text)))
    }

    /// All files by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
    }

    /// One file.
    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(Vec::as_slice)
    }

    /// The files by the object that holds them.
    pub(crate) fn by_place(&self) -> BTreeMap<Place, BTreeMap<&str, &[u8]>> {
        let mut places: BTreeMap<Place, BTreeMap<&str, &[u8]>> = BTreeMap::new();
        for (name, bytes) in self.iter() {
            places.entry(place(name)).or_default().insert(name, bytes);
        }
        places
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(name, bytes)| (name, bytes.len()))).finish()
    }
}

/// Whether a file holds a private key or another secret, or goes with one that older sidecars do not know: it is no part of the manifest.
pub(crate) fn is_key(name: &str) -> bool {
    let is_of_room = is_room_key(name) || is_of_backplane(name);
    name.ends_with(".key") || is_of_room || name.starts_with(GRID) && !name.ends_with(".crt")
}

fn place(name: &str) -> Place {
    match name.strip_suffix(".json") {
        Some(part) if part.starts_with("routes-") || part.starts_with("registrations-") => Place::Part(part.to_owned()),
        _ if name == MEMBER_CRT || name == MEMBER_KEY => Place::Member,
        _ if is_key(name) || name == TLS_CRT || name.starts_with("client-") || name.starts_with(GRID) => Place::Secret,
        _ => Place::Main,
    }
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        use fmt::Write as _;
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

//! The directory that the operator or `render` writes: its files are read together and held against the manifest, so
//! that nobody ever runs on a mixture of two versions. The format is `crds::snapshot`.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crds::{
    BackplaneSecrets, DIRECTORY_BEGUN, GridSecrets, Needed, RoomKeys,
    snapshot::{
        CA_CRT, FORMAT, MANIFEST, MEMBER_CRT, MEMBER_KEY, MEMBERS_CRT, Manifest, NODE, NodeConfig, Role, TLS_CRT,
        TLS_KEY, grid_keys, grid_pair, grid_token,
    },
};
use serde::{Deserialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use super::bounded;
use crate::{ConfigProblem, Origin, Parts};

/// The link that Kubernetes (and `render`) swaps when all files changed together.
pub(super) const DATA_LINK: &str = "..data";

/// How often the files are read again when they are swapped while we read.
const TRIES: usize = 3;

/// A ConfigMap holds 1 MiB at most, and `render` cuts at the same size; one Secret with many pairs is no larger.
const LARGEST_FILE: u64 = 4 << 20;

/// What was read.
pub(super) struct Read {
    /// The parts of the snapshot.
    pub(super) parts: Parts,
    /// How many members this version does not know.
    pub(super) unknown: usize,
}

/// Tells one state of the directory from another without reading its files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fingerprint {
    link: Option<PathBuf>,
    files: Vec<(String, u64, i64, i64, u64)>,
}

/// Reads what a process of `role` needs of the directory, whole.
///
/// # Errors
/// A file that is missing, torn, or breaks a rule.
pub(super) fn read(directory: &Path, role: Role) -> Result<Read, ConfigProblem> {
    let mut tries = 1;
    loop {
        let link = fs::read_link(directory.join(DATA_LINK)).ok();
        let data = link.as_ref().map_or_else(|| directory.to_owned(), |target| directory.join(target));
        let result = Files { shown: directory, data: &data, role }.read();
        let swapped = fs::read_link(directory.join(DATA_LINK)).ok() != link;
        if !swapped || tries == TRIES {
            return result;
        }
        tries += 1;
    }
}

impl Fingerprint {
    /// Whether the link leads elsewhere now; where there is none, it does not.
    pub(super) fn link_moved(&self, directory: &Path) -> bool {
        fs::read_link(directory.join(DATA_LINK)).ok() != self.link
    }

    /// Of the whole directory.
    pub(super) fn of(directory: &Path) -> Self {
        let link = fs::read_link(directory.join(DATA_LINK)).ok();
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let mut files: Vec<_> = entries
            .filter_map(|entry| {
                let meta = fs::metadata(entry.path()).ok().filter(fs::Metadata::is_file)?;
                let name = entry.file_name().to_string_lossy().into_owned();
                Some((name, meta.len(), meta.mtime(), meta.mtime_nsec(), meta.ino()))
            })
            .collect();
        files.sort();
        Self { link, files }
    }
}

/// What the manifest of every format says.
#[derive(Deserialize)]
struct Layout {
    format: u32,
}

/// The files of one version.
struct Files<'d> {
    /// What messages call the directory.
    shown: &'d Path,
    /// Where the files of this version lie.
    data: &'d Path,
    /// Who reads.
    role: Role,
}

impl Files<'_> {
    fn read(&self) -> Result<Read, ConfigProblem> {
        let manifest_bytes = self.bytes(MANIFEST)?;
        let manifest = self.manifest(&manifest_bytes)?;
        let named = self.named_files(&manifest)?;
        let mut unknown = 0;
        let node: NodeConfig = self.json(NODE, get(self, &named, NODE)?, &mut unknown)?;
        let routes = self.list(&named, "routes-", &mut unknown)?;
        let registrations = self.list(&named, "registrations-", &mut unknown)?;
        let roots_pem = self.text(CA_CRT, get(self, &named, CA_CRT)?)?;
        let (leaf, key) = match self.role {
            Role::Gateway => (TLS_CRT, TLS_KEY),
            Role::Sidecar => (MEMBER_CRT, MEMBER_KEY),
        };
        let leaf_pem = self.text(leaf, get(self, &named, leaf)?)?;
        let key_pem = self.text(key, &self.bytes(key)?)?;
        let members_pem = match node.gateway {
            Some(_) => self.text(MEMBERS_CRT, get(self, &named, MEMBERS_CRT)?)?,
            None => String::new(),
        };
        let client_pairs = match self.role {
            Role::Gateway => self.client_pairs(&named, &routes)?,
            Role::Sidecar => HashMap::new(),
        };
        let grid = match (&node.grid, self.role) {
            (Some(grid), Role::Gateway) => self.grid_secrets(&named, grid)?,
            _ => GridSecrets::default(),
        };
        let room_keys = match self.role {
            Role::Gateway => self.room_keys(&node)?,
            Role::Sidecar => RoomKeys::default(),
        };
        let origin = Origin::Managed { resource: format!("{}/{}", manifest.namespace, manifest.name) };
        let hash = hex(&Sha256::digest(&manifest_bytes));
        let role = self.role;
        let parts = Parts {
            hash,
            origin,
            role,
            node,
            routes,
            registrations,
            roots_pem,
            leaf_pem,
            key_pem,
            members_pem,
            client_pairs,
            grid,
            room_keys,
        };
        Ok(Read { parts, unknown })
    }

    /// The manifest. Its format is looked at before anything else is: in another format nothing else need be where it is in this one.
    fn manifest(&self, bytes: &[u8]) -> Result<Manifest, ConfigProblem> {
        let Layout { format } = self.json(MANIFEST, bytes, &mut 0)?;
        if format != FORMAT {
            let rule = format!(
                "has format {format}; this version reads format {FORMAT}: use a mesh of the operator's version"
            );
            return Err(self.problem(MANIFEST, rule));
        }
        self.json(MANIFEST, bytes, &mut 0)
    }

    /// Every file that the manifest names and this role reads, held against its sum.
    fn named_files(&self, manifest: &Manifest) -> Result<HashMap<String, Vec<u8>>, ConfigProblem> {
        let mut found = HashMap::new();
        for (name, sum) in manifest.files.iter().filter(|(name, _)| self.role.reads(name)) {
            if name.contains('/') || name.starts_with("..") {
                return Err(self.problem(MANIFEST, format_args!("names {name}, which is no plain file name")));
            }
            let bytes = self.bytes(name)?;
            if !hex(&Sha256::digest(&bytes)).eq_ignore_ascii_case(sum) {
                return Err(self.problem(
                    name,
                    "is not the file that the manifest names: it belongs to another version, or is still being written",
                ));
            }
            found.insert(name.clone(), bytes);
        }
        Ok(found)
    }

    /// The items of all files of a kind, in the order of their numbers.
    fn list<T: DeserializeOwned>(
        &self,
        named: &HashMap<String, Vec<u8>>,
        prefix: &str,
        unknown: &mut usize,
    ) -> Result<Vec<T>, ConfigProblem> {
        let number = |name: &str| name.strip_prefix(prefix)?.strip_suffix(".json")?.parse::<usize>().ok();
        let mut files: Vec<_> = named.iter().filter_map(|(name, bytes)| Some((number(name)?, name, bytes))).collect();
        files.sort_by_key(|(number, _, _)| *number);
        let mut items = Vec::new();
        for (_, name, bytes) in files {
            items.extend(self.json::<Vec<T>>(name, bytes, unknown)?);
        }
        Ok(items)
    }

    /// The pairs that partners issued. The manifest names the certificates, so a pair of two versions is found.
    fn client_pairs(
        &self,
        named: &HashMap<String, Vec<u8>>,
        routes: &[crds::snapshot::RouteConfig],
    ) -> Result<HashMap<String, (String, String)>, ConfigProblem> {
        let with_pair = routes.iter().filter(|route| route.client_pair);
        with_pair
            .map(|route| {
                let (crt, key) = (format!("client-{}.crt", route.name), format!("client-{}.key", route.name));
                let pair = (self.text(&crt, get(self, named, &crt)?)?, self.text(&key, &self.bytes(&key)?)?);
                Ok((route.name.clone(), pair))
            })
            .collect()
    }

    /// What the grid's Secrets hold. The manifest names the certificates alone.
    fn grid_secrets(&self, named: &HashMap<String, Vec<u8>>, grid: &crds::Grid) -> Result<GridSecrets, ConfigProblem> {
        GridSecrets::read(grid, |needed| match needed {
            Needed::Certificate(listener, _) => get(self, named, &grid_pair(listener).0).map(<[u8]>::to_vec),
            Needed::Key(listener, _) => self.bytes(&grid_pair(listener).1),
            Needed::KeySet(listener, _) => self.bytes(&grid_keys(listener)),
            Needed::Token(user, _) => self.bytes(&grid_token(user)),
        })
    }

    /// What the operator keeps for tunnel and directory, and what the backplane refers to. They never make their own beside a
    /// configuration that has them: the next volume would not have those.
    fn room_keys(&self, node: &NodeConfig) -> Result<RoomKeys, ConfigProblem> {
        let rooms = (node.tunnel.as_ref(), node.directory.as_ref());
        let text = |file: &'static str| self.bytes(file).and_then(|bytes| self.text(file, &bytes));
        let backplane = node.backplane.as_ref().map(|found| BackplaneSecrets::read(found, |need| text(need.file)));
        let backplane = backplane.transpose()?.unwrap_or_default();
        let has_begun = node.directory.is_some() && self.data.join(DIRECTORY_BEGUN).exists();
        let begun = has_begun.then(|| text(DIRECTORY_BEGUN)).transpose()?;
        Ok(RoomKeys { backplane, begun, ..RoomKeys::read(rooms, text)? })
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>, ConfigProblem> {
        let path = self.data.join(name);
        let unreadable = |e: io::Error| match e.kind() {
            io::ErrorKind::NotFound => self.problem(name, "is missing"),
            _ => self.problem(name, format_args!("cannot be read: {e}")),
        };
        bounded::read(&path, LARGEST_FILE).map_err(unreadable)
    }

    /// A member that this version does not know is a newer operator's addition: it is counted and left alone.
    fn json<T: DeserializeOwned>(&self, name: &str, bytes: &[u8], unknown: &mut usize) -> Result<T, ConfigProblem> {
        let value = serde_json::from_slice(bytes).map_err(|e| self.problem(name, format_args!("is no JSON: {e}")))?;
        let (value, members) = crds::read::lenient(value).map_err(|e| self.problem(name, e))?;
        *unknown += members.len();
        Ok(value)
    }

    fn text(&self, name: &str, bytes: &[u8]) -> Result<String, ConfigProblem> {
        String::from_utf8(bytes.to_vec()).map_err(|_| self.problem(name, "holds bytes that are no text"))
    }

    fn problem(&self, name: &str, rule: impl std::fmt::Display) -> ConfigProblem {
        ConfigProblem::invalid(self.shown.join(name).display(), rule)
    }
}

fn get<'f>(files: &Files<'_>, named: &'f HashMap<String, Vec<u8>>, name: &str) -> Result<&'f [u8], ConfigProblem> {
    named.get(name).map(Vec::as_slice).ok_or_else(|| files.problem(MANIFEST, format_args!("does not name {name}")))
}

/// Lower-case hex, as the manifest writes sums.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        use std::fmt::Write as _;
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;

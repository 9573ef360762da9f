//! The file that a person writes: the keys of `MeshNode.spec`, with `routes:` and `registrations:` beside them.
//!
//! The rules are those of the resources; an unknown key is an error. Certificates and keys may be named as files, by
//! paths relative to the file's own directory.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use crds::{
    Backplane, BackplaneSecrets, Certificates, Directory, Grid, GridSecrets, MeshNode, MeshRoute, Registry,
    ServiceRegistration, Transport, Tunnel, Violation,
    read::Kind,
    snapshot::{RegistrationConfig, RouteConfig},
};
use mesh_pki::{Pair, PrivateKeyPem};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::{bounded, credentials::Brought, identity::StoredIdentity};
use crate::ConfigProblem;

/// A node of 2000 routes with their roots has some 8 MiB; more is not meant to be read whole.
const LARGEST_FILE: u64 = 64 << 20;

/// What a file says, checked.
#[derive(Clone, Debug, Default)]
pub(super) struct FileConfig {
    /// The file, for messages.
    pub(super) path: PathBuf,
    /// The node's identity, if the file names one.
    pub(super) identity: Option<StoredIdentity>,
    /// The `host:port` that partners dial; may be empty.
    pub(super) address: String,
    pub(super) certificates: Certificates,
    pub(super) transport: Transport,
    pub(super) registry: Registry,
    pub(super) grid: Option<Grid>,
    pub(super) directory: Option<Directory>,
    pub(super) grid_secrets: GridSecrets,
    pub(super) tunnel: Option<Tunnel>,
    pub(super) backplane: Option<Backplane>,
    pub(super) backplane_secrets: BackplaneSecrets,
    pub(super) routes: Vec<RouteConfig>,
    pub(super) client_pairs: HashMap<String, (String, String)>,
    pub(super) registrations: Vec<RegistrationConfig>,
    /// The node's root with its key, brought as files.
    pub(super) root: Option<Pair>,
    /// The node's leaf, brought as files.
    pub(super) leaf: Option<Brought>,
    /// What is there and has no effect.
    pub(super) notes: Vec<String>,
}

/// Certificates of the node that lie in files: a root with its key, or a leaf with its key and the roots.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct CertificateFiles {
    root: Option<PathBuf>,
    root_key: Option<PathBuf>,
    leaf: Option<PathBuf>,
    leaf_key: Option<PathBuf>,
    roots: Option<PathBuf>,
}

/// A pair that lies in files.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PairFiles {
    certificate: PathBuf,
    key: PathBuf,
}

/// Reads and checks a file.
///
/// # Errors
/// The first key that breaks a rule, by place and rule.
pub(super) fn read(path: &Path) -> Result<FileConfig, ConfigProblem> {
    let text = text_of(path)?;
    let reader = Reader { path };
    reader.config(reader.document(&text)?)
}

/// Knows which file it reads.
struct Reader<'p> {
    path: &'p Path,
}

impl Reader<'_> {
    fn problem(&self, place: &str, rule: impl std::fmt::Display) -> ConfigProblem {
        ConfigProblem::invalid(format_args!("{} {place}", self.path.display()), rule)
    }

    fn document(&self, text: &str) -> Result<Map<String, Value>, ConfigProblem> {
        let mut documents = crds::yaml::documents(text).map_err(|e| self.problem("YAML", e))?;
        match (documents.pop(), documents.is_empty()) {
            (None, _) => Ok(Map::new()),
            (Some(Value::Object(members)), true) => Ok(members),
            (Some(_), true) => Err(self.problem("YAML", "must be a map with the keys of MeshNode.spec")),
            (Some(_), false) => Err(self.problem("YAML", "must be one document: the file describes one node")),
        }
    }

    fn config(&self, mut members: Map<String, Value>) -> Result<FileConfig, ConfigProblem> {
        let routes = self.list(members.remove("routes"), "routes")?;
        let registrations = self.list(members.remove("registrations"), "registrations")?;
        let files = self
            .known::<CertificateFiles>(members.remove("certificateFiles").unwrap_or(json!({})), "certificateFiles")?;
        let secrets = members.remove("secretsDirectory");
        let mut config = self.node(members)?;
        let secrets: Option<PathBuf> = secrets.map(|value| self.known(value, "secretsDirectory")).transpose()?;
        config.grid_secrets = self.grid_secrets(config.grid.as_ref(), secrets.as_deref())?;
        config.backplane_secrets = self.backplane_secrets(config.backplane.as_ref(), secrets.as_deref())?;
        (config.root, config.leaf) = self.certificates(&files)?;
        for (i, route) in routes.into_iter().enumerate() {
            self.route(&mut config, route, &format!("routes[{i}]"))?;
        }
        for (i, registration) in registrations.into_iter().enumerate() {
            config.registrations.push(self.registration(registration, &format!("registrations[{i}]"))?);
        }
        Ok(config)
    }

    /// The node itself. Without ids in the file the identity is the API's business.
    fn node(&self, mut members: Map<String, Value>) -> Result<FileConfig, ConfigProblem> {
        let named = match (members.contains_key("nodeId"), members.contains_key("instId")) {
            (true, true) => true,
            (false, false) => false,
            _ => return Err(self.problem("nodeId, instId", "must be given both, or neither")),
        };
        if !named {
            // Any valid ids, so that the rules can be asked; they go no further.
            members.insert("nodeId".into(), "unnamed".into());
            members.insert("instId".into(), "unnamed".into());
        }
        let spec = self.resource::<MeshNode>("MeshNode", &members, "")?.spec;
        let certificates = &spec.certificates;
        if certificates.root_secret_ref.is_some()
            || certificates.leaf_secret_ref.is_some()
            || certificates.issuer_ref.is_some()
        {
            return Err(self.problem("certificates", "refers to Kubernetes: name files in certificateFiles instead"));
        }
        let identity = named.then(|| StoredIdentity {
            node_id: spec.node_id,
            inst_id: spec.inst_id,
            name: spec.display_name,
            address: spec.address.clone(),
            ..StoredIdentity::default()
        });
        Ok(FileConfig {
            path: self.path.to_owned(),
            identity,
            address: spec.address,
            certificates: spec.certificates,
            transport: spec.transport,
            registry: spec.registry,
            grid: spec.grid,
            directory: spec.directory,
            tunnel: self.tunnel(spec.tunnel)?,
            backplane: spec.backplane,
            notes: self.without_effect(&members),
            ..FileConfig::default()
        })
    }

    /// What the grid's references to Secrets lead to: `secretsDirectory` has a directory for each Secret and in it a file for
    /// each key, as Kubernetes mounts them.
    fn grid_secrets(&self, grid: Option<&Grid>, directory: Option<&Path>) -> Result<GridSecrets, ConfigProblem> {
        let Some(grid) = grid else { return Ok(GridSecrets::default()) };
        GridSecrets::read(grid, |needed| self.secret(directory, "grid", needed.place()).map(String::into_bytes))
    }

    /// The same of the backplane's; its ConfigMap is a directory there too.
    fn backplane_secrets(
        &self,
        backplane: Option<&Backplane>,
        directory: Option<&Path>,
    ) -> Result<BackplaneSecrets, ConfigProblem> {
        let Some(backplane) = backplane else { return Ok(BackplaneSecrets::default()) };
        BackplaneSecrets::read(backplane, |need| self.secret(directory, "backplane", (need.object, need.key)))
    }

    fn secret(
        &self,
        directory: Option<&Path>,
        room: &str,
        (object, key): (&str, &str),
    ) -> Result<String, ConfigProblem> {
        let Some(directory) = directory else {
            let rule = format!("is needed: the {room} refers to {object}, key {key}");
            return Err(self.problem("secretsDirectory", rule));
        };
        self.file(&directory.join(object).join(key))
    }

    /// Its authorities are made at the first start, or imported; there are no Secrets here.
    fn tunnel(&self, tunnel: Option<Tunnel>) -> Result<Option<Tunnel>, ConfigProblem> {
        match tunnel {
            Some(tunnel) if tunnel.register_ca_secret_ref.is_some() || tunnel.join_ca_secret_ref.is_some() => {
                Err(self
                    .problem("tunnel", "refers to Kubernetes: the authorities of a node by hand are made by itself"))
            }
            other => Ok(other),
        }
    }

    fn without_effect(&self, members: &Map<String, Value>) -> Vec<String> {
        let sections = [
            ("gateway", "the node is this process"),
            ("expose", "only Kubernetes has Services"),
            ("networkPolicy", "only Kubernetes has network policies"),
        ];
        let present = sections.iter().filter(|(name, _)| members.contains_key(*name));
        present.map(|(name, reason)| format!("{} {name} has no effect: {reason}", self.path.display())).collect()
    }

    /// A route has the keys of `MeshRoute.spec` without `nodeRef`, a `name`, and files where Kubernetes has Secrets.
    fn route(&self, config: &mut FileConfig, value: Value, place: &str) -> Result<(), ConfigProblem> {
        let mut members = self.object(value, place)?;
        let name = take_text(&mut members, "name");
        let pair = members.remove("clientCertificateFiles");
        self.fill_in_roots(&mut members, place)?;
        members.insert("nodeRef".into(), json!({"name": "this"}));
        let spec = self.resource::<MeshRoute>("MeshRoute", &members, place)?.spec;
        if spec.trust.config_map_ref.is_some() || spec.client_certificate_secret_ref.is_some() {
            return Err(self.problem(
                place,
                "refers to Kubernetes: name files in trust.rootFiles and clientCertificateFiles instead",
            ));
        }
        let name = name.unwrap_or_else(|| spec.peer.node_id.clone());
        if let Some(pair) = pair {
            let files: PairFiles = self.known(pair, &format!("{place}.clientCertificateFiles"))?;
            config.client_pairs.insert(name.clone(), (self.file(&files.certificate)?, self.file(&files.key)?));
        }
        config.routes.push(RouteConfig {
            client_pair: config.client_pairs.contains_key(&name),
            name,
            peer: spec.peer,
            addresses: spec.addresses,
            roots: spec.trust.root_pems,
            client_certificate: spec.client_certificate,
            expires_at: spec.expires_at,
            disabled: spec.disabled,
            exports: spec.exports,
            max_queued_bytes: spec.max_queued_bytes,
            proxy: spec.proxy,
            static_ips: spec.static_ips.iter().filter_map(|ip| ip.parse().ok()).collect(),
            by_api: false,
        });
        Ok(())
    }

    /// Reads `trust.rootFiles` into `trust.rootPEMs`, so that the rules of `MeshRoute` see one source of trust.
    fn fill_in_roots(&self, members: &mut Map<String, Value>, place: &str) -> Result<(), ConfigProblem> {
        let Some(Value::Object(trust)) = members.get_mut("trust") else { return Ok(()) };
        let Some(files) = trust.remove("rootFiles") else { return Ok(()) };
        let files: Vec<PathBuf> = self.known(files, &format!("{place}.trust.rootFiles"))?;
        let pems = files.iter().map(|file| Ok(self.file(file)?.into())).collect::<Result<Vec<Value>, _>>()?;
        match trust.entry("rootPEMs").or_insert_with(|| json!([])) {
            Value::Array(given) => given.extend(pems),
            _ => return Err(self.problem(&format!("{place}.trust.rootPEMs"), "must be a list")),
        }
        Ok(())
    }

    /// A registration has the keys of `ServiceRegistration.spec` without `nodeRef`.
    fn registration(&self, value: Value, place: &str) -> Result<RegistrationConfig, ConfigProblem> {
        let mut members = self.object(value, place)?;
        members.insert("nodeRef".into(), json!({"name": "this"}));
        let spec = self.resource::<ServiceRegistration>("ServiceRegistration", &members, place)?.spec;
        if spec.service_ref.is_some() {
            return Err(self.problem(place, "refers to a Service of Kubernetes: give an address instead"));
        }
        Ok(RegistrationConfig {
            resource: format!("{} {place}", self.path.display()),
            instance_id: spec.instance_id,
            name: spec.name,
            kind: spec.kind,
            address: spec.address,
            services: spec.services,
        })
    }

    fn certificates(&self, files: &CertificateFiles) -> Result<(Option<Pair>, Option<Brought>), ConfigProblem> {
        match (&files.root, &files.root_key, &files.leaf, &files.leaf_key, &files.roots) {
            (None, None, None, None, None) => Ok((None, None)),
            (Some(root), Some(key), None, None, None) => Ok((Some(self.pair(root, key)?), None)),
            (None, None, Some(leaf), Some(key), Some(roots)) => {
                Ok((None, Some(Brought { leaf: self.pair(leaf, key)?, roots_pem: self.file(roots)? })))
            }
            _ => Err(self.problem("certificateFiles", "must name root and rootKey, or leaf, leafKey and roots")),
        }
    }

    fn pair(&self, chain: &Path, key: &Path) -> Result<Pair, ConfigProblem> {
        Ok(Pair { chain_pem: self.file(chain)?, key: PrivateKeyPem::new(self.file(key)?) })
    }

    fn file(&self, path: &Path) -> Result<String, ConfigProblem> {
        text_of(&self.path.parent().unwrap_or(Path::new("")).join(path))
    }

    fn list(&self, value: Option<Value>, place: &str) -> Result<Vec<Value>, ConfigProblem> {
        match value {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(items)) => Ok(items),
            Some(_) => Err(self.problem(place, "must be a list")),
        }
    }

    fn object(&self, value: Value, place: &str) -> Result<Map<String, Value>, ConfigProblem> {
        match value {
            Value::Object(members) => Ok(members),
            _ => Err(self.problem(place, "must be a map")),
        }
    }

    /// Reads a value in which every key must be known.
    fn known<T: DeserializeOwned>(&self, value: Value, place: &str) -> Result<T, ConfigProblem> {
        let (value, unknown) = crds::read::lenient(value).map_err(|e| self.problem(place, e))?;
        match unknown.first() {
            None => Ok(value),
            Some(key) => {
                Err(self.problem(join(place, key).as_str(), "is unknown: check its spelling and its indentation"))
            }
        }
    }

    /// Reads a resource by its own rules: the verdict is the one that `kubectl apply` would give of such a spec.
    fn resource<K: Kind>(&self, kind: &str, spec: &Map<String, Value>, place: &str) -> Result<K, ConfigProblem> {
        let version = format!("{}/{}", crds::GROUP, crds::VERSION);
        let document = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "this"}, "spec": spec});
        crds::read::resource(document).map_err(|broken| self.broken(place, &broken))
    }

    fn broken(&self, place: &str, violations: &[Violation]) -> ConfigProblem {
        let rules: Vec<String> = violations
            .iter()
            .map(|violation| {
                let field = violation.field.trim_start_matches("spec").trim_start_matches('.');
                format!("{}: {}", join(place, field), violation.rule)
            })
            .collect();
        ConfigProblem::invalid(self.path.display(), rules.join("; "))
    }
}

fn join(place: &str, key: &str) -> String {
    match (place.is_empty(), key.is_empty()) {
        (true, _) => key.to_owned(),
        (_, true) => place.to_owned(),
        (false, false) => format!("{place}.{key}"),
    }
}

fn take_text(members: &mut Map<String, Value>, key: &str) -> Option<String> {
    members.remove(key).and_then(|value| value.as_str().map(str::to_owned))
}

fn text_of(path: &Path) -> Result<String, ConfigProblem> {
    let problem = |rule: String| ConfigProblem::invalid(path.display(), rule);
    let bytes = bounded::read(path, LARGEST_FILE).map_err(|e| problem(format!("cannot be read: {e}")))?;
    String::from_utf8(bytes).map_err(|_| problem("is no text: it must be UTF-8".into()))
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;

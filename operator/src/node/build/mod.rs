//! The files of a node's snapshot (`crds::snapshot`), from what was judged good.
//!
//! The same input gives the same bytes: certificates are made only where the old ones no longer do, and then they are
//! handed back to be kept.

mod files;
mod leaf;
mod members;
mod parts;
mod rooms;

use std::time::{Duration, SystemTime};

use crds::snapshot::{
    CA_CRT, GatewayConfig, MEMBER_CRT, MEMBER_KEY, MEMBERS_CRT, NODE, NodeConfig, TLS_CRT, TLS_KEY, grid_keys,
    grid_pair, grid_token, registrations_file, routes_file,
};
use crds::{DATA_PORT, GridSecrets, Tunnel, TunnelMode};
use kube::ResourceExt;
use mesh_pki::{Algorithm, Identity, Pair, PkiError, Role, Root, TrustAnchors, parse_certificates};

pub(crate) use files::{Files, Place, hex};
pub(crate) use leaf::{Leaf, Origin, request as leaf_request};
pub(crate) use members::Members;
pub(crate) use parts::PARTS_MAX;

use super::{
    Problem,
    found::{FoundGateway, Issued, Keys},
    names::main_name,
    roll::{self, Pending, Roll},
    validate::{Credentials, Judged, Judgement, ValidNode, ValidRoute, with_retired},
};

/// The life of an issued root: the reference's 100 years (PTP section 12.3). Partners take it over by hand, and nothing
/// rolls it for them.
const ROOT_LIFETIME: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Client pairs share one Secret with the node's own: what the limit of 1 MiB leaves them.
const PAIRS_MAX: usize = 900 * 1024;

/// A node, ready to be written.
#[derive(Debug)]
pub(crate) struct Built {
    /// The snapshot.
    pub(crate) files: Files,
    /// Its sha256, as the sidecar shows it: that of the manifest.
    pub(crate) hash: String,
    /// A root that was made now, or is kept in another form from now on. It must be kept before anything else is written.
    pub(crate) new_root: Option<Issued>,
    /// What partners are to trust: the content of ConfigMap `<name>-root`.
    pub(crate) roots_pem: String,
    /// The node's leaf.
    pub(crate) leaf: Leaf,
    /// The keys of the rooms, where they are not kept in this form. They must be kept before anything else is written.
    pub(crate) new_rooms: Option<Keys>,
    /// What the sidecars beside a gateway are known by; `None` without a gateway.
    pub(crate) members: Option<Members>,
    /// What was accepted and found no room.
    pub(crate) left_out: LeftOut,
    /// A roll of the root that partners have yet to follow.
    pub(crate) roll: Option<Pending>,
    /// When to build again, because of time alone.
    pub(crate) due: Option<SystemTime>,
}

/// What was accepted and found no room, by the resource's name.
#[derive(Debug, Default)]
pub(crate) struct LeftOut {
    /// Routes.
    pub(crate) routes: Vec<(String, Problem)>,
    /// Registrations.
    pub(crate) registrations: Vec<(String, Problem)>,
}

/// Builds the node at `now`; `None` when it was refused.
///
/// # Errors
/// Certificates that cannot be made.
pub(crate) fn node(judgement: &Judgement, now: SystemTime) -> Result<Option<Built>, Problem> {
    let Ok(valid) = &judgement.node else { return Ok(None) };
    let (new_root, leaf, roots_pem) = certificates(valid, now)?;
    let mut left_out = LeftOut::default();
    let mut files = Files::default();
    add_routes(&mut files, &judgement.routes, &mut left_out.routes)?;
    add_registrations(&mut files, judgement, &mut left_out.registrations)?;
    files.add_text(NODE, &json(&node_config(valid))?);
    files.add_text(CA_CRT, &roots_pem);
    files.add_text(TLS_CRT, &leaf.pair.chain_pem);
    files.add_text(TLS_KEY, leaf.pair.key.expose());
    add_grid(&mut files, &valid.grid);
    valid.backplane.files().for_each(|(file, text)| files.add_text(file, text));
    let new_rooms = rooms::add(&mut files, valid, now)?;
    let members = add_members(&mut files, valid, now)?;
    let namespace = valid.node.namespace().unwrap_or_else(|| "default".into());
    let hash = files.seal(namespace, valid.node.name_any()).map_err(|e| unwritable(&e))?;
    let member_due = members.as_ref().and_then(|members| members.leaf.due);
    let due = [leaf.due, member_due, judgement.turns].into_iter().flatten().min();
    let roll = match &valid.roll {
        Roll::Pending(pending) => Some(pending.clone()),
        Roll::Rest | Roll::Begin | Roll::End => None,
    };
    Ok(Some(Built { files, hash, new_root, roots_pem, leaf, new_rooms, members, left_out, roll, due }))
}

/// Makes the root of a node that has none. `render` calls it for all nodes before it builds any.
///
/// # Errors
/// Names that cannot stand in a certificate, or a machine without randomness.
pub(crate) fn new_root(spec: &crds::MeshNodeSpec, now: SystemTime) -> Result<Root, Problem> {
    generate(spec, now).map_err(Problem::NotIssued)
}

/// A new root for a node.
pub(crate) fn generate(spec: &crds::MeshNodeSpec, now: SystemTime) -> Result<Root, PkiError> {
    Root::generate(&identity(spec), algorithm(spec), ROOT_LIFETIME, now)
}

/// The root as it is kept from now on, and as it issues: as it was, or rolled.
fn settle_root(valid: &ValidNode, root: &Root, now: SystemTime) -> Result<Option<(Root, Issued)>, PkiError> {
    let Some(kept) = &valid.kept_root else { return Ok(None) };
    match valid.roll {
        Roll::Rest | Roll::Pending(_) => Ok(None),
        Roll::Begin => {
            let asked = roll::annotation(&*valid.node, roll::ROLL_ROOT);
            roll::next(&valid.node.spec, root, asked, now).map(Some)
        }
        Roll::End => {
            let kept = roll::ended(root, kept);
            let root = Root::from_pem(&kept.pair.chain_pem, kept.pair.key.expose(), now)?;
            Ok(Some((root, kept)))
        }
    }
}

fn certificates(valid: &ValidNode, now: SystemTime) -> Result<(Option<Issued>, Leaf, String), Problem> {
    let spec = &valid.node.spec;
    let request = leaf_request(spec);
    let issue = |root: &Root| leaf::settle(&request, spec, root, valid.leaf.as_ref(), now).map_err(Problem::NotIssued);
    Ok(match &valid.credentials {
        Credentials::Issued(Some(root)) => match settle_root(valid, root, now).map_err(Problem::NotIssued)? {
            None => (None, issue(root)?, with_retired(root, valid.kept_root.as_ref())),
            Some((root, kept)) => (Some(kept.clone()), issue(&root)?, with_retired(&root, Some(&kept))),
        },
        Credentials::Issued(None) => {
            let root = new_root(spec, now)?;
            (Some(pair_of(&root).into()), issue(&root)?, root.certificate_pem().to_owned())
        }
        Credentials::Root { root, roots_pem } => {
            let leaf = issue(root)?;
            leads_to(roots_pem, &leaf.pair, now)?;
            (None, leaf, roots_pem.clone())
        }
        Credentials::Leaf { pair, roots_pem } => (None, Leaf::brought(pair.clone()), roots_pem.clone()),
    })
}

/// Partners trust what is published, so what is issued must lead there.
fn leads_to(roots_pem: &str, leaf: &Pair, now: SystemTime) -> Result<(), Problem> {
    let bad = |why: String| Problem::BadPair { field: "spec.certificates.rootSecretRef".into(), why };
    let anchors = TrustAnchors::from_pems(&[roots_pem]).map_err(|e| bad(e.to_string()))?;
    let chain = parse_certificates(&leaf.chain_pem).map_err(|e| bad(e.to_string()))?;
    let led = anchors.verify(&chain, Role::Server, now);
    led.map_err(|problem| bad(format!("what tls.crt issues does not lead to ca.crt: {problem}")))
}

/// The files that are there beside a gateway only.
fn add_members(files: &mut Files, valid: &ValidNode, now: SystemTime) -> Result<Option<Members>, Problem> {
    let Some(gateway) = &valid.gateway else { return Ok(None) };
    let members = members::settle(&valid.node.spec, gateway, now).map_err(Problem::NotIssued)?;
    files.add_text(MEMBERS_CRT, &members.roots_pem);
    files.add_text(MEMBER_CRT, &members.leaf.pair.chain_pem);
    files.add_text(MEMBER_KEY, members.leaf.pair.key.expose());
    Ok(Some(members))
}

/// What the grid's Secrets hold.
fn add_grid(files: &mut Files, secrets: &GridSecrets) {
    for (listener, (chain, key)) in &secrets.certificates {
        let names = grid_pair(listener);
        files.add(&names.0, chain);
        files.add(&names.1, key);
    }
    secrets.keys.iter().for_each(|(listener, keys)| files.add(&grid_keys(listener), keys));
    secrets.tokens.iter().for_each(|(user, token)| files.add(&grid_token(user), token));
}

/// A root as it is kept.
pub(crate) fn pair_of(root: &Root) -> Pair {
    Pair { chain_pem: root.certificate_pem().to_owned(), key: root.key().clone() }
}

fn add_routes(
    files: &mut Files,
    routes: &[Judged<ValidRoute>],
    left_out: &mut Vec<(String, Problem)>,
) -> Result<(), Problem> {
    let (mut items, mut pairs) = (Vec::new(), 0);
    for route in routes.iter().filter_map(|route| route.accepted.as_ref()) {
        let name = &route.config.name;
        if let Some(pair) = &route.client_pair {
            pairs += pair.chain_pem.len() + pair.key.expose().len();
            if pairs > PAIRS_MAX {
                let problem = Problem::TooMany { what: "the client certificate", limit: "900 KiB of them" };
                left_out.push((name.clone(), problem));
                continue;
            }
            files.add_text(&format!("client-{name}.crt"), &pair.chain_pem);
            files.add_text(&format!("client-{name}.key"), pair.key.expose());
        }
        items.push((name.clone(), json(&route.config)?));
    }
    add_parts(files, items, "the route", routes_file, left_out);
    Ok(())
}

fn add_registrations(
    files: &mut Files,
    judgement: &Judgement,
    left_out: &mut Vec<(String, Problem)>,
) -> Result<(), Problem> {
    let accepted = judgement.registrations.iter().filter_map(|registration| registration.accepted.as_ref());
    let items = accepted.map(|config| Ok((config.resource.clone(), json(config)?))).collect::<Result<_, _>>()?;
    add_parts(files, items, "the registration", registrations_file, left_out);
    Ok(())
}

fn add_parts(
    files: &mut Files,
    items: Vec<(String, String)>,
    what: &'static str,
    file: fn(usize) -> String,
    left_out: &mut Vec<(String, Problem)>,
) {
    let split = parts::split(items);
    for (n, text) in split.parts {
        files.add_text(&file(n), &text);
    }
    let problem = Problem::TooMany { what, limit: parts::LIMIT };
    left_out.extend(split.left_out.into_iter().map(|name| (name, problem.clone())));
}

fn node_config(valid: &ValidNode) -> NodeConfig {
    let spec = &valid.node.spec;
    NodeConfig {
        node_id: spec.node_id.clone(),
        inst_id: spec.inst_id.clone(),
        display_name: spec.display_name.clone(),
        address: spec.address.clone(),
        transport: spec.transport.clone(),
        registry: spec.registry.clone(),
        grid: spec.grid.clone(),
        directory: spec.directory.clone(),
        tunnel: spec.tunnel.clone().map(|tunnel| Tunnel { mode: mode(valid, &tunnel), ..tunnel }),
        // Several gateways of one node are a later step here.
        backplane: spec.backplane.clone(),
        gateway: valid.gateway.as_ref().map(|found| gateway_config(valid, found)),
        intake: valid.intake.clone(),
    }
}

/// A gateway's pod may make no device; whoever runs a rendered directory may.
fn mode(valid: &ValidNode, tunnel: &Tunnel) -> TunnelMode {
    if valid.gateway.is_some() { TunnelMode::Userspace } else { tunnel.mode }
}

/// Where sidecars find the gateway.
fn gateway_config(valid: &ValidNode, found: &FoundGateway) -> GatewayConfig {
    let namespace = valid.node.namespace().unwrap_or_else(|| "default".into());
    GatewayConfig {
        address: format!("{}.{namespace}.svc:{DATA_PORT}", main_name(&valid.node.name_any())),
        static_ips: found.static_ips.clone(),
    }
}

fn identity(spec: &crds::MeshNodeSpec) -> Identity {
    let name = if spec.display_name.is_empty() { &spec.inst_id } else { &spec.display_name };
    Identity { node_id: spec.node_id.clone(), name: name.clone() }
}

fn algorithm(spec: &crds::MeshNodeSpec) -> Algorithm {
    match spec.certificates.algorithm {
        crds::KeyAlgorithm::EcdsaP256 => Algorithm::EcdsaP256,
        crds::KeyAlgorithm::Rsa2048 => Algorithm::Rsa2048,
    }
}

fn json(value: &impl serde::Serialize) -> Result<String, Problem> {
    serde_json::to_string(value).map_err(|e| unwritable(&e))
}

/// Our own types always have a form in JSON; should one not, it is said and not hidden.
fn unwritable(error: &serde_json::Error) -> Problem {
    Problem::Unwritable(error.to_string())
}

#[cfg(test)]
mod tests;

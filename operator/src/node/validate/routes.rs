//! Each route: accepted with everything it refers to filled in, or refused.

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use crds::{ClientCertificate, MeshRoute, snapshot::RouteConfig};
use kube::ResourceExt;
use mesh_pki::{CertificateInfo, Pair, PrivateKeyPem, check_pair};

use super::{
    Judged, Turns,
    credentials::{bad_pair, keys, text, unfit},
    is_made_by_api, oldest_first,
    partners::Partners,
    published_roots,
    roots::{self, Roots},
};
use crate::node::{Found, Problem};

const PAIR_REF: &str = "spec.clientCertificateSecretRef";

/// A route as the sidecar gets it.
#[derive(Clone, Debug)]
pub(crate) struct ValidRoute {
    /// What stands in the snapshot.
    pub(crate) config: RouteConfig,
    /// The pair that the partner issued for us.
    pub(crate) client_pair: Option<Pair>,
    /// What the partner's roots say.
    pub(crate) roots: Vec<CertificateInfo>,
}

/// Judges all routes of a node.
pub(super) fn all(found: &Found, turns: &mut Turns) -> Vec<Judged<ValidRoute>> {
    let mut partners = Partners::of(&found.node.spec.node_id);
    let mut routes = oldest_first(&found.routes);
    // What people made comes first, however young it is.
    routes.sort_by_key(|route| is_made_by_api(route));
    let mut judged: Vec<_> = routes.into_iter().map(|route| judge(route, found, &mut partners, turns)).collect();
    judged.sort_by(|a, b| a.name.cmp(&b.name));
    tell_of_shared_roots(&mut judged, found, turns.now);
    judged
}

fn judge(route: &Arc<MeshRoute>, found: &Found, partners: &mut Partners, turns: &mut Turns) -> Judged<ValidRoute> {
    let refused = |problems| Judged::of(&**route, None, problems);
    if let Err(violations) = crds::validate::route(&route.spec) {
        return refused(vec![Problem::Invalid(violations)]);
    }
    let held = partners.hold(route);
    let roots = roots::of(&route.spec.trust, &found.config_maps, turns);
    let mut remarks = Vec::new();
    let pair = client_pair(route, found, turns, &mut remarks);
    match (held, roots, pair) {
        (Ok(()), Ok(roots), Ok(client_pair)) => {
            remarks.extend(roots.remark.clone());
            remarks.extend(expiry(route, turns));
            remarks.extend((route.spec.client_certificate == ClientCertificate::Optional).then_some(Problem::Unproven));
            remarks.extend(skipped_names(route));
            let config = config(route, &roots, client_pair.is_some());
            let accepted = Some(ValidRoute { config, client_pair, roots: roots.infos });
            Judged::of(&**route, accepted, remarks)
        }
        (held, roots, pair) => refused([held.err(), roots.err(), pair.err()].into_iter().flatten().collect()),
    }
}

fn config(route: &MeshRoute, roots: &Roots, client_pair: bool) -> RouteConfig {
    let spec = &route.spec;
    RouteConfig {
        name: route.name_any(),
        peer: spec.peer.clone(),
        addresses: spec.addresses.clone(),
        roots: roots.pems.clone(),
        client_certificate: spec.client_certificate,
        client_pair,
        expires_at: spec.expires_at.clone(),
        disabled: spec.disabled,
        exports: spec.exports.clone(),
        max_queued_bytes: spec.max_queued_bytes,
        proxy: spec.proxy.clone(),
        static_ips: spec.static_ips.iter().filter_map(|ip| ip.parse().ok()).collect(),
        by_api: false,
    }
}

fn client_pair(
    route: &MeshRoute,
    found: &Found,
    turns: &mut Turns,
    remarks: &mut Vec<Problem>,
) -> Result<Option<Pair>, Problem> {
    let Some(secret) = &route.spec.client_certificate_secret_ref else { return Ok(None) };
    let keys = keys(PAIR_REF, secret, &found.secrets)?;
    let (crt, key) = (text(PAIR_REF, secret, keys, "tls.crt")?, text(PAIR_REF, secret, keys, "tls.key")?);
    let chain = check_pair(crt, key).map_err(|e| unfit(PAIR_REF, &e))?;
    if let Some(leaf) = chain.first() {
        turns.at(leaf.not_after);
        if turns.now > leaf.not_after {
            let why = format!(
                "the certificate of {} ended at {}: ask the partner for a new one",
                leaf.subject,
                roots::moment(leaf.not_after)
            );
            remarks.push(bad_pair(PAIR_REF, why));
        }
    }
    Ok(Some(Pair { chain_pem: crt.to_owned(), key: PrivateKeyPem::new(key.to_owned()) }))
}

/// An expired route stays in the configuration, so that the partner is told so (PTP section 13, E0000000605).
fn expiry(route: &MeshRoute, turns: &mut Turns) -> Option<Problem> {
    let text = route.spec.expires_at.as_ref()?;
    let end: SystemTime = text.parse::<jiff::Timestamp>().ok()?.into();
    turns.at(end);
    let remedy = "set a later time to let calls through again, or delete the route";
    (end <= turns.now).then(|| Problem::Expired { field: "spec.expiresAt".into(), at: text.clone(), remedy })
}

/// An address with the tag `k` that is not `0` or `false` (PTP section 11.4), without the tags, which may hold a login.
fn skipped_names(route: &MeshRoute) -> Option<Problem> {
    let asks =
        |tag: &str| matches!(tag.split_once('=').unwrap_or((tag, "")), ("k", value) if !matches!(value, "0" | "false"));
    let mut tagged = route.spec.addresses.iter().filter_map(|given| given.address.split_once('?'));
    let (address, _) = tagged.find(|(_, tags)| tags.split('&').any(asks))?;
    Some(Problem::SkipsNames { address: address.to_owned() })
}

/// The sidecar asks for the partner's name where several share a root, this node among them (design section 4, "A partner
/// is"). That is fine as long as leaves carry it, which nobody can see from here.
fn tell_of_shared_roots(judged: &mut [Judged<ValidRoute>], found: &Found, now: SystemTime) {
    let mut holders: HashMap<String, Vec<String>> = HashMap::new();
    let own = published_roots(&found.node.spec, &found.secrets, found.root.as_ref(), found.issuer.as_ref(), now);
    for der in own.iter().flat_map(|pem| mesh_pki::parse_certificates(pem)).flatten() {
        let sum = CertificateInfo::from_der(&der).map(|info| info.sha256);
        holders.extend(sum.map(|sum| (sum, vec!["this node itself".into()])));
    }
    for route in judged.iter() {
        for root in route.accepted.iter().flat_map(|route| &route.roots) {
            holders.entry(root.sha256.clone()).or_default().push(format!("MeshRoute {}", route.name));
        }
    }
    for route in judged.iter_mut() {
        let Some(accepted) = &route.accepted else { continue };
        let own = format!("MeshRoute {}", route.name);
        let with =
            accepted.roots.iter().filter_map(|root| holders.get(&root.sha256)).flatten().find(|name| **name != own);
        let node_id = accepted.config.peer.node_id.clone();
        route.problems.extend(with.map(|with| Problem::RootShared { with: with.clone(), node_id }));
    }
}

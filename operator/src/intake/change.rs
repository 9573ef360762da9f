//! What a change of trust comes to: pure, from the change and the routes that are there.
//!
//! A route that somebody made with kubectl wins over what an application asks for: it is confirmed where it says the same, and
//! otherwise left as it is, with a text that names it. Routes made here carry a label.

use std::{collections::BTreeSet, net::IpAddr};

use crds::{ClientCertificate, LocalRef, MeshRoute, MeshRouteSpec, Trust, intake::RouteChange};
use jiff::Timestamp;
use kube::ResourceExt;
use sha2::{Digest, Sha256};

use crate::node::is_made_by_api;

/// What is to be done, with the name of the route.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// It is so already.
    Nothing { name: String },
    /// A new one.
    Create { name: String, spec: Box<MeshRouteSpec> },
    /// One of ours gets this spec.
    Update { name: String, spec: Box<MeshRouteSpec> },
    /// One of ours goes.
    Delete { name: String },
}

/// Why a change is refused, whoever asks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("MeshRoute {name} was made with kubectl and says otherwise: change it there")]
    Theirs { name: String },
    #[error("there is no route to {node_id}")]
    Unknown { node_id: String },
    #[error("{0}")]
    Invalid(String),
    /// Who may claim to be a partner is what a person grants: whoever may write the resource says so there.
    #[error(
        "clientCertificate: Optional takes whoever claims to be {node_id} at its word, and only a person may grant that: write it into spec.clientCertificate of MeshRoute {name}"
    )]
    Unproven { node_id: String, name: String },
    #[error("the node itself cannot be its own partner")]
    SelfRoute,
}

impl Refused {
    /// The protocol's code (PTP section 13).
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Theirs { .. } | Self::Unproven { .. } => "E0000000614",
            Self::Unknown { .. } => "E0000000618",
            Self::Invalid(_) | Self::SelfRoute => "E0000000400",
        }
    }

    /// The name of the route that the text names, which only those hear who may change it.
    pub(super) fn route(&self) -> Option<&str> {
        match self {
            Self::Theirs { name } | Self::Unproven { name, .. } => Some(name),
            Self::Unknown { .. } | Self::Invalid(_) | Self::SelfRoute => None,
        }
    }
}

impl Step {
    /// The name of the route.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Nothing { name } | Self::Create { name, .. } | Self::Update { name, .. } | Self::Delete { name } => {
                name
            }
        }
    }
}

/// The partner that a change is about.
pub(super) fn partner(change: &RouteChange) -> &str {
    match change {
        RouteChange::Put { route } => &route.peer.node_id,
        RouteChange::Remove { node_id } => node_id,
    }
}

/// Decides. `node` is the MeshNode of the caller's pod and `own_id` its node id; `routes` are the node's, of that partner.
pub(super) fn decide(
    change: &RouteChange,
    (node, own_id): (&str, &str),
    routes: &[MeshRoute],
) -> Result<Step, Refused> {
    match change {
        RouteChange::Put { route } => put(route, (node, own_id), routes),
        RouteChange::Remove { node_id } => Ok(Step::Delete { name: ours(find(routes, node_id)?)? }),
    }
}

fn put(route: &MeshRouteSpec, (node, own_id): (&str, &str), routes: &[MeshRoute]) -> Result<Step, Refused> {
    if route.peer.node_id.eq_ignore_ascii_case(own_id) {
        return Err(Refused::SelfRoute);
    }
    // What an application may open to a partner, or refer to, is less than what a person may.
    let spec = MeshRouteSpec {
        node_ref: LocalRef { name: node.into() },
        exports: Vec::new(),
        client_certificate_secret_ref: None,
        ..route.clone()
    };
    if spec.trust.config_map_ref.is_some() {
        return Err(Refused::Invalid("trust must be given as rootPEMs".into()));
    }
    let name = route_name(node, &spec.peer.node_id);
    if let Err(broken) = crds::validate::route(&spec) {
        return Err(Refused::Invalid(broken.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")));
    }
    let there = find(routes, &spec.peer.node_id).ok();
    let granted = there.map(|there| there.spec.client_certificate).unwrap_or_default();
    if spec.client_certificate == ClientCertificate::Optional && granted != ClientCertificate::Optional {
        let name = there.map_or(name, ResourceExt::name_any);
        return Err(Refused::Unproven { node_id: spec.peer.node_id, name });
    }
    // Nor does a change of an address take back what a person granted.
    let spec = MeshRouteSpec { client_certificate: granted, ..spec };
    let Some(there) = there else {
        return Ok(Step::Create { name, spec: Box::new(spec) });
    };
    if says_the_same(&there.spec, &spec) {
        return Ok(Step::Nothing { name: there.name_any() });
    }
    Ok(Step::Update { name: ours(there)?, spec: Box::new(spec) })
}

/// What a person's route grants beside is the person's business.
fn says_the_same(there: &MeshRouteSpec, asked: &MeshRouteSpec) -> bool {
    there.peer.node_id.eq_ignore_ascii_case(&asked.peer.node_id)
        && there.addresses == asked.addresses
        && roots(&there.trust).is_some_and(|known| Some(known) == roots(&asked.trust))
        && there.disabled == asked.disabled
        && there.peer.inst_id.eq_ignore_ascii_case(&asked.peer.inst_id)
        && end(there) == end(asked)
        && there.proxy == asked.proxy
        && static_ips(there) == static_ips(asked)
        && there.max_queued_bytes == asked.max_queued_bytes
}

/// The moment, however it is written.
fn end(route: &MeshRouteSpec) -> Option<Result<Timestamp, &str>> {
    route.expires_at.as_deref().map(|text| text.parse().map_err(|_| text))
}

/// The addresses, however they are written. The schema has refused what is none.
fn static_ips(route: &MeshRouteSpec) -> BTreeSet<IpAddr> {
    route.static_ips.iter().filter_map(|ip| ip.parse().ok()).collect()
}

/// The certificates themselves: the lines around them are nobody's business. `None` where a ConfigMap has them.
fn roots(trust: &Trust) -> Option<BTreeSet<Vec<u8>>> {
    if trust.config_map_ref.is_some() {
        return None;
    }
    let all = trust.root_pems.iter().map(|pem| mesh_pki::parse_certificates(pem).ok()).collect::<Option<Vec<_>>>()?;
    Some(all.into_iter().flatten().map(|der| der.to_vec()).collect())
}

/// Where people made one too, theirs is the one that counts.
fn find<'r>(routes: &'r [MeshRoute], node_id: &str) -> Result<&'r MeshRoute, Refused> {
    let of_partner = routes.iter().filter(|route| route.spec.peer.node_id.eq_ignore_ascii_case(node_id));
    of_partner.min_by_key(|route| is_made_by_api(route)).ok_or_else(|| Refused::Unknown { node_id: node_id.into() })
}

fn ours(route: &MeshRoute) -> Result<String, Refused> {
    let name = route.name_any();
    if is_made_by_api(route) { Ok(name) } else { Err(Refused::Theirs { name }) }
}

/// The same for a partner at each time, and never that of another node's route: node ids have letters that names may not.
pub(super) fn route_name(node: &str, partner: &str) -> String {
    let sum = Sha256::digest(format!("{node}/{}", partner.to_ascii_lowercase()));
    let hex: String = sum.iter().take(10).map(|byte| format!("{byte:02x}")).collect();
    format!("api-{hex}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::node::sample;

    const ROOT: &str = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n";

    fn asked(peer: &str) -> MeshRouteSpec {
        sample::route("x", "anything", peer, &[ROOT]).spec
    }

    /// A route that is there, by kubectl or made here.
    fn there(name: &str, peer: &str, is_ours: bool) -> MeshRoute {
        let mut route = sample::route(name, "bank-a", peer, &[ROOT]);
        if is_ours {
            route.labels_mut().insert(crds::intake::MADE_BY.into(), crds::intake::INTAKE.into());
        }
        route
    }

    fn decided(change: &RouteChange, routes: &[MeshRoute]) -> Result<Step, Refused> {
        decide(change, ("bank-a", "LX1"), routes)
    }

    fn put(spec: MeshRouteSpec) -> RouteChange {
        RouteChange::Put { route: Box::new(spec) }
    }

    #[test]
    fn a_new_partner_gets_a_route_of_its_own_node_that_exports_nothing() {
        let greedy = MeshRouteSpec {
            exports: vec!["/serving".into()],
            client_certificate_secret_ref: sample::named("others-secret"),
            ..asked("LX2")
        };
        let Ok(Step::Create { name, spec }) = decided(&put(greedy), &[]) else { panic!() };
        assert_eq!(spec.node_ref.name, "bank-a");
        assert!(spec.exports.is_empty() && spec.client_certificate_secret_ref.is_none());
        assert!(name.starts_with("api-") && name.len() == 24, "{name}");
        assert_eq!(route_name("bank-a", "lx2"), name, "the case of an id does not matter");
        assert_ne!(route_name("bank-b", "LX2"), name);
    }

    #[test]
    fn what_is_so_already_is_confirmed_whoever_made_it() {
        for is_ours in [false, true] {
            let mut other_lines = asked("lx2");
            other_lines.trust.root_pems = vec![ROOT.trim().into()];
            let other_name =
                MeshRouteSpec { peer: crds::Peer { display_name: "B".into(), ..asked("lx2").peer }, ..asked("lx2") };
            for same in [asked("lx2"), other_lines, other_name] {
                let step = decided(&put(same), &[there("r", "LX2", is_ours)]);
                assert_eq!(step, Ok(Step::Nothing { name: "r".into() }));
            }
        }
    }

    #[test]
    fn what_people_made_wins_over_what_applications_ask_for() {
        let other = MeshRouteSpec { addresses: Vec::new(), ..asked("LX2") };
        let off = put(MeshRouteSpec { disabled: true, ..asked("LX2") });
        let gone = RouteChange::Remove { node_id: "LX2".into() };
        let ends = put(MeshRouteSpec { expires_at: Some("2030-01-31T00:00:00Z".into()), ..asked("LX2") });
        let through = put(MeshRouteSpec { proxy: "http://p:1".into(), ..asked("LX2") });
        let bounded = put(MeshRouteSpec { max_queued_bytes: Some("1Mi".parse().unwrap()), ..asked("LX2") });
        for change in [put(other), off, ends, through, bounded, gone] {
            assert_eq!(decided(&change, &[there("r", "LX2", false)]), Err(Refused::Theirs { name: "r".into() }));
            let both = [there("api", "LX2", true), there("r", "LX2", false)];
            assert_eq!(decided(&change, &both), Err(Refused::Theirs { name: "r".into() }));
            let step = decided(&change, &[there("r", "LX2", true)]).unwrap();
            assert!(matches!(step, Step::Update { .. } | Step::Delete { .. }), "{step:?}");
            assert_eq!(step.name(), "r");
        }
    }

    #[test]
    fn an_application_can_have_no_claim_taken_unproven_that_no_person_granted() {
        let unproven = |peer| MeshRouteSpec { client_certificate: ClientCertificate::Optional, ..asked(peer) };
        for routes in [vec![], vec![there("r", "LX2", true)], vec![there("r", "LX2", false)]] {
            let refused = decided(&put(unproven("LX2")), &routes).unwrap_err();
            assert_eq!(refused.code(), "E0000000614");
            assert!(refused.to_string().contains("spec.clientCertificate of MeshRoute"), "{refused}");
        }
        let mut granted = there("r", "LX2", true);
        granted.spec.client_certificate = ClientCertificate::Optional;
        assert_eq!(decided(&put(unproven("LX2")), &[granted.clone()]), Ok(Step::Nothing { name: "r".into() }));
        let moved = MeshRouteSpec { addresses: Vec::new(), ..asked("LX2") };
        let Ok(Step::Update { spec, .. }) = decided(&put(moved), &[granted]) else { panic!() };
        assert_eq!(spec.client_certificate, ClientCertificate::Optional, "a change of address takes no grant back");
    }

    #[test]
    fn each_bad_change_has_its_code() {
        let reference =
            Trust { config_map_ref: Some(serde_json::from_value(json!({"name": "m"})).unwrap()), ..Trust::default() };
        for (change, code) in [
            (put(asked("lx1")), "E0000000400"),
            (put(asked("")), "E0000000400"),
            (put(asked("LX0000000000000")), "E0000000400"),
            (put(MeshRouteSpec { trust: reference, ..asked("LX2") }), "E0000000400"),
            (put(MeshRouteSpec { trust: Trust::default(), ..asked("LX2") }), "E0000000400"),
            (put(MeshRouteSpec { proxy: "no url".into(), ..asked("LX2") }), "E0000000400"),
            (RouteChange::Remove { node_id: "LX9".into() }, "E0000000618"),
        ] {
            assert_eq!(decided(&change, &[]).unwrap_err().code(), code, "{change:?}");
        }
    }

    #[test]
    fn a_change_is_read_as_it_is_written() {
        let remove = json!({"change": "remove", "nodeId": "LX2"});
        let read: RouteChange = serde_json::from_value(remove.clone()).unwrap();
        assert_eq!(read, RouteChange::Remove { node_id: "LX2".into() });
        assert_eq!(json!(read), remove);
        assert_eq!(serde_json::from_value::<RouteChange>(json!(put(asked("LX2")))).unwrap(), put(asked("LX2")));
    }
}

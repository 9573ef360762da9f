//! What works on a route and ought to be known all the same: shown by status, `mesh route ls` and diagnoses.
//!
//! Pure: of a snapshot and of what the settings permit. What does not work is told by calls and checks ([`crate::AddressState`]).

use std::collections::HashMap;

use crds::ClientCertificate;
use mesh_core::{Route, Snapshot};

use crate::{
    NameCheck,
    dial::{Address, shown},
};

/// Partners that a remark names; more are counted.
const MOST_NAMED: usize = 3;

/// One remark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// Which part of the route it is about.
    pub about: &'static str,
    /// What is so.
    pub text: String,
    /// What to do about it.
    pub remedy: &'static str,
}

/// The remarks on the routes of one snapshot.
pub struct Remarks<'s> {
    snapshot: &'s Snapshot,
    names: NameCheck,
    /// sha256 of a root to the partners that it serves.
    sharing: HashMap<&'s str, Vec<&'s str>>,
}

impl<'s> Remarks<'s> {
    /// Looks at all routes once.
    #[must_use]
    pub fn of(snapshot: &'s Snapshot, names: NameCheck) -> Self {
        let mut sharing: HashMap<&str, Vec<&str>> = HashMap::new();
        for route in snapshot.routes() {
            for root in route.anchors.roots() {
                sharing.entry(root.sha256.as_str()).or_default().push(route.node_id.as_str());
            }
        }
        for root in snapshot.node.roots.roots() {
            sharing.entry(root.sha256.as_str()).or_default().push(snapshot.node.node_id.as_str());
        }
        Self { snapshot, names, sharing }
    }

    /// What is to be said of a route.
    #[must_use]
    pub fn on(&self, route: &Route) -> Vec<Remark> {
        let mut all = Vec::new();
        all.extend(unproven(route));
        all.extend(self.shared_root(route));
        all.extend(self.skipped_names(route));
        all
    }

    fn shared_root(&self, route: &Route) -> Option<Remark> {
        let own = route.node_id.as_str();
        let mut others: Vec<&str> = route
            .anchors
            .roots()
            .filter_map(|root| self.sharing.get(root.sha256.as_str()))
            .flatten()
            .copied()
            .filter(|other| !other.eq_ignore_ascii_case(own))
            .collect();
        others.sort_unstable();
        others.dedup();
        let named = others.get(..others.len().min(MOST_NAMED))?.join(", ");
        let more = others.len().saturating_sub(MOST_NAMED);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        let own_name = mesh_pki::node_dns_name(own);
        let text = format!(
            "its root is also that of {named}{more}: only certificates that name {own_name} are taken for its own"
        );
        let remedy = "have the partner show such a certificate, or trust a root that is its alone";
        (!others.is_empty()).then_some(Remark { about: "trust", text, remedy })
    }

    /// PTP section 11.4: the tag `k` is shown as a warning. Chains are checked in any case.
    fn skipped_names(&self, route: &Route) -> Option<Remark> {
        // The way to a gateway is nobody's to tag.
        if self.snapshot.gateway.is_some() {
            return None;
        }
        let asks = |given: &&crds::PeerAddress| Address::parse(&given.address).is_ok_and(|a| a.tags.skips_verify);
        let given = route.config.addresses.iter().find(asks)?;
        let address = shown(&given.address);
        let (text, remedy) = match self.names {
            NameCheck::Skipped => (
                format!("{address} has the tag k: names in certificates are not looked at, at any address"),
                "take out k and PLUGIN_PROXY_INSECURE_SKIP",
            ),
            NameCheck::Required => {
                (format!("{address} has the tag k, which nothing permits: names are checked"), "take it out")
            }
        };
        Some(Remark { about: "name", text, remedy })
    }
}

/// PTP section 12.4: a route that asks for no certificate says so.
fn unproven(route: &Route) -> Option<Remark> {
    (route.config.client_certificate == ClientCertificate::Optional).then(|| Remark {
        about: "client certificate",
        text: "it need not show a certificate (clientCertificate: Optional), so what it claims to be is not proven"
            .to_owned(),
        remedy: "set clientCertificate: Required as soon as it has one",
    })
}

impl std::fmt::Display for Remark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} -> {}", self.about, self.text, self.remedy)
    }
}

#[cfg(test)]
mod tests {
    use crds::{PeerAddress, snapshot::RouteConfig};

    use super::*;
    use crate::testing::{A, B, C, institution};

    fn said(snapshot: &Snapshot, names: NameCheck) -> Vec<Vec<&'static str>> {
        let remarks = Remarks::of(snapshot, names);
        snapshot.routes().iter().map(|route| remarks.on(route).into_iter().map(|r| r.about).collect()).collect()
    }

    #[test]
    fn a_route_that_works_as_it_ought_to_has_none_and_each_other_its_own() {
        let (a, b, c) = (institution(A), institution(B), institution(C));
        let required = |routes| said(&a.snapshot(routes), NameCheck::Required);
        assert_eq!(required(vec![b.route(), c.route()]), [vec![], vec![]] as [Vec<&str>; 2]);
        let optional = RouteConfig { client_certificate: ClientCertificate::Optional, ..b.route() };
        assert_eq!(required(vec![optional, c.route()]), [vec!["client certificate"], vec![]]);
        let shared = RouteConfig { roots: b.route().roots, ..c.route() };
        assert_eq!(required(vec![b.route(), shared]), [vec!["trust"], vec!["trust"]]);
        assert_eq!(required(vec![RouteConfig { roots: a.route().roots, ..b.route() }]), [vec!["trust"]]);
        let tagged = PeerAddress { address: "b:1?k=1".into(), server_name: String::new() };
        let tagged = RouteConfig { addresses: vec![tagged], ..b.route() };
        for names in [NameCheck::Required, NameCheck::Skipped] {
            assert_eq!(said(&a.snapshot(vec![tagged.clone()]), names), [vec!["name"]]);
        }
    }

    #[test]
    fn a_shared_root_names_who_shares_it() {
        let (a, b, c) = (institution(A), institution(B), institution(C));
        let shared = RouteConfig { roots: b.route().roots, ..c.route() };
        let snapshot = a.snapshot(vec![b.route(), shared]);
        let remark = &Remarks::of(&snapshot, NameCheck::Required).on(&snapshot.routes()[0])[0];
        assert!(remark.text.contains(C) && remark.text.contains("LX0000010000270.trustbe.cn"), "{remark}");
    }
}

use std::time::Duration;

use mesh_core::NodeId;

use super::*;
use crate::testing::{A, B, C, Running, institution};

const DEPTH: Depth = Depth { idle: Duration::from_millis(200) };

fn state(report: &Report, check: &str) -> (State, String) {
    let all = report.lines.iter().chain(report.addresses.iter().flat_map(|address| &address.lines));
    let line = all.into_iter().find(|line| line.check == check).unwrap_or_else(|| panic!("{check}: {report:?}"));
    (line.state, line.remedy.clone())
}

#[tokio::test]
async fn a_route_that_cannot_carry_anything_is_not_dialled() {
    let (a, b) = (institution(A), institution(B));
    let table = [
        (crds::snapshot::RouteConfig { disabled: true, ..b.route_at(&["127.0.0.1:1".parse().unwrap()]) }, "route"),
        (b.route(), "addresses"),
        (crds::snapshot::RouteConfig { roots: Vec::new(), ..b.route_at(&["127.0.0.1:1".parse().unwrap()]) }, "trust"),
    ];
    for (route, check) in table {
        let client = Running::start(a.parts(vec![route]));
        let report = client.partners.diagnose(&NodeId::new(B), DEPTH).await.unwrap();
        let (found, remedy) = state(&report, check);
        assert_eq!((found, report.ok, remedy.is_empty()), (State::Failed, false, false), "{check}");
        assert!(report.addresses.is_empty(), "{report:?}");
    }
    let client = Running::start(a.parts(Vec::new()));
    assert!(matches!(client.partners.diagnose(&NodeId::new(C), DEPTH).await, Err(RouteError::UnknownNode { .. })));
}

#[tokio::test]
async fn each_line_after_a_fault_says_what_it_waits_for() {
    let (a, b) = (institution(A), institution(B));
    let client = Running::start(a.parts(vec![b.route_at(&["127.0.0.1:1".parse().unwrap()])]));
    let report = client.partners.diagnose(&NodeId::new(B), DEPTH).await.unwrap();
    assert_eq!(state(&report, "dns").0, State::Ok);
    assert_eq!(state(&report, "tcp").0, State::Failed);
    let checks: Vec<&str> = report.addresses[0].lines.iter().map(|line| line.check.as_str()).collect();
    assert_eq!(checks.len(), 15, "{checks:?}");
    let idle = report.addresses[0].lines.last().unwrap();
    assert_eq!((idle.state, idle.detail.as_str()), (State::Skipped, "not tried: tcp failed"));
}

/// A node that answers everybody, with a partner's certificate and somebody else's id.
struct Other(&'static str);

impl crate::listen::Serve for Other {
    async fn serve(
        &self,
        request: http::Request<mesh_core::Body>,
        _: Arc<crate::listen::Connection>,
    ) -> http::Response<mesh_core::Body> {
        if request.uri().path() == "/stats" {
            return http::Response::new(mesh_core::Body::from("E0000000000"));
        }
        let said = serde_json::json!({"code": "E0000000000", "content": {"node_id": self.0}});
        http::Response::new(mesh_core::Body::from(said.to_string()))
    }
}

#[tokio::test]
async fn another_node_of_the_partner_is_told_by_what_it_says_of_itself() {
    let (a, b) = (institution(A), institution(B));
    for (says, expected) in [(B, State::Ok), (C, State::Failed)] {
        let live = Arc::new(mesh_core::Live::new(b.snapshot(Vec::new())));
        let (limits, workers) = (crate::listen::Limits::default(), mesh_core::Workers::here());
        let gate = crate::listen::Gate::new(live, limits, workers, &mut Default::default()).unwrap();
        let listener = crate::testing::listener("127.0.0.1:0".parse().unwrap());
        let address = listener.local_addr().unwrap();
        let drain = mesh_core::Drain::new();
        tokio::spawn(crate::listen::serve(listener, Arc::new(Other(says)), gate, drain.handle()));
        let client = Running::start(a.parts(vec![b.route_at(&[address])]));
        let report = client.partners.diagnose(&NodeId::new(B), DEPTH).await.unwrap();
        let (found, remedy) = state(&report, "identity");
        assert_eq!((found, remedy.contains("another node")), (expected, says == C), "{report:#?}");
        assert_eq!(state(&report, "authorisation").0, State::Ok);
    }
}

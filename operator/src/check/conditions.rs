//! What the resources say of themselves: their conditions, each with reason and remedy.

use crds::{Condition, ConditionStatus, MeshNode, MeshRoute, READY, RECONCILING, STALLED, ServiceRegistration};
use kube::{Api, Client, ResourceExt, api::ListParams};

use super::finding::{Finding, State};
use crate::controllers::{DELETE_ROOT, DISABLED, TRUE_IS_TROUBLE};

/// What the findings about routes are called.
const ROUTE: &str = "route";
/// The reason of a route whose `expiresAt` is past.
const EXPIRED: &str = "Expired";

/// So many objects at a time: whole lists of large clusters are megabytes.
const PAGE: u32 = 500;

/// Every node, route and registration of the namespaces.
pub(crate) async fn check(client: &Client, scopes: &[Option<&str>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for scope in scopes {
        let nodes = listed::<MeshNode>(client, *scope, "node", |n| {
            (n.status.as_ref().map(|s| s.conditions.clone()), n.metadata.generation)
        });
        findings.extend(nodes.await);
        let routes = listed::<MeshRoute>(client, *scope, ROUTE, |r| {
            (r.status.as_ref().map(|s| s.conditions.clone()), r.metadata.generation)
        });
        findings.extend(routes.await);
        let registrations = listed::<ServiceRegistration>(client, *scope, "registration", |r| {
            (r.status.as_ref().map(|s| s.conditions.clone()), r.metadata.generation)
        });
        findings.extend(registrations.await);
    }
    findings
}

/// The conditions of an object, if it has a status, and its generation.
type Said = (Option<Vec<Condition>>, Option<i64>);

async fn listed<K>(client: &Client, scope: Option<&str>, check: &'static str, said: fn(&K) -> Said) -> Vec<Finding>
where
    K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let api: Api<K> = scope.map_or_else(|| Api::all(client.clone()), |n| Api::namespaced(client.clone(), n));
    let mut findings = Vec::new();
    let mut params = ListParams::default().limit(PAGE);
    loop {
        match api.list(&params).await {
            Ok(page) => {
                findings.extend(page.items.iter().flat_map(|object| {
                    let subject = format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any());
                    let (conditions, generation) = said(object);
                    let judged = || judge(check, conditions.as_deref(), generation);
                    let found = held(check, object).map_or_else(judged, |held| vec![held]);
                    found.into_iter().map(move |finding| finding.of(subject.clone()))
                }));
                match page.metadata.continue_.filter(|token| !token.is_empty()) {
                    Some(token) => params = params.continue_token(&token),
                    None => return findings,
                }
            }
            Err(error) => {
                let subject = scope.unwrap_or("all namespaces");
                let remedy = "install the definitions, and look at `rights` above";
                findings.push(Finding::bad(check, State::Failed, error.to_string(), remedy).of(subject));
                return findings;
            }
        }
    }
}

/// A node that was deleted, and waits for its operator: where none is left its namespace would end never.
fn held(check: &'static str, object: &impl ResourceExt) -> Option<Finding> {
    object.meta().deletion_timestamp.as_ref()?;
    let finalizer = object.finalizers().iter().find(|finalizer| *finalizer == DELETE_ROOT)?;
    let remedy = format!(
        "the operator removes its root and {finalizer}: see `operator` above. Where none looks after the namespace any more: kubectl -n {} patch meshnode {} --type=merge -p '{{\"metadata\": {{\"finalizers\": null}}}}', and its root stays",
        object.namespace().unwrap_or_default(),
        object.name_any()
    );
    Some(Finding::bad(check, State::Warning, "was deleted, and waits for the operator", remedy))
}

/// `Ready` decides; whatever else is amiss only warns, as does a partner that is away or whose route people let end: it makes
/// nothing of ours unhealthy.
fn judge(check: &'static str, conditions: Option<&[Condition]>, generation: Option<i64>) -> Vec<Finding> {
    let bad = |state, said: &str, remedy: &str| vec![Finding::bad(check, state, said, remedy)];
    let Some(conditions) = conditions.filter(|c| !c.is_empty()) else {
        let remedy = "the operator has not looked at it: see `operator` above, and its watched namespaces";
        return bad(State::Failed, "has no conditions", remedy);
    };
    let Some(ready) = conditions.iter().find(|c| c.r#type == READY) else {
        return bad(State::Failed, "has no condition Ready", "an operator of another version wrote it?");
    };
    if generation.is_some_and(|g| g > ready.observed_generation) {
        let said = "its conditions speak of an older spec";
        return bad(State::Warning, said, "wait a moment; if it stays, see `operator` above");
    }
    // The message of a condition carries its remedy.
    if ready.status != ConditionStatus::True {
        let is_over = check == ROUTE && ready.reason == EXPIRED;
        let state = if is_over { State::Warning } else { State::Failed };
        return bad(state, &format!("not ready: {}", ready.reason), &ready.message);
    }
    if ready.reason == DISABLED {
        return bad(State::Warning, "is switched off", &ready.message);
    }
    let troubles: Vec<Finding> = conditions.iter().filter(|c| is_trouble(c)).map(|c| trouble(check, c)).collect();
    if troubles.is_empty() { vec![Finding::ok(check, "ready")] } else { troubles }
}

fn is_trouble(condition: &Condition) -> bool {
    let kind = condition.r#type.as_str();
    let bad = if TRUE_IS_TROUBLE.contains(&kind) { ConditionStatus::True } else { ConditionStatus::False };
    condition.status == bad && ![RECONCILING, STALLED].contains(&kind)
}

fn trouble(check: &'static str, condition: &Condition) -> Finding {
    let Condition { r#type: kind, status, reason, message, .. } = condition;
    Finding::bad(check, State::Warning, format!("ready, but {kind}={status:?}: {reason}"), message.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(kind: &str, status: ConditionStatus, reason: &str) -> Condition {
        Condition {
            r#type: kind.into(),
            status,
            reason: reason.into(),
            message: format!("{reason}: do this"),
            last_transition_time: String::new(),
            observed_generation: 2,
        }
    }

    fn only(findings: Vec<Finding>) -> Finding {
        assert_eq!(findings.len(), 1, "{findings:?}");
        findings.into_iter().next().unwrap()
    }

    #[test]
    fn ready_decides_and_a_partner_that_is_away_only_warns() {
        let ready = condition(READY, ConditionStatus::True, "Ready");
        let away = condition(crds::REACHABLE, ConditionStatus::False, "NoAnswer");
        assert_eq!(only(judge("route", Some(std::slice::from_ref(&ready)), Some(2))).state, State::Ok);
        let warned = only(judge("route", Some(&[ready, away]), Some(2)));
        assert_eq!((warned.state, warned.said.as_str()), (State::Warning, "ready, but Reachable=False: NoAnswer"));
        let broken = only(judge("route", Some(&[condition(READY, ConditionStatus::False, "BadRoot")]), Some(2)));
        assert_eq!((broken.state, broken.remedy.as_str()), (State::Failed, "BadRoot: do this"));
    }

    #[test]
    fn a_route_that_people_switched_off_or_let_end_only_warns() {
        for (status, reason) in [(ConditionStatus::True, "Disabled"), (ConditionStatus::False, "Expired")] {
            let found = only(judge("route", Some(&[condition(READY, status, reason)]), Some(2)));
            assert_eq!((found.state, found.remedy), (State::Warning, format!("{reason}: do this")));
        }
        let expired = condition(READY, ConditionStatus::False, "Expired");
        assert_eq!(only(judge("node", Some(&[expired]), Some(2))).state, State::Failed, "its own certificate");
    }

    #[test]
    fn a_node_that_is_ready_and_not_well_is_told_with_each_trouble_and_its_remedy() {
        use ConditionStatus::{False, True, Unknown};
        let conditions = [
            condition(READY, True, "Ready"),
            condition(RECONCILING, False, "Reconciled"),
            condition(STALLED, False, "Progressing"),
            condition("CertificateValid", True, "Valid"),
            condition("InForce", False, "Behind"),
            condition("CertificateRenewed", False, "IssuerRefused"),
            condition("StateShared", False, "SeveralSidecars"),
            condition("Another", Unknown, "NotReported"),
            condition("RoleStale", True, "PodsToRestart"),
            condition("RootRollPending", True, "PartnersToFollow"),
            condition("GatewayUpdateWaits", True, "Paused"),
        ];
        let found = judge("node", Some(&conditions), Some(2));
        assert!(found.iter().all(|f| f.state == State::Warning && f.remedy.ends_with(": do this")), "{found:?}");
        let said: Vec<&str> = found.iter().filter_map(|f| f.said.strip_prefix("ready, but ")).collect();
        let wanted = [
            "InForce=False: Behind",
            "CertificateRenewed=False: IssuerRefused",
            "StateShared=False: SeveralSidecars",
            "RoleStale=True: PodsToRestart",
            "RootRollPending=True: PartnersToFollow",
            "GatewayUpdateWaits=True: Paused",
        ];
        assert_eq!(said, wanted);
    }

    #[test]
    fn a_node_that_waits_for_an_operator_is_told_with_the_way_out() {
        let node = |metadata| -> MeshNode {
            let spec = serde_json::json!({"nodeId": "a", "instId": "b"});
            serde_json::from_value(serde_json::json!({"apiVersion": "interconn.dev/v1alpha1", "kind": "MeshNode",
                "metadata": metadata, "spec": spec}))
            .unwrap()
        };
        let ends = node(serde_json::json!({"name": "a", "namespace": "shop", "finalizers": [DELETE_ROOT],
            "deletionTimestamp": "2026-01-01T00:00:00Z"}));
        let found = held("node", &ends).unwrap();
        assert!(
            found.remedy.contains(r#"-n shop patch meshnode a --type=merge -p '{"metadata": {"finalizers": null}}'"#)
        );
        assert_eq!(held("node", &node(serde_json::json!({"name": "a", "finalizers": [DELETE_ROOT]}))), None);
    }

    #[test]
    fn what_nobody_looked_at_is_no_success() {
        assert_eq!(only(judge("node", None, Some(1))).state, State::Failed);
        assert_eq!(only(judge("node", Some(&[]), Some(1))).state, State::Failed);
        let old = condition(READY, ConditionStatus::True, "Ready");
        assert_eq!(only(judge("node", Some(&[old]), Some(3))).state, State::Warning);
    }
}

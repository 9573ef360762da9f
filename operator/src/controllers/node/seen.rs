//! What runs of a node in the cluster: its gateway's StatefulSet and pods, or the pods whose lone sidecar is the node.
//!
//! Nothing of it decides about the configuration. It decides what is said (`gateway.rs`), and which claims stay.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use crds::{MeshNode, NODE_LABEL};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{PersistentVolumeClaim, Pod, Service},
};
use kube::{Api, Client, ResourceExt, api::ListParams, discovery};
use parking_lot::Mutex;

use super::{
    World,
    objects::{GATEWAY_API, TLS_ROUTE},
};
use crate::node::{
    names::main_name,
    pod::{ROLE_LABEL, Role},
};

/// What there is.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The gateway's.
    pub(super) set: Option<StatefulSet>,
    /// The gateway's.
    pub(super) pods: Vec<Pod>,
    /// The gateway's; asked for only while a pod waits.
    pub(super) claims: Vec<PersistentVolumeClaim>,
    /// The addresses of the node's Service.
    pub(super) service_ips: Vec<IpAddr>,
    /// Pods that are neither done nor the gateway's; counted only where there is no gateway.
    pub(super) lone: usize,
    /// The version in which the API server serves `TLSRoute`.
    pub(super) tls_route_version: Option<String>,
    /// When it was looked at.
    pub(super) at: jiff::Timestamp,
}

/// Looks at all that a node of this spec may have.
pub(super) async fn all(world: &World, node: &MeshNode) -> Result<Seen, kube::Error> {
    let client = &world.client;
    let (namespace, name) = (node.namespace().unwrap_or_default(), node.name_any());
    let services: Api<Service> = Api::namespaced(client.clone(), &namespace);
    let tls_route_version = world.gateway_api.version(client).await?;
    let mut seen = Seen { tls_route_version, at: jiff::Timestamp::now(), ..Seen::default() };
    if !node.spec.gateway.enabled {
        seen.lone = lone(client, &namespace, &name).await?;
        return Ok(seen);
    }
    seen.service_ips = services.get_opt(&main_name(&name)).await?.map(|service| ips(&service)).unwrap_or_default();
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), &namespace);
    seen.set = sets.get_opt(&main_name(&name)).await?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let labelled = |role: &str| format!("{NODE_LABEL}={name},{ROLE_LABEL}{role}");
    let of_gateway = ListParams::default().labels(&labelled(&format!("={}", Role::Gateway.label())));
    seen.pods = pods.list(&of_gateway).await?.items;
    if seen.pods.iter().any(waits) {
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &namespace);
        let of_node = ListParams::default().labels(&format!("{NODE_LABEL}={name}"));
        seen.claims = claims.list(&of_node).await?.items;
    }
    Ok(seen)
}

/// The pods that run as this node. Those that are done (of a Job, say) do not count.
async fn lone(client: &Client, namespace: &str, name: &str) -> Result<usize, kube::Error> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let of_others = format!("{NODE_LABEL}={name},{ROLE_LABEL}!={}", Role::Gateway.label());
    let alive = ListParams::default().labels(&of_others).fields("status.phase!=Succeeded,status.phase!=Failed");
    let listed = pods.list_metadata(&alive).await?;
    Ok(listed.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).count())
}

fn waits(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).is_none_or(|phase| phase == "Pending")
}

/// A headless Service has none, and one of two families two.
fn ips(service: &Service) -> Vec<IpAddr> {
    let spec = service.spec.as_ref();
    let listed = spec.and_then(|spec| spec.cluster_ips.as_deref()).unwrap_or_default();
    listed.iter().filter_map(|ip| ip.parse().ok()).collect()
}

/// A cluster that has the API keeps it, and may get a newer version of it.
pub(crate) const API_FOR: Duration = Duration::from_secs(3600);
/// Somebody who misses it installs it.
pub(crate) const NO_API_FOR: Duration = Duration::from_secs(60);

/// What is known of the Gateway API, so that not every look at a node asks.
#[derive(Debug, Default)]
pub(crate) struct GatewayApi(Mutex<Option<(Instant, Option<String>)>>);

impl GatewayApi {
    /// The version in which the API server serves `TLSRoute`.
    ///
    /// # Errors
    /// An API server that does not say.
    pub(crate) async fn version(&self, client: &Client) -> Result<Option<String>, kube::Error> {
        if let Some(known) = self.known(Instant::now()) {
            return Ok(known);
        }
        let version = tls_route_version(client).await?;
        self.learn(version.clone(), Instant::now());
        Ok(version)
    }

    fn known(&self, now: Instant) -> Option<Option<String>> {
        let (at, version) = self.0.lock().clone()?;
        let lasts = if version.is_some() { API_FOR } else { NO_API_FOR };
        (now.duration_since(at) < lasts).then_some(version)
    }

    fn learn(&self, version: Option<String>, now: Instant) {
        *self.0.lock() = Some((now, version));
    }
}

async fn tls_route_version(client: &Client) -> Result<Option<String>, kube::Error> {
    match discovery::group(client, GATEWAY_API).await {
        Ok(group) => Ok(group
            .resources_by_stability()
            .into_iter()
            .find_map(|(kind, _)| (kind.kind == TLS_ROUTE).then_some(kind.version))),
        Err(kube::Error::Discovery(_)) => Ok(None),
        Err(kube::Error::Api(refusal)) if refusal.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_that_is_missing_is_looked_for_again_soon_and_one_that_is_there_for_an_hour_not() {
        let (api, now) = (GatewayApi::default(), Instant::now());
        assert_eq!(api.known(now), None);
        api.learn(None, now);
        assert_eq!((api.known(now + NO_API_FOR / 2), api.known(now + NO_API_FOR)), (Some(None), None));
        api.learn(Some("v1".into()), now);
        assert_eq!((api.known(now + API_FOR / 2), api.known(now + API_FOR)), (Some(Some("v1".into())), None));
    }

    #[test]
    fn a_service_has_the_addresses_that_it_was_given() {
        let service = |ips: &[&str]| -> Service {
            serde_json::from_value(serde_json::json!({"spec": {"clusterIPs": ips}})).unwrap()
        };
        assert_eq!(ips(&service(&["10.0.0.7", "fd00::7"])).len(), 2);
        assert!(ips(&service(&["None"])).is_empty());
        assert!(ips(&Service::default()).is_empty());
    }
}

//! Where pods find the intake: the address of its Service, and the authorities that its certificate ends in. Both stand in the
//! configuration of every node, so that pods depend on no name server and trust nobody else there.

use std::{net::IpAddr, time::Duration};

use crds::snapshot::IntakeConfig;
use k8s_openapi::api::core::v1::Service;
use kube::{Api, Client};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

/// A Service keeps its address for its life; one that was made anew is found by then.
const POLL: Duration = Duration::from_secs(60);
/// After a look that found nothing.
const AGAIN: Duration = Duration::from_secs(1);

/// Where the intake is; `None` before that is known.
pub(crate) type Placed = watch::Receiver<Option<IntakeConfig>>;

/// What decides about it.
pub(super) struct Place {
    pub(super) client: Client,
    pub(super) namespace: String,
    pub(super) service: String,
    /// Said by whoever runs the operator outside of the cluster.
    pub(super) address: Option<String>,
}

impl Place {
    /// Keeps `placed` current, for ever.
    pub(super) async fn follow(
        &self,
        mut authorities: watch::Receiver<String>,
        placed: watch::Sender<Option<IntakeConfig>>,
    ) {
        loop {
            let ca = authorities.borrow_and_update().clone();
            let found = if ca.is_empty() { None } else { self.look(ca).await };
            let pause = if found.is_some() { POLL } else { AGAIN };
            if let Some(found) = found {
                placed.send_if_modified(|known| {
                    let is_news = known.as_ref() != Some(&found);
                    *known = Some(found);
                    is_news
                });
            }
            // News of the authorities, or time: either brings the next look. When nobody tells any more, the process ends.
            if let Ok(Err(_)) = timeout(pause, authorities.changed()).await {
                sleep(pause).await;
            }
        }
    }

    async fn look(&self, ca: String) -> Option<IntakeConfig> {
        if let Some(address) = self.address.clone() {
            return Some(IntakeConfig { address, static_ips: Vec::new(), ca });
        }
        let services: Api<Service> = Api::namespaced(self.client.clone(), &self.namespace);
        match services.get_opt(&self.service).await {
            Ok(service) => {
                let address = format!("{}.{}.svc:443", self.service, self.namespace);
                Some(IntakeConfig { address, static_ips: service.as_ref().map(ips).unwrap_or_default(), ca })
            }
            Err(error) => {
                tracing::warn!(service = self.service, %error, "the intake's Service cannot be read; trying again");
                None
            }
        }
    }
}

/// A headless Service has none, and one of two families two.
fn ips(service: &Service) -> Vec<IpAddr> {
    let listed = service.spec.as_ref().and_then(|spec| spec.cluster_ips.as_deref()).unwrap_or_default();
    listed.iter().filter_map(|ip| ip.parse().ok()).collect()
}

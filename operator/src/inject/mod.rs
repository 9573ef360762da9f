//! Injection: a pod that asks for a sidecar gets one when it is created (design section 2).
//!
//! [`decide()`](decide::decide) is the whole decision, a pure function of the pod, its namespace, the MeshNodes that are known
//! and the operator's settings. The rest brings it to the API server, and what it says to people:
//!
//! | file | what it is for |
//! |---|---|
//! | `names.rs`, `verdict.rs` | labels and annotations; why a pod gets none |
//! | `choice.rs`, `overrides.rs`, `resources.rs`, `quantity.rs`, `neighbours.rs`, `patch.rs` | the parts of the decision |
//! | `nodes.rs` | what is known of MeshNodes: a watch, kept by every process |
//! | `asked.rs` | what the API server has where the watch may be late, asked a few times a second at most |
//! | `review.rs`, `serve.rs` | AdmissionReview in and out, at a port (`port`) on a thread of its own |
//! | `tell.rs`, `bucket.rs` | Events and metrics about pods that got none |
//! | `certificate.rs`, `keeper.rs`, `bundle.rs`, `followed.rs` | the webhook's certificate: which, where it is kept, who trusts it |
//!
//! Every process of the operator serves it; the one that leads also keeps the certificate.

mod asked;
mod bucket;
mod bundle;
mod certificate;
mod choice;
mod decide;
mod followed;
mod keeper;
mod names;
mod neighbours;
mod nodes;
mod options;
mod overrides;
mod patch;
mod quantity;
mod resources;
mod review;
mod serve;
mod tell;
mod verdict;

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use futures::future::{join, join_all, pending};
use kube::Client;
use tokio::sync::watch;

use crate::{
    admin::Readiness,
    port::{
        self, Closing,
        tls::{self, Shown},
    },
    run::RunArgs,
};
use asked::Asked;
use decide::Settings;
use keeper::Keeper;
use nodes::KnownNodes;
use serve::Desk;
use tell::Teller;

pub(crate) use options::{InjectArgs, Injection};
pub(crate) use tell::InjectMetrics;

/// Serves the webhook, as every process does. Ready when it knows all MeshNodes.
///
/// # Errors
/// A port that is taken, or a part that ended.
pub(crate) async fn serve(
    client: Client,
    args: &RunArgs,
    readiness: &Readiness,
    metrics: InjectMetrics,
    shown: Arc<Shown>,
    closing: Closing,
) -> Result<()> {
    if args.inject.injection == Injection::Off {
        return pending().await;
    }
    let address = args.inject.webhook_listen;
    let listener = port::listen(address).with_context(|| format!("webhook port {address}"))?;
    let tls = tls::config(Arc::clone(&shown)).context("TLS of the webhook")?;
    let (nodes, (teller, untold)) = (KnownNodes::new(), Teller::new(metrics.clone()));
    let settings = Settings {
        image: args.image.clone(),
        own_namespace: args.namespace.clone(),
        guaranteed: args.inject.guaranteed(),
    };
    let desk = Desk { nodes: nodes.clone(), asked: Asked::new(client.clone()), settings, teller };
    let watches = join_all(args.scopes().into_iter().map(|scope| {
        let listed = readiness.pending(&format!("MeshNodes for the webhook {}", scope.unwrap_or("of all namespaces")));
        let (nodes, client) = (nodes.clone(), client.clone());
        async move { nodes.keep(&client, scope, listed).await }
    }));
    tokio::select! {
        ended = serve::serve(listener, tls, desk, closing) => match ended? {},
        _ = watches => bail!("the webhook's watches ended"),
        () = untold.publish(client, &metrics) => bail!("the webhook's Events ended"),
    }
}

/// Shows the certificate of webhook and intake, as every process does, and tells of the authorities that it ends in. Ready when
/// there is one, and the webhook's configuration trusts it.
///
/// # Errors
/// The watch ended.
pub(crate) async fn follow_certificate(
    client: Client,
    args: &RunArgs,
    readiness: &Readiness,
    shown: (&Shown, &InjectMetrics),
    authorities: &watch::Sender<String>,
) -> Result<()> {
    if !needs_certificate(args) {
        return pending().await;
    }
    let loaded = readiness.pending("the webhook's certificate");
    let keeper = keeper(client, args);
    let trusted = async {
        if args.inject.injection == Injection::On {
            keeper.trusted(&readiness.pending("the webhook's CA bundle")).await;
        }
    };
    let follow = keeper.follow((shown.0, &shown.1.certificate_ends), &loaded, authorities);
    // In boxes: watches are large, and the future of the whole process would hold them.
    join(Box::pin(follow), Box::pin(trusted)).await;
    bail!("the watch of the webhook's certificate ended")
}

fn needs_certificate(args: &RunArgs) -> bool {
    args.inject.injection == Injection::On || args.intake.is_on()
}

/// Keeps the certificate of webhook and intake, as the process that leads does.
pub(crate) async fn keep_certificate(client: Client, args: &RunArgs) -> Result<()> {
    if !needs_certificate(args) {
        return pending().await;
    }
    keeper(client, args).keep().await;
    bail!("the watches of the webhook's certificate ended")
}

fn keeper(client: Client, args: &RunArgs) -> Keeper {
    Keeper {
        client,
        namespace: args.namespace.clone(),
        secret: args.inject.webhook_secret.clone(),
        configuration: args.inject.webhook_configuration.clone(),
        source: args.inject.webhook_certificate,
        known_in: args.intake.is_on().then(|| args.scopes().into_iter().map(|s| s.map(str::to_owned)).collect()),
        names: args.inject.names(&args.namespace).into_iter().chain(args.intake.names(&args.namespace)).collect(),
    }
}

//! Much at once: five hundred partners and two thousand services, applied as fast as the API server takes them.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::api::ApiServer;
use e2e::objects::{apply, endpoint, ours};
use e2e::operator::{self, Operator, writes};
use e2e::{definitions, wait};
use futures::{StreamExt, TryStreamExt, stream};
use kube::Client;
use kube::api::{ListParams, Patch, PatchParams};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::{Value, json};

const PLACE: &str = "scale";
const ROUTES: usize = 500;
const REGISTRATIONS: usize = 2000;
/// The aim is a minute on two quiet cores with the program as people run it; this is a debug build on whatever there is.
const CONVERGED: Duration = Duration::from_secs(300);
/// Long enough for whatever feeds on its own writes.
const WATCHED: Duration = Duration::from_secs(20);

async fn put(client: &Client, kind: &str, name: &str, spec: Value) -> Result<()> {
    let object = json!({"apiVersion": "interconn.dev/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": PLACE}, "spec": spec});
    ours(client, kind, PLACE).patch(name, &PatchParams::apply("e2e").force(), &Patch::Apply(&object)).await?;
    Ok(())
}

fn route(number: usize) -> Result<Value> {
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(json!({"nodeRef": {"name": "a"}, "peer": {"nodeId": format!("peer-{number}")},
        "addresses": [{"address": format!("peer-{number}.example:7304")}],
        "trust": {"rootPEMs": [root.self_signed(&KeyPair::generate()?)?.pem()]}}))
}

fn registration(number: usize) -> Value {
    let address = format!("10.{}.{}.1:8000", number / 250, number % 250);
    json!({"nodeRef": {"name": "a"}, "instanceId": address, "name": format!("service-{number}"), "address": address,
        "services": [{"urn": format!("/service/{number}")}]})
}

/// How many objects of a kind are ready.
async fn ready(client: &Client, kind: &str) -> Result<usize> {
    let list = ours(client, kind, PLACE).list(&ListParams::default()).await?;
    let is_ready = |object: &Value| {
        let conditions = object["status"]["conditions"].as_array();
        conditions.into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True")
    };
    Ok(list.items.iter().filter(|o| is_ready(&o.data)).count())
}

/// How many calls the API server has sent away because there were too many.
async fn throttled(client: &Client) -> Result<Vec<String>> {
    let metrics = client.request_text(http::Request::get("/metrics").body(Vec::new())?).await?;
    let sent_away = |line: &&str| {
        (line.starts_with("apiserver_request_total{") && line.contains(r#"code="429""#))
            || line.starts_with("apiserver_flowcontrol_rejected_requests_total{")
    };
    Ok(metrics.lines().filter(sent_away).map(str::to_owned).collect())
}

#[tokio::test]
async fn five_hundred_routes_and_two_thousand_registrations_at_once_are_soon_in_force_and_then_nothing_is_written()
-> Result<()> {
    let server = ApiServer::of_this_process(env!("CARGO_BIN_EXE_cluster"), "api_scale")?;
    let client = server.client().await?;
    definitions::install(&client).await?;
    operator::install(&client).await?;
    apply(&client, &format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {PLACE}}}}}"), |_| true).await?;
    let program = Path::new(env!("CARGO_BIN_EXE_cluster")).with_file_name("mesh-operator");
    let operator = Operator::start(server, &program, "scale", PLACE, PLACE).await?;
    operator.ready().await?;
    let node =
        json!({"nodeId": "node-a", "instId": "inst-a", "address": "127.0.0.1:7304", "gateway": {"enabled": false}});
    put(&client, "MeshNode", "a", node).await?;

    // A watch that comes while the server still prepares new definitions is sent away: that is its start, and no throttling.
    let before = throttled(&client).await?;
    let mut wanted: Vec<(&str, String, Value)> = Vec::new();
    for number in 0..ROUTES {
        wanted.push(("MeshRoute", format!("route-{number}"), route(number)?));
    }
    wanted.extend((0..REGISTRATIONS).map(|n| ("ServiceRegistration", format!("service-{n}"), registration(n))));
    let begin = Instant::now();
    let put_all = stream::iter(wanted).map(|(kind, name, spec)| {
        let client = &client;
        async move { put(client, kind, &name, spec).await }
    });
    put_all.buffer_unordered(32).try_collect::<Vec<()>>().await?;
    let applied = begin.elapsed();
    wait::until("all to be ready", CONVERGED, || async {
        let (routes, services) = (ready(&client, "MeshRoute").await?, ready(&client, "ServiceRegistration").await?);
        ensure!((routes, services) == (ROUTES, REGISTRATIONS), "{routes} routes and {services} registrations are");
        Ok(())
    })
    .await?;
    println!(
        "figure: {ROUTES} routes and {REGISTRATIONS} registrations: ready after {:.1?}, of which {applied:.1?} to apply",
        begin.elapsed()
    );
    objects_fit(&client).await?;
    let sent_away = throttled(&client).await?;
    ensure!(sent_away == before, "the API server sent calls away: {sent_away:?}, before that {before:?}");

    let mut before = (writes(server, PLACE)?.len(), Instant::now());
    while before.1.elapsed() < Duration::from_secs(3) {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = writes(server, PLACE)?.len();
        if now != before.0 {
            ensure!(begin.elapsed() < CONVERGED, "the writes do not end");
            before = (now, Instant::now());
        }
    }
    let (process, from) = (operator.process()?, operator.process()?.cpu()?);
    tokio::time::sleep(WATCHED).await;
    let after = writes(server, PLACE)?;
    ensure!(after.len() == before.0, "written without need: {:?}", &after[before.0..]);
    println!(
        "figure: steady with them: 0 writes in {WATCHED:?}, {:.1} MiB, {:.2} % of a core",
        process.resident()? as f64 / 1048576.0,
        (process.cpu()? - from).as_secs_f64() / WATCHED.as_secs_f64() * 100.0
    );
    Ok(())
}

/// Holds all that was written for the node against the limit of an object.
async fn objects_fit(client: &Client) -> Result<()> {
    let mut parts = [0, 0];
    for object in endpoint(client, "v1", "ConfigMap", PLACE).list(&ListParams::default()).await? {
        let (name, size) = (object.metadata.name.clone().unwrap_or_default(), serde_json::to_vec(&object)?.len());
        ensure!(size <= 1 << 20, "ConfigMap {name} has {size} bytes");
        parts[0] += usize::from(name.contains("-routes-"));
        parts[1] += usize::from(name.contains("-registrations-"));
    }
    ensure!(parts.iter().all(|count| *count > 0), "there are no parts: {parts:?}");
    Ok(())
}

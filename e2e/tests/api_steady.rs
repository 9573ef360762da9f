//! What the operator writes, counted at the API server: nothing in a steady state, and no more than needed when much is
//! asked of it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::api::ApiServer;
use e2e::objects::{apply, condition, endpoint, ours};
use e2e::operator::{self, Operator, writes};
use e2e::{definitions, wait};
use futures::{StreamExt, TryStreamExt, stream};
use kube::Client;
use kube::api::{ListParams, Patch, PatchParams};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::{Value, json};

const ROUTES: usize = 1000;
/// Long enough for ten renewals of the lease and for whatever feeds on its own writes.
const WATCHED: Duration = Duration::from_secs(20);
/// What is written brings looks about, and on a busy machine the last of them came four seconds after all else was written.
const QUIET: Duration = Duration::from_secs(15);
/// One pass over a node takes milliseconds. A thousand would take minutes if each route rendered all the others.
const RECONCILED: Duration = Duration::from_secs(120);

async fn namespace(name: &str) -> Result<(&'static ApiServer, Client)> {
    let server = ApiServer::of_this_process(env!("CARGO_BIN_EXE_cluster"), "api_steady")?;
    let client = server.client().await?;
    definitions::install(&client).await?;
    operator::install(&client).await?;
    apply(&client, &format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}"), |_| true).await?;
    Ok((server, client))
}

async fn start(server: &ApiServer, name: &str, identity: &str) -> Result<Operator> {
    let program = Path::new(env!("CARGO_BIN_EXE_cluster")).with_file_name("mesh-operator");
    Operator::start(server, &program, identity, name, name).await
}

async fn put(client: &Client, namespace: &str, kind: &str, name: &str, spec: Value) -> Result<()> {
    let object = json!({"apiVersion": "interconn.dev/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": namespace}, "spec": spec});
    ours(client, kind, namespace).patch(name, &PatchParams::apply("e2e").force(), &Patch::Apply(&object)).await?;
    Ok(())
}

async fn node(client: &Client, namespace: &str) -> Result<()> {
    let spec =
        json!({"nodeId": "node-a", "instId": "inst-a", "address": "127.0.0.1:7304", "gateway": {"enabled": false}});
    put(client, namespace, "MeshNode", "a", spec).await
}

async fn route(client: &Client, namespace: &str, number: usize) -> Result<()> {
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let spec = json!({"nodeRef": {"name": "a"}, "peer": {"nodeId": format!("peer-{number}")},
        "addresses": [{"address": format!("peer-{number}.example:7304")}],
        "trust": {"rootPEMs": [root.self_signed(&KeyPair::generate()?)?.pem()]}});
    put(client, namespace, "MeshRoute", &format!("route-{number}"), spec).await
}

/// How many routes are ready.
async fn ready(client: &Client, namespace: &str) -> Result<usize> {
    let list = ours(client, "MeshRoute", namespace).list(&ListParams::default()).await?;
    let is_ready = |route: &Value| {
        let conditions = route["status"]["conditions"].as_array();
        conditions.into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True")
    };
    Ok(list.items.iter().filter(|r| is_ready(&r.data)).count())
}

#[tokio::test]
async fn a_steady_state_writes_nothing_nor_does_an_operator_that_comes_new_to_it() -> Result<()> {
    let (server, client) = namespace("steady").await?;
    let mut first = start(server, "steady", "steady-first").await?;
    node(&client, "steady").await?;
    // With tunnel and directory, whose keys are kept beside the roots.
    let rooms = json!({"nodeId": "node-b", "instId": "inst-b", "gateway": {"enabled": true},
        "tunnel": {"advertise": "203.0.113.7"}, "directory": {}});
    put(&client, "steady", "MeshNode", "b", rooms).await?;
    for number in 0..3 {
        route(&client, "steady", number).await?;
    }
    // One that waits for what is not there must not write either.
    let absent =
        json!({"nodeRef": {"name": "a"}, "peer": {"nodeId": "b"}, "trust": {"configMapRef": {"name": "absent"}}});
    put(&client, "steady", "MeshRoute", "absent", absent).await?;
    first.ready().await?;
    condition(&ours(&client, "MeshNode", "steady"), "a", "Ready", "True", "").await?;
    condition(&ours(&client, "MeshNode", "steady"), "b", "GatewayReady", "Unknown", "Starting").await?;
    condition(&ours(&client, "MeshNode", "steady"), "b", "DirectoryReady", "Unknown", "NotReported").await?;
    condition(&ours(&client, "MeshRoute", "steady"), "absent", "Ready", "False", "").await?;
    wait::until("three routes to be ready", RECONCILED, || async {
        let ready = ready(&client, "steady").await?;
        ensure!(ready == 3, "{ready} are");
        Ok(())
    })
    .await?;
    let before = settled(server, "steady").await?;
    let kept = kept(server, "steady")?;
    ensure!(kept.iter().any(|write| write.contains("mesh-rooms.steady.b")), "no keys were written: {kept:?}");

    tokio::time::sleep(WATCHED).await;
    first.kill()?;
    let second = start(server, "steady", "steady-second").await?;
    second.ready().await?;
    // What makes it look again without changing anything.
    let note = json!({"metadata": {"annotations": {"example.org/note": "looked at"}}});
    for name in ["a", "b"] {
        ours(&client, "MeshNode", "steady").patch(name, &PatchParams::default(), &Patch::Merge(&note)).await?;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = writes(server, "steady")?;
    ensure!(after.len() == before, "written without need: {:?}", &after[before..]);
    let all = self::kept(server, "steady")?;
    ensure!(all.len() == kept.len(), "written without need: {:?}", &all[kept.len()..]);
    Ok(())
}

/// What was written of a namespace's nodes in the operator's own: their roots and keys.
fn kept(server: &ApiServer, namespace: &str) -> Result<Vec<String>> {
    let all = writes(server, operator::NAMESPACE)?;
    Ok(all.into_iter().filter(|write| write.contains(&format!(".{namespace}."))).collect())
}

/// Waits until the count of writes stands still for a while, and gives it.
async fn settled(server: &ApiServer, namespace: &str) -> Result<usize> {
    let mut last = (writes(server, namespace)?.len(), Instant::now());
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = writes(server, namespace)?;
        if now.len() != last.0 {
            ensure!(last.1.elapsed() < RECONCILED, "the writes do not end: {:?}", &now[last.0..]);
            last = (now.len(), Instant::now());
        } else if last.1.elapsed() > QUIET {
            return Ok(last.0);
        }
    }
}

/// How often the operator has looked at objects of a kind.
async fn reconciles(operator: &Operator, kind: &str) -> Result<usize> {
    let (_, text) = operator.get("/metrics").await?;
    let line = format!("mesh_operator_reconciles_total{{kind=\"{kind}\"}} ");
    let found = text.lines().find_map(|l| l.strip_prefix(&line)?.parse().ok());
    found.with_context(|| format!("{kind} is not counted"))
}

/// Holds all that was written for the node against the limit of 1 MiB for an object.
async fn objects_fit(client: &Client, namespace: &str) -> Result<()> {
    let mut parts = 0;
    for kind in ["Secret", "ConfigMap"] {
        let written = ListParams::default().labels("interconn.dev/node=a");
        for object in endpoint(client, "v1", kind, namespace).list(&written).await? {
            let size = serde_json::to_vec(&object)?.len();
            ensure!(size <= 1 << 20, "{kind} {:?} has {size} bytes", object.metadata.name);
            parts += usize::from(object.metadata.name.is_some_and(|name| name.contains("-routes-")));
        }
    }
    ensure!(parts > 1, "a thousand routes do not fit one object, and {parts} hold them");
    Ok(())
}

#[tokio::test]
async fn a_thousand_routes_are_ready_soon_and_one_more_costs_little() -> Result<()> {
    let (server, client) = namespace("thousand").await?;
    let operator = start(server, "thousand", "thousand-one").await?;
    node(&client, "thousand").await?;
    operator.ready().await?;
    let begin = Instant::now();
    let put = stream::iter(0..ROUTES).map(|number| route(&client, "thousand", number));
    put.buffer_unordered(16).try_collect::<Vec<()>>().await?;
    wait::until("a thousand routes to be ready", RECONCILED, || async {
        let ready = ready(&client, "thousand").await?;
        ensure!(ready == ROUTES, "{ready} are");
        Ok(())
    })
    .await?;
    println!("{ROUTES} routes ready {:?} after the first one was made", begin.elapsed());
    let (nodes, routes) = (reconciles(&operator, "MeshNode").await?, reconciles(&operator, "MeshRoute").await?);
    println!("{nodes} looks at the node, {routes} at its routes");
    // Each route that comes asks for a look at its node, which takes all of them in; while one is under way they are one.
    ensure!(nodes < ROUTES / 4, "{nodes} looks at the node: each renders all routes");
    // Its own, its verdict, its written status, and one to spare.
    ensure!(routes < 4 * ROUTES, "{routes} looks at {ROUTES} routes");
    objects_fit(&client, "thousand").await?;
    let before = settled(server, "thousand").await?;
    let (process, cpu) = (operator.process()?, operator.process()?.cpu()?);
    tokio::time::sleep(WATCHED).await;
    let after = writes(server, "thousand")?;
    ensure!(after.len() == before, "written without need: {:?}", &after[before..]);
    let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
    // The program's own pages count too, and a debug build has some 40 MiB of them: E2E_OPERATOR names another program.
    println!(
        "figure: operator with {ROUTES} routes, steady: 0 writes in {WATCHED:?}, {:.1} MiB ({:.1} of them written), {:.2} % of a core",
        mib(process.resident()?),
        mib(process.anonymous()?),
        (process.cpu()? - cpu).as_secs_f64() / WATCHED.as_secs_f64() * 100.0
    );

    route(&client, "thousand", ROUTES).await?;
    condition(&ours(&client, "MeshRoute", "thousand"), &format!("route-{ROUTES}"), "Ready", "True", "").await?;
    settled(server, "thousand").await?;
    let more = writes(server, "thousand")?.split_off(before);
    // Its file, the manifest, the node's hash, its own status in at most two steps, and an event.
    ensure!(more.len() <= 8, "one more route cost {} writes: {more:?}", more.len());
    Ok(())
}

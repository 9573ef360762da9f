//! What the operator tells those who look at it from outside: its metrics, and what it accepts and does not act on yet.

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use tokio::net::TcpListener;

use super::*;
use crate::{charts::lacking, collector::Collector};

/// The value of a line of `/metrics`, by the line's beginning.
async fn measure(operator: &Operator, line: &str) -> Result<f64> {
    let (status, text) = operator.get("/metrics").await?;
    ensure!(status == 200, "/metrics answers {status}");
    let found = text.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(' ')?.parse().ok());
    found.with_context(|| format!("there is no {line} in:\n{text}"))
}

#[tokio::test]
async fn what_is_done_and_what_fails_is_counted() -> Result<()> {
    let room = Room::open("counted").await?;
    let operator = room.operator("one").await?;
    room.node("a", json!({})).await?;
    room.route("r", json!({"rootPEMs": [partner_root()?.0]})).await?;
    room.ready("MeshRoute", "r").await?;
    ensure!(measure(&operator, "mesh_operator_leader").await? == 1.0, "it does not say that it leads");
    for (metric, kind, least) in [
        ("reconciles_total", "MeshNode", 1.0),
        ("reconciles_total", "MeshRoute", 1.0),
        // The roots, the manifest, the routes.
        ("writes_total", "ConfigMap", 3.0),
        // The leaf and the root.
        ("writes_total", "Secret", 2.0),
        ("writes_total", "Service", 1.0),
        ("writes_total", "MeshNode", 1.0),
        ("writes_total", "MeshRoute", 1.0),
    ] {
        let line = format!("mesh_operator_{metric}{{kind=\"{kind}\"}}");
        // A write is counted once it is answered, which may be after what it wrote is seen.
        wait::until(&line, SOON, || async {
            let counted = measure(&operator, &line).await?;
            ensure!(counted >= least, "{line} is {counted}");
            Ok(())
        })
        .await?;
    }
    ensure!(measure(&operator, "mesh_operator_reconcile_seconds_count").await? >= 2.0, "no time was taken");

    let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mesh-b"}, "data": {"x": "y"}});
    room.api("ConfigMap").patch("mesh-b", &force(), &Patch::Apply(&theirs)).await?;
    room.node("b", json!({})).await?;
    room.condition("MeshNode", "b", "Ready", "False", "NameConflict").await?;
    let failures = "mesh_operator_reconcile_failures_total{kind=\"MeshNode\",reason=\"NameConflict\"}";
    wait::until("the failure to be counted", SOON, || async { measure(&operator, failures).await }).await?;
    for kind in ["MeshNode", "MeshRoute", "ServiceRegistration"] {
        let depth = format!("mesh_operator_queue_depth{{kind=\"{kind}\"}}");
        wait::until(&format!("no {kind} to wait"), SOON, || async {
            let waiting = measure(&operator, &depth).await?;
            ensure!(waiting == 0.0, "{waiting} wait");
            Ok(())
        })
        .await?;
    }
    let (_, page) = operator.get("/metrics").await?;
    let mut lacking = lacking(&["mesh_operator_"], &page);
    for elsewhere in [
        // A webhook's, of which `inject/` has an operator.
        "mesh_operator_admissions_total",
        // An API server's that fails: `watch/tests.rs` of the operator counts them.
        "mesh_operator_status_failures_total",
        "mesh_operator_watch_failures_total",
    ] {
        lacking.remove(elsewhere);
    }
    ensure!(lacking.is_empty(), "alerts and dashboard ask for {lacking:?}:\n{page}");
    Ok(())
}

#[tokio::test]
async fn what_is_not_acted_on_yet_is_said_and_keeps_nothing_from_being_written() -> Result<()> {
    let room = Room::open("notyet").await?;
    let _operator = room.operator("one").await?;
    let device = json!({"advertise": "203.0.113.7", "mode": "Tun"});
    room.node("later", json!({"gateway": {"enabled": true}, "tunnel": device})).await?;
    room.node("plain", json!({})).await?;
    room.condition("MeshNode", "later", "FeaturesPending", "True", "NotYet").await?;
    room.api("StatefulSet").get("mesh-later").await?;
    room.ready("MeshNode", "plain").await?;
    let conditions = |name: &'static str| {
        let nodes = ours(&room.client, "MeshNode", room.name);
        async move { anyhow::Ok(nodes.get(name).await?.data["status"]["conditions"].to_string()) }
    };
    let said = conditions("later").await?;
    ensure!(said.contains("spec.tunnel.mode"), "the field is not named: {said}");
    let said = conditions("plain").await?;
    ensure!(!said.contains("FeaturesPending"), "there is nothing to say: {said}");
    Ok(())
}

/// The way from the variable to the controllers: what a span says is proven beside `traced.rs`.
#[tokio::test]
async fn each_look_at_a_resource_is_a_span_where_there_is_a_collector() -> Result<()> {
    let room = Room::open("traced").await?;
    let mut collector = Collector::by(tonic::transport::Server::builder(), TcpListener::bind("127.0.0.1:0").await?);
    let (kubeconfig, endpoint) = (room.server.folder().join("etc/operator.kubeconfig"), collector.endpoint());
    let variables =
        [("KUBECONFIG", kubeconfig.as_os_str()), ("OTEL_EXPORTER_OTLP_ENDPOINT", std::ffi::OsStr::new(&endpoint))];
    let program = Path::new(env!("CARGO_BIN_EXE_cluster")).with_file_name("mesh-operator");
    let options = ["--lease-name", room.name, "--watch-namespaces", room.name, "--injection", "off"];
    let _operator = Operator::start_in(&variables, room.server, &program, "traced-one", &options).await?;
    room.node("a", json!({})).await?;
    room.route("r", json!({"rootPEMs": [partner_root()?.0]})).await?;
    room.ready("MeshRoute", "r").await?;
    for (kind, name) in [("MeshNode", "a"), ("MeshRoute", "r")] {
        collector
            .until(|spans| {
                spans.iter().any(|arrived| {
                    arrived.service == "mesh-operator"
                        && (arrived.span.name.as_str(), arrived.span.kind()) == ("reconcile", SpanKind::Internal)
                        && arrived.said("k8s.resource.kind").as_deref() == Some(kind)
                        && arrived.said("k8s.resource.name").as_deref() == Some(name)
                })
            })
            .await;
    }
    Ok(())
}

/// A wrong path shows nothing, and nobody hears of it. No operator looks here, so that each condition can be as it seldom is.
#[tokio::test]
async fn every_column_of_kubectl_get_shows_what_is_there() -> Result<()> {
    let room = Room::open("cells").await?;
    let condition = |kind: &str, status: &str, reason: &str| {
        json!({"type": kind, "status": status, "reason": reason, "message": format!("why {kind}"),
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1})
    };
    room.node("a", json!({})).await?;
    room.route("r", json!({"rootPEMs": [partner_root()?.0]})).await?;
    let registration = json!({"nodeRef": {"name": "a"}, "instanceId": "s", "name": "serving",
        "serviceRef": {"name": "backend", "port": 8000}, "services": [{"urn": "/serving"}]});
    room.put("ServiceRegistration", "s", registration).await?;
    for (kind, plural, name, status, wanted) in [
        (
            "MeshNode",
            "meshnodes",
            "a",
            json!({"sidecars": {"total": 3, "ready": 2}, "conditions": [condition("Ready", "True", "AllWell"),
                condition("GatewayReady", "Unknown", "Starts"), condition("InForce", "False", "Behind"),
                condition("CertificateRenewed", "False", "IssuerPending")]}),
            json!({"Name": "a", "Node": "node-a", "Institution": "inst-a", "Ready": "True", "Reason": "AllWell", "Gateway": "Unknown",
                "Sidecars": 3, "Current": 2, "InForce": "False", "Renewal": "IssuerPending", "Message": "why Ready"}),
        ),
        (
            "MeshRoute",
            "meshroutes",
            "r",
            json!({"conditions": [condition("Ready", "False", "BadRoot"), condition("Reachable", "Unknown", "NotTried")]}),
            json!({"Name": "r", "Node": "a", "Partner": "peer-r", "Address": "127.0.0.1:7305", "Ready": "False",
                "Reachable": "Unknown", "Reason": "BadRoot", "Disabled": false, "Message": "why Ready"}),
        ),
        (
            "ServiceRegistration",
            "serviceregistrations",
            "s",
            json!({"conditions": [condition("Ready", "False", "NodeNotReady")]}),
            json!({"Name": "s", "Node": "a", "RegisteredAs": "serving", "Service": "backend", "Ready": "False",
                "Reason": "NodeNotReady", "Message": "why Ready"}),
        ),
    ] {
        let status = Patch::Merge(json!({"status": status}));
        ours(&room.client, kind, room.name).patch_status(name, &PatchParams::default(), &status).await?;
        let mut shown = room.shown(plural, name).await?;
        shown.retain(|_, cell| !cell.is_null());
        // As old as the test.
        ensure!(shown.remove("Age").is_some(), "{kind} has no age");
        ensure!(Value::from(shown.clone()) == wanted, "{kind}: {shown:?}");
    }
    Ok(())
}

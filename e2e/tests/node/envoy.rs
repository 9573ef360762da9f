//! A partner behind an Envoy that passes TLS on by the name that is asked for, and opens nothing: as institutions have it at their
//! border.

use e2e::institution::Institution;
use e2e::kubectl::apply;
use e2e::wait;
use serde_json::json;

use super::pair::{Pair, institution};
use super::*;

const PLACE: &str = "border";
/// Under which name the border knows the partner.
const NAME: &str = "mesh.partner.example";

/// An Envoy in front of a Service, which leads one name to it, and no other anywhere. Its own Service has the port of its pod: the
/// gateway's policy knows a partner by its port.
fn border(to: &Institution) -> Result<()> {
    let ip = kubectl(&["-n", to.bank, "get", "service/mesh-node", "-o", "jsonpath={.spec.clusterIP}"], "")?;
    let socket = |address: &str, port: u16| json!({"socket_address": {"address": address, "port_value": port}});
    let of = |name: &str| format!("type.googleapis.com/envoy.extensions.filters.{name}");
    let proxy = json!({"name": "pass", "typed_config":
        {"@type": of("network.tcp_proxy.v3.TcpProxy"), "stat_prefix": "pass", "cluster": "partner"}});
    let inspector = json!({"name": "sni", "typed_config": {"@type": of("listener.tls_inspector.v3.TlsInspector")}});
    let endpoint = json!({"endpoint": {"address": socket(&ip, 7304)}});
    let config = json!({"static_resources": {
        "listeners": [{"name": "tls", "address": socket("0.0.0.0", 7443), "listener_filters": [inspector],
            "filter_chains": [{"filter_chain_match": {"server_names": [NAME]}, "filters": [proxy]}]}],
        "clusters": [{"name": "partner", "type": "STATIC", "connect_timeout": "5s",
            "load_assignment": {"cluster_name": "partner", "endpoints": [{"lb_endpoints": [endpoint]}]}}]}});
    let of_border = json!({"app": PLACE});
    let container = json!({"name": "envoy", "image": "localhost/envoy:e2e", "imagePullPolicy": "Never",
        "args": ["--config-path", "/etc/envoy/envoy.json", "--concurrency", "1", "--disable-hot-restart"],
        "ports": [{"containerPort": 7443}], "readinessProbe": {"tcpSocket": {"port": 7443}, "periodSeconds": 1},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/envoy"}],
        "securityContext": {"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}}});
    let pod = json!({"metadata": {"labels": of_border}, "spec": {"automountServiceAccountToken": false,
        "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container], "volumes": [{"name": "config", "configMap": {"name": PLACE}}]}});
    let meta = json!({"name": PLACE, "namespace": PLACE});
    for object in [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": PLACE}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"envoy.json": config.to_string()}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": meta,
            "spec": {"selector": of_border, "ports": [{"port": 7443}]}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta,
            "spec": {"selector": {"matchLabels": of_border}, "template": pod}}),
    ] {
        apply(&object.to_string())?;
    }
    rolled_out(PLACE, &format!("deployment/{PLACE}"))
}

#[tokio::test]
async fn messages_reach_a_partner_behind_an_envoy_that_passes_tls_on_by_its_name() -> Result<()> {
    let _beside = ALONE.read().await;
    let (x, y) =
        (institution("border-x", "LX0000010000289", "push", 1), institution("border-y", "LX0000010000279", "pop", 1));
    let pair = Pair::start(x, y).await?;
    border(&y)?;
    let envoy = kubectl(&["-n", PLACE, "get", "service", PLACE, "-o", "jsonpath={.spec.clusterIP}"], "")?;
    let address = |name: &str| {
        let addresses = json!({"spec": {"addresses": [{"address": format!("{envoy}:7443"), "serverName": name}]}});
        kubectl(&["-n", x.bank, "patch", "meshroute/partner", "--type=merge", "-p", &addresses.to_string()], "")
    };
    address(NAME)?;
    let routed = async |reachable: bool| {
        wait::until(&format!("the address at Envoy to be reachable: {reachable}"), STARTED, || async {
            let said = kubectl(&["-n", x.bank, "get", "meshroute/partner", "-o", "jsonpath={.status.addresses}"], "")?;
            let is_reachable = said.contains(r#""state":"Reachable""#);
            ensure!(said.contains(&format!("{envoy}:7443")) && is_reachable == reachable, "{said}");
            Ok(())
        })
        .await
    };
    routed(true).await?;
    pair.progress("the border").await?;
    // Under another name Envoy leads nowhere: it was the name that led to the partner. Pushes wait meanwhile.
    address("nobody.example")?;
    routed(false).await?;
    address(NAME)?;
    pair.progress("the return of the name").await?;
    pair.nothing_failed_and_nothing_is_lost().await?;
    end(PLACE)?;
    pair.end()
}

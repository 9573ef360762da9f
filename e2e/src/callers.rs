//! Who calls the operator's intake, without a kubelet: a pod, the token that `mesh` has in it, what its service account may do.

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::client::Body;
use kube::{Client, Config};
use serde_json::{Value, json};

use crate::objects::endpoint;
use crate::operator;

/// What the tokens of `mesh` are for.
pub const AUDIENCE: &str = "interconn.dev/intake";

/// A pod with `mesh` in it, of node `a`, that no kubelet runs; it is said to be ready.
///
/// # Errors
/// When the API server refuses it.
pub async fn pod(client: &Client, namespace: &str, name: &str) -> Result<()> {
    let force = PatchParams::apply("e2e").force();
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "app"}});
    endpoint(client, "v1", "ServiceAccount", namespace).patch("app", &force, &Patch::Apply(&account)).await?;
    let pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"interconn.dev/node": "a", "interconn.dev/role": "sidecar"}},
        "spec": {"serviceAccountName": "app", "automountServiceAccountToken": false,
            "containers": [{"name": "mesh", "image": "none"}]}});
    let pods = endpoint(client, "v1", "Pod", namespace);
    pods.patch(name, &force, &Patch::Apply(&pod)).await?;
    let status = json!({"status": {"phase": "Running", "containerStatuses": [
        {"name": "mesh", "ready": true, "image": "", "imageID": "", "restartCount": 0}]}});
    pods.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await?;
    Ok(())
}

/// A token of the service account, bound to a pod or to none.
///
/// # Errors
/// When the API server makes none.
pub async fn token(client: &Client, namespace: &str, audience: &str, pod: Option<&str>) -> Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let bound = pod.map(|name| BoundObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        name: Some(name.into()),
        uid: None,
    });
    let spec =
        TokenRequestSpec { audiences: vec![audience.into()], bound_object_ref: bound, expiration_seconds: Some(3600) };
    let request = TokenRequest { spec, ..TokenRequest::default() };
    let made = accounts.create_token_request("app", &PostParams::default(), &request).await?;
    Ok(made.status.context("no token")?.token)
}

/// Lets the service account change routes in its namespace.
///
/// # Errors
/// When the API server refuses its role.
pub async fn grant(client: &Client, namespace: &str) -> Result<()> {
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "trust"},
        "rules": [{"apiGroups": ["interconn.dev"], "resources": ["meshroutes"], "verbs": ["create", "update", "delete"]}]});
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "trust"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "trust"},
        "subjects": [{"kind": "ServiceAccount", "name": "app", "namespace": namespace}]});
    for (kind, object) in [("Role", role), ("RoleBinding", binding)] {
        let api = endpoint(client, "rbac.authorization.k8s.io/v1", kind, namespace);
        api.patch("trust", &PatchParams::apply("e2e").force(), &Patch::Apply(&object)).await?;
    }
    Ok(())
}

/// What an application asks for with `net/refresh`: a route to a partner, in words that the operator need not believe.
#[must_use]
pub fn put(peer: &str, address: &str, root: &str) -> Value {
    json!({"change": "put", "route": {"nodeRef": {"name": "another"}, "peer": {"nodeId": peer},
        "addresses": [{"address": address}], "trust": {"rootPEMs": [root]}, "exports": ["/all"]}})
}

/// The way to an intake on this machine, under the authority that its operator published in the Secret `secret`.
///
/// # Errors
/// When the authority is not there yet, or is none.
pub async fn intake(client: &Client, secret: &str, port: u16) -> Result<Client> {
    let secret = endpoint(client, "v1", "Secret", operator::NAMESPACE).get(secret).await?;
    let pem = STANDARD.decode(secret.data["data"]["ca.crt"].as_str().context("no authority")?)?;
    let body = |pem: &str| pem.lines().filter(|line| !line.starts_with("-----")).collect::<String>();
    let mut config = Config::new(format!("https://127.0.0.1:{port}").parse()?);
    config.root_cert = Some(vec![STANDARD.decode(body(&String::from_utf8(pem)?))?]);
    // It would ask again by itself where it hears 429.
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

/// Posts to an intake as `token`. Answers status and body.
///
/// # Errors
/// When there is no answer.
pub async fn send(intake: &Client, token: Option<&str>, path: &str, body: &Value) -> Result<(u16, Value)> {
    let mut request = http::Request::post(path).header("content-type", "application/json");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let answer = intake.send(request.body(Body::from(serde_json::to_vec(body)?))?).await?;
    let status = answer.status().as_u16();
    let bytes = answer.into_body().collect().await?.to_bytes();
    let said = serde_json::from_slice(&bytes);
    Ok((status, said.unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&bytes).into_owned()))))
}

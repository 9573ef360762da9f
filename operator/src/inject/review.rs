//! AdmissionReview (admission.k8s.io/v1): decode, one decision, encode.

use base64::{Engine, prelude::BASE64_STANDARD};
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::ResourceExt;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::{
    choice::Nodes,
    decide::{Decision, Settings, decide},
    verdict::Left,
};

/// The API server cuts more than that off, of one warning and of all.
const WARNINGS: usize = 8;

#[derive(Deserialize)]
struct Review<'r> {
    #[serde(borrow)]
    request: Option<Asked<'r>>,
}

/// What the API server asks, as far as it matters here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked<'r> {
    uid: String,
    resource: Asks,
    #[serde(default)]
    sub_resource: String,
    operation: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    dry_run: bool,
    #[serde(borrow)]
    object: Option<&'r RawValue>,
}

#[derive(Deserialize)]
struct Asks {
    #[serde(default)]
    group: String,
    resource: String,
}

/// A request that was read.
pub(super) struct Request {
    uid: String,
    /// The namespace that the pod is created in.
    pub(super) namespace: String,
    /// The pod; `None` where the request is about something else than a new one.
    pub(super) pod: Option<Pod>,
    /// Nothing comes of it, so nobody is told.
    pub(super) is_dry_run: bool,
}

/// What is no review.
#[derive(Debug, thiserror::Error)]
#[error("no AdmissionReview of a pod: {0}")]
pub(super) struct Unreadable(String);

/// Reads a review.
///
/// # Errors
/// What is none, or holds a pod that cannot be read.
pub(super) fn read(body: &[u8]) -> Result<Request, Unreadable> {
    let review: Review<'_> = serde_json::from_slice(body).map_err(|error| Unreadable(error.to_string()))?;
    let asked = review.request.ok_or_else(|| Unreadable("it has no request".into()))?;
    let is_pod = asked.resource.group.is_empty() && asked.resource.resource == "pods";
    let is_new = is_pod && asked.sub_resource.is_empty() && asked.operation == "CREATE";
    let pod = match asked.object {
        Some(object) if is_new => {
            Some(serde_json::from_str(object.get()).map_err(|error| Unreadable(error.to_string()))?)
        }
        _ => None,
    };
    Ok(Request { uid: asked.uid, namespace: asked.namespace, pod, is_dry_run: asked.dry_run })
}

/// The decision about a request.
pub(super) fn judge(request: &Request, nodes: &Nodes, settings: &Settings) -> Decision {
    match &request.pod {
        Some(pod) => decide(pod, &request.namespace, nodes, settings),
        None => Decision::Left(Left::NotANewPod),
    }
}

/// The answer.
pub(super) fn answer(request: &Request, decision: &Decision) -> Value {
    let response = match decision {
        Decision::Patch { operations, warnings } => {
            let warnings: Vec<&String> = warnings.iter().take(WARNINGS).collect();
            let patch = BASE64_STANDARD.encode(json!(operations).to_string());
            json!({"uid": request.uid, "allowed": true, "patchType": "JSONPatch", "patch": patch, "warnings": warnings})
        }
        Decision::Left(left) if left.is_worth_an_event() => json!({"uid": request.uid, "allowed": true,
            "warnings": [left.text()], "auditAnnotations": {"left": left.reason()}}),
        Decision::Left(_) => json!({"uid": request.uid, "allowed": true}),
        Decision::Refused(refusal) => json!({"uid": request.uid, "allowed": false,
            "status": {"code": 403, "reason": "Forbidden", "message": refusal.to_string()},
            "auditAnnotations": {"refused": refusal.reason()}}),
    };
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
}

/// Whom an Event about the pod is shown at: what creates it, because it has no identity of its own yet; else its name.
pub(super) fn regarding(pod: &Pod, namespace: &str) -> ObjectReference {
    let owner = pod.owner_references().iter().find(|owner| owner.controller == Some(true));
    let namespace = Some(namespace.to_owned());
    match owner {
        Some(owner) => ObjectReference {
            api_version: Some(owner.api_version.clone()),
            kind: Some(owner.kind.clone()),
            name: Some(owner.name.clone()),
            uid: Some(owner.uid.clone()),
            namespace,
            ..ObjectReference::default()
        },
        None => ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Pod".into()),
            name: pod.metadata.name.clone().or_else(|| pod.metadata.generate_name.clone()),
            namespace,
            ..ObjectReference::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::verdict::Refusal;

    fn review(more: Value) -> Vec<u8> {
        let mut request = json!({"uid": "u", "resource": {"group": "", "version": "v1", "resource": "pods"},
            "operation": "CREATE", "namespace": "privacy", "object": {"metadata": {"name": "p"}}});
        let Value::Object(more) = more else { panic!("{more}") };
        for (member, value) in more {
            request[member] = value;
        }
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).to_string().into()
    }

    #[test]
    fn what_is_no_review_of_a_pod_is_refused() {
        for bad in [
            b"".to_vec(),
            b"{}".to_vec(),
            b"[]".to_vec(),
            b"\xff{".to_vec(),
            vec![b'['; 100_000],
            review(json!({"object": {"spec": "none"}})),
            review(json!({"object": 7})),
            review(json!({"uid": null})),
        ] {
            assert!(read(&bad).is_err(), "{}", String::from_utf8_lossy(&bad));
        }
    }

    #[test]
    fn only_a_new_pod_is_looked_at() {
        assert!(read(&review(json!({}))).unwrap().pod.is_some());
        for other in [
            json!({"operation": "UPDATE"}),
            json!({"operation": "DELETE", "object": null}),
            json!({"subResource": "ephemeralcontainers"}),
            json!({"resource": {"group": "apps", "version": "v1", "resource": "deployments"}}),
        ] {
            let request = read(&review(other)).unwrap();
            assert!(request.pod.is_none());
            let answer = answer(&request, &Decision::Left(Left::NotANewPod));
            assert_eq!(answer["response"], json!({"uid": "u", "allowed": true}));
        }
        assert!(read(&review(json!({"dryRun": true}))).unwrap().is_dry_run);
    }

    #[test]
    fn an_answer_says_what_the_api_server_and_people_need() {
        let request = read(&review(json!({}))).unwrap();
        let refused = Decision::Refused(Refusal::NoNode { namespace: "privacy".into() });
        let answer_to = |decision| answer(&request, decision)["response"].clone();
        let said = answer_to(&refused);
        assert_eq!((&said["allowed"], &said["auditAnnotations"]["refused"]), (&json!(false), &json!("NoNode")));
        assert!(said["status"]["message"].as_str().unwrap().contains("create one"));
        let said = answer_to(&Decision::Left(Left::HostNetwork));
        assert_eq!((&said["allowed"], &said["warnings"][0]), (&json!(true), &json!(Left::HostNetwork.text())));
        let said = answer_to(&Decision::Patch { operations: Vec::new(), warnings: Vec::new() });
        assert_eq!(BASE64_STANDARD.decode(said["patch"].as_str().unwrap()).unwrap(), b"[]");
    }

    #[test]
    fn an_event_is_about_what_creates_the_pod_or_about_its_name() {
        let pod = |metadata: Value| serde_json::from_value::<Pod>(json!({"metadata": metadata})).unwrap();
        let owners = json!([{"apiVersion": "v1", "kind": "Other", "name": "o", "uid": "1"},
            {"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "2", "controller": true}]);
        let about = |metadata| {
            let about = regarding(&pod(metadata), "privacy");
            (about.kind.unwrap(), about.name.unwrap(), about.uid)
        };
        assert_eq!(about(json!({"ownerReferences": owners})), ("Job".into(), "j".into(), Some("2".into())));
        assert_eq!(about(json!({"generateName": "web-"})), ("Pod".into(), "web-".into(), None));
    }
}

//! Secrets with certificates: written over the very version that was read, and made only where there was none.
//!
//! Two operators may both believe for a moment that they lead. Of two that each made a root, one must lose, and before the
//! other's public half is with partners.

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};

use super::objects::{MANAGER, Ours, Put, WriteError, Written, failed, same};

const KIND: &str = "Secret";

/// Makes `wanted` so, if the Secret still is as it was read; `None`: not there.
///
/// # Errors
/// A Secret of that name that is not ours, one that changed since, and what the API server refuses.
pub(crate) async fn apply(
    client: &Client,
    wanted: &Secret,
    ours: &Ours,
    read: Option<&Secret>,
) -> Result<Put<Secret>, WriteError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), &wanted.namespace().unwrap_or_default());
    let (name, before) = (wanted.name_any(), read.cloned());
    if let Some(existing) = read {
        if !ours.is(existing) {
            return Err(WriteError::NameConflict { kind: KIND.into(), name });
        }
        if same(wanted, existing) {
            return Ok(Put { written: Written::Nothing, before, version: existing.resource_version() });
        }
    }
    let version = match read {
        Some(existing) => existing.resource_version(),
        None => Some(take(&api, wanted).await?),
    };
    let mut wanted = wanted.clone();
    // The API server looks whether it still is that version.
    wanted.metadata.resource_version = version;
    let params = PatchParams::apply(MANAGER).force();
    match api.patch(&name, &params, &Patch::Apply(&wanted)).await {
        Ok(now) => Ok(Put { written: Written::Object, before, version: now.resource_version() }),
        Err(kube::Error::Api(refusal)) if refusal.code == 409 => Err(WriteError::Overtaken { kind: KIND.into(), name }),
        Err(error) => Err(failed(KIND, &name, error)),
    }
}

/// Takes the name with an empty Secret and answers its version: server-side apply has no "only where there is none", and
/// what is made in another way could not be changed by it.
async fn take(api: &Api<Secret>, wanted: &Secret) -> Result<String, WriteError> {
    let name = wanted.name_any();
    let empty = Secret { metadata: wanted.metadata.clone(), type_: wanted.type_.clone(), ..Secret::default() };
    let params = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
    match api.create(&params, &empty).await {
        Ok(made) => Ok(made.resource_version().unwrap_or_default()),
        Err(kube::Error::Api(refusal)) if refusal.code == 409 => Err(WriteError::Overtaken { kind: KIND.into(), name }),
        Err(error) => Err(failed(KIND, &name, error)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::Method;
    use parking_lot::Mutex;
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::fake;

    /// An API server with at most one Secret, in this version. It keeps what was asked for, by method.
    #[derive(Clone, Default)]
    struct Server {
        there: Arc<Mutex<Option<&'static str>>>,
        asked: Arc<Mutex<Vec<Method>>>,
    }

    impl Server {
        fn with(version: Option<&'static str>) -> Self {
            Self { there: Arc::new(Mutex::new(version)), asked: Arc::default() }
        }

        /// As the real one: only one that is not there is made, and only the version that is named is changed.
        fn answer(&self, method: &Method, body: &Value) -> (u16, Value) {
            let mut there = self.there.lock();
            let fits = match *method {
                Method::POST => there.is_none(),
                _ => there.is_some_and(|version| body["metadata"]["resourceVersion"] == version),
            };
            if !fits {
                let text =
                    json!({"kind": "Status", "status": "Failure", "code": 409, "reason": "Conflict", "message": "no"});
                return (409, text);
            }
            *there = Some("9");
            (200, secret("9"))
        }

        fn client(&self) -> Client {
            let server = self.clone();
            fake::client("ns", move |request| {
                let (server, method) = (server.clone(), request.method().clone());
                async move {
                    server.asked.lock().push(method.clone());
                    server.answer(&method, &fake::body(request).await)
                }
            })
        }
    }

    fn secret(version: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "ns",
            "resourceVersion": version, "labels": {"by": "us"}}})
    }

    async fn applied(server: &Server, read: Option<&str>, by: &str) -> (Result<Written, WriteError>, Vec<Method>) {
        let wanted = json!({"metadata": {"name": "s", "namespace": "ns", "labels": {"by": by}}, "type": "Opaque",
            "data": {"tls.crt": "cm9vdA=="}});
        let wanted: Secret = serde_json::from_value(wanted).unwrap();
        let read: Option<Secret> = read.map(|version| serde_json::from_value(secret(version)).unwrap());
        let done = apply(&server.client(), &wanted, &Ours::Label("by", by.into()), read.as_ref()).await;
        (done.map(|put| put.written), server.asked.lock().clone())
    }

    #[tokio::test]
    async fn a_root_that_somebody_else_made_meanwhile_is_not_written_over() {
        for (there, read) in [(Some("7"), None), (Some("7"), Some("6")), (None, Some("6"))] {
            let server = Server::with(there);
            let (done, _) = applied(&server, read, "us").await;
            assert!(matches!(done, Err(WriteError::Overtaken { .. })), "{done:?}");
            assert_eq!(*server.there.lock(), there, "it is as it was");
        }
        let (done, asked) = applied(&Server::with(Some("7")), Some("7"), "them").await;
        assert!(matches!(done, Err(WriteError::NameConflict { .. })) && asked.is_empty(), "{done:?}");
    }

    #[tokio::test]
    async fn what_is_as_it_was_read_is_written() {
        let (done, asked) = applied(&Server::with(Some("7")), Some("7"), "us").await;
        assert_eq!((done.unwrap(), asked), (Written::Object, vec![Method::PATCH]));
        let (done, asked) = applied(&Server::with(None), None, "us").await;
        assert_eq!((done.unwrap(), asked), (Written::Object, vec![Method::POST, Method::PATCH]));
    }
}

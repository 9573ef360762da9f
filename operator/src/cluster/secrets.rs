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

/// Makes `wanted` so, if the Secret still is as it was read: in the version `read`, or not there.
///
/// # Errors
/// A Secret of that name that is not ours, one that changed since, and what the API server refuses.
pub(crate) async fn apply(
    client: &Client,
    wanted: &Secret,
    ours: &Ours,
    read: Option<&str>,
) -> Result<Put<Secret>, WriteError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), &wanted.namespace().unwrap_or_default());
    let name = wanted.name_any();
    let before = api.get_opt(&name).await.map_err(|error| failed(KIND, &name, error))?;
    if let Some(existing) = &before {
        if !ours.is(existing) {
            return Err(WriteError::NameConflict { kind: KIND.into(), name });
        }
        if same(wanted, existing) {
            return Ok(Put { written: Written::Nothing, before });
        }
    }
    let there = before.as_ref().and_then(ResourceExt::resource_version);
    let version = match (there, read) {
        (None, None) => take(&api, wanted).await?,
        (Some(there), Some(read)) if there == read => there,
        _ => return Err(WriteError::Overtaken { kind: KIND.into(), name }),
    };
    let mut wanted = wanted.clone();
    wanted.metadata.resource_version = Some(version);
    let params = PatchParams::apply(MANAGER).force();
    api.patch(&name, &params, &Patch::Apply(&wanted)).await.map_err(|error| failed(KIND, &name, error))?;
    Ok(Put { written: Written::Object, before })
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
    use std::{
        convert::Infallible,
        future::{Ready, ready},
        sync::Arc,
        task::{Context, Poll},
    };

    use http::{Method, Request, Response};
    use kube::client::Body;
    use parking_lot::Mutex;
    use serde_json::{Value, json};

    use super::*;

    /// An API server with at most one Secret. It keeps what was written, by method.
    #[derive(Clone, Default)]
    struct Server {
        there: Option<&'static str>,
        comes_meanwhile: bool,
        written: Arc<Mutex<Vec<Method>>>,
    }

    impl Server {
        fn answer(&self, method: &Method) -> (u16, Value) {
            let refusal = |code: u16| {
                let reason = if code == 404 { "NotFound" } else { "AlreadyExists" };
                (code, json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": "no"}))
            };
            let secret = |version: &str| {
                (
                    200,
                    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "ns",
                    "resourceVersion": version, "labels": {"by": "us"}}}),
                )
            };
            match *method {
                Method::GET => self.there.map_or_else(|| refusal(404), secret),
                Method::POST if self.comes_meanwhile => refusal(409),
                _ => secret("9"),
            }
        }
    }

    impl tower_service::Service<Request<Body>> for Server {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = Ready<Result<Self::Response, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Body>) -> Self::Future {
            let (code, body) = self.answer(request.method());
            if request.method() != Method::GET {
                self.written.lock().push(request.method().clone());
            }
            ready(Ok(Response::builder().status(code).body(Body::from(body.to_string().into_bytes())).unwrap()))
        }
    }

    async fn applied(server: &Server, read: Option<&str>) -> (Result<Written, WriteError>, Vec<Method>) {
        let wanted = json!({"metadata": {"name": "s", "namespace": "ns", "labels": {"by": "us"}}, "type": "Opaque",
            "data": {"tls.crt": "cm9vdA=="}});
        let wanted: Secret = serde_json::from_value(wanted).unwrap();
        let client = Client::new(server.clone(), "ns");
        let done = apply(&client, &wanted, &Ours::Label("by", "us".into()), read).await;
        (done.map(|put| put.written), server.written.lock().clone())
    }

    #[tokio::test]
    async fn a_root_that_somebody_else_made_meanwhile_is_not_written_over() {
        let appeared = Server { there: Some("7"), ..Server::default() };
        let changed = Server { there: Some("7"), ..Server::default() };
        let faster = Server { comes_meanwhile: true, ..Server::default() };
        let gone = Server::default();
        for (server, read) in [(appeared, None), (changed, Some("6")), (faster, None), (gone, Some("6"))] {
            let (done, written) = applied(&server, read).await;
            assert!(matches!(done, Err(WriteError::Overtaken { .. })), "{done:?}");
            assert!(!written.contains(&Method::PATCH), "{written:?}");
        }
    }

    #[tokio::test]
    async fn what_is_as_it_was_read_is_written() {
        let (done, written) = applied(&Server { there: Some("7"), ..Server::default() }, Some("7")).await;
        assert_eq!((done.unwrap(), written), (Written::Object, vec![Method::PATCH]));
        let (done, written) = applied(&Server::default(), None).await;
        assert_eq!((done.unwrap(), written), (Written::Object, vec![Method::POST, Method::PATCH]));
    }
}

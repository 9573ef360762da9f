//! Who calls: TokenReview of the token that the kubelet put into the pod, for our audience, and bound to that pod.
//!
//! Answers are kept for a moment, by the token's sum, so that a sidecar that reports does not cost a review each time. A token
//! of a pod that was deleted is refused by the API server; it may be taken here for [`KEPT`] longer.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::{Api, Client, api::PostParams};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

/// How long an answer holds.
const KEPT: Duration = Duration::from_secs(30);
/// Pods that call within that time; more only cost a review each.
const CALLERS: usize = 4096;
/// Tokens of clusters with many claims have some 2 KiB.
const TOKEN_MAX: usize = 16 * 1024;
/// What a user of a service account is called.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// A pod, as its token proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) namespace: String,
    pub(super) pod: String,
    pub(super) pod_uid: String,
    /// The user's name, as the API server knows it.
    pub(super) user: String,
    pub(super) uid: Option<String>,
    pub(super) groups: Vec<String>,
}

/// Why nobody is known by a token.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unknown {
    #[error("a bearer token is needed, for the audience {}", crds::intake::AUDIENCE)]
    NoToken,
    #[error("the token does not hold: {0}")]
    Refused(String),
    #[error("the token is bound to no pod: mount one as a projected volume")]
    Unbound,
    #[error("the API server did not review the token: {0}")]
    Api(#[from] kube::Error),
}

/// Reviews, and what was answered a moment ago.
pub(super) struct Callers {
    client: Client,
    known: Mutex<HashMap<[u8; 32], (Caller, Instant)>>,
}

impl Callers {
    pub(super) fn new(client: Client) -> Self {
        Self { client, known: Mutex::default() }
    }

    /// The pod behind an `authorization` header.
    pub(super) async fn of(&self, header: Option<&str>) -> Result<Caller, Unknown> {
        let token = header.and_then(|header| header.strip_prefix("Bearer ")).filter(|token| token.len() <= TOKEN_MAX);
        let token = token.ok_or(Unknown::NoToken)?;
        let sum: [u8; 32] = Sha256::digest(token).into();
        if let Some(known) = self.known(&sum) {
            return Ok(known);
        }
        let caller = caller(self.review(token).await?)?;
        let mut known = self.known.lock();
        if known.len() >= CALLERS {
            known.retain(|_, (_, since)| since.elapsed() < KEPT);
        }
        if known.len() < CALLERS {
            known.insert(sum, (caller.clone(), Instant::now()));
        }
        Ok(caller)
    }

    fn known(&self, sum: &[u8; 32]) -> Option<Caller> {
        let known = self.known.lock();
        known.get(sum).filter(|(_, since)| since.elapsed() < KEPT).map(|(caller, _)| caller.clone())
    }

    async fn review(&self, token: &str) -> Result<TokenReviewStatus, kube::Error> {
        let audiences = Some(vec![crds::intake::AUDIENCE.to_owned()]);
        let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences };
        let review = TokenReview { spec, ..TokenReview::default() };
        let answer = Api::<TokenReview>::all(self.client.clone()).create(&PostParams::default(), &review).await?;
        Ok(answer.status.unwrap_or_default())
    }
}

fn caller(status: TokenReviewStatus) -> Result<Caller, Unknown> {
    if status.authenticated != Some(true) {
        return Err(Unknown::Refused(status.error.unwrap_or_else(|| "it is not for this cluster or has ended".into())));
    }
    // An API server that knows no audiences says none.
    if !status.audiences.iter().flatten().any(|audience| audience == crds::intake::AUDIENCE) {
        return Err(Unknown::Refused("it is for another audience".into()));
    }
    let user = status.user.unwrap_or_default();
    let extra = user.extra.unwrap_or_default();
    let word = |key: &str| extra.get(key).and_then(|values| values.first()).cloned();
    let name = user.username.unwrap_or_default();
    let namespace =
        name.strip_prefix(SERVICE_ACCOUNT).and_then(|rest| rest.split_once(':')).map(|(ns, _)| ns.to_owned());
    match (namespace, word("authentication.kubernetes.io/pod-name"), word("authentication.kubernetes.io/pod-uid")) {
        (Some(namespace), Some(pod), Some(pod_uid)) => {
            Ok(Caller { namespace, pod, pod_uid, user: name, uid: user.uid, groups: user.groups.unwrap_or_default() })
        }
        _ => Err(Unknown::Unbound),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn status(change: impl Fn(&mut Value)) -> Result<Caller, Unknown> {
        let mut status = json!({"authenticated": true, "audiences": ["interconn.dev/intake"], "user": {
            "username": "system:serviceaccount:privacy:app", "uid": "u", "groups": ["system:serviceaccounts"],
            "extra": {"authentication.kubernetes.io/pod-name": ["p"], "authentication.kubernetes.io/pod-uid": ["1"]}}});
        change(&mut status);
        caller(serde_json::from_value(status).unwrap())
    }

    #[test]
    fn a_pod_is_known_by_its_token() {
        let caller = status(|_| {}).unwrap();
        assert_eq!((caller.namespace.as_str(), caller.pod.as_str(), caller.pod_uid.as_str()), ("privacy", "p", "1"));
        assert_eq!(caller.user, "system:serviceaccount:privacy:app");
    }

    #[test]
    fn a_token_of_another_audience_of_nobody_or_of_no_pod_is_refused() {
        for (said, change) in [
            ("does not hold", Box::new(|s: &mut Value| s["authenticated"] = json!(false)) as Box<dyn Fn(&mut Value)>),
            ("another audience", Box::new(|s| s["audiences"] = json!(["https://kubernetes.default.svc"]))),
            ("another audience", Box::new(|s| s["audiences"] = Value::Null)),
            ("no pod", Box::new(|s| s["user"]["extra"] = Value::Null)),
            ("no pod", Box::new(|s| s["user"]["username"] = json!("kubernetes-admin"))),
        ] {
            let refused = status(change).unwrap_err().to_string();
            assert!(refused.contains(said), "{refused}");
        }
    }
}

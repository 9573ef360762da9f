//! Who calls: TokenReview of the token that the kubelet put into the pod, for our audience, and bound to that pod.
//!
//! Answers are kept for a moment, by the token's sum, so that a sidecar that reports does not cost a review each time. A token
//! of a pod that was deleted is refused by the API server; it may be taken here for [`KEPT`] longer. A token that was refused is
//! refused for as long without a review.
//!
//! Tokens that nobody has seen cost a review each, so who brings many that do not hold waits ([`Rate`]): the pod, where the cluster
//! signed the token for it (`signed.rs`), else the address that it comes from, which pods of one machine may share. Who pays does so
//! before the review, also for one that the API server does not answer, and has it back when the token holds. A token that held once
//! is reviewed whatever was brought meanwhile.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::{Api, Client, api::PostParams};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::{
    rate::{Rate, Turn},
    signed::Signed,
};

/// How long an answer holds.
const KEPT: Duration = Duration::from_secs(30);
/// Tokens that are remembered, of those that hold and of those that do not; more only cost a review each.
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
    #[error("too many calls without a token that holds: one a second, and a few more at a start")]
    TooMany(Turn),
    #[error("the API server did not review the token: {0}")]
    Api(#[from] kube::Error),
}

/// Reviews, and what was answered a moment ago.
pub(super) struct Callers {
    client: Client,
    signed: Signed,
    known: Mutex<Known>,
    pods: Mutex<Rate>,
    strangers: Mutex<Rate>,
}

/// Who pays for a review. Their shares lie apart, so that no number of addresses crowds a pod out.
enum Payer {
    /// A pod, by its uid.
    Pod(String),
    /// Whoever calls from an address.
    Stranger(String),
}

type Sum = [u8; 32];

/// What is known of tokens, by their sums.
#[derive(Default)]
struct Known {
    /// Whom they speak for, also those whose answer is too old to hold.
    good: HashMap<Sum, (Caller, Instant)>,
    /// Why they did not hold.
    bad: HashMap<Sum, (String, Instant)>,
}

impl Callers {
    pub(super) fn new(client: Client) -> Self {
        let signed = Signed::new(client.clone());
        Self { client, signed, known: Mutex::default(), pods: Mutex::default(), strangers: Mutex::default() }
    }

    /// The pod behind an `authorization` header that came from an address.
    pub(super) async fn of(&self, header: Option<&str>, from: Option<IpAddr>) -> Result<Caller, Unknown> {
        let stranger = Payer::Stranger(from.map(|address| address.to_string()).unwrap_or_default());
        let token = header.and_then(|header| header.strip_prefix("Bearer ")).filter(|token| token.len() <= TOKEN_MAX);
        let Some(token) = token else {
            self.charge(&stranger)?;
            return Err(Unknown::NoToken);
        };
        let sum: Sum = Sha256::digest(token).into();
        let (known, held_once) = {
            let known = self.known.lock();
            (known.get(&sum, Instant::now()), known.good.contains_key(&sum))
        };
        match known {
            Some(Ok(caller)) => return Ok(caller),
            Some(Err(why)) => {
                self.charge(&stranger)?;
                return Err(Unknown::Refused(why));
            }
            None => {}
        }
        // Before the review, or as many would pass as connections wait for theirs.
        let payer = if held_once { stranger } else { self.signed.pod(token).await.map_or(stranger, Payer::Pod) };
        if !held_once {
            self.charge(&payer)?;
        }
        let found = match self.review(token).await {
            Ok(status) => caller(status),
            Err(trouble) => Err(trouble.into()),
        };
        self.known.lock().keep(sum, &found, Instant::now());
        match (&found, held_once) {
            // The API server's trouble is not the caller's.
            (Ok(_) | Err(Unknown::Api(_)), false) => self.give_back(&payer),
            (Err(Unknown::Api(_)), true) => {}
            (Err(_), true) => self.charge(&payer)?,
            _ => {}
        }
        found
    }

    /// Takes one call of those that a payer has for what does not hold.
    fn charge(&self, payer: &Payer) -> Result<(), Unknown> {
        let (rate, name) = self.share(payer);
        match rate.lock().take(name, Instant::now()) {
            Turn::Taken => Ok(()),
            spent => Err(Unknown::TooMany(spent)),
        }
    }

    fn give_back(&self, payer: &Payer) {
        let (rate, name) = self.share(payer);
        rate.lock().give_back(name);
    }

    fn share<'a>(&'a self, payer: &'a Payer) -> (&'a Mutex<Rate>, &'a str) {
        match payer {
            Payer::Pod(uid) => (&self.pods, uid),
            Payer::Stranger(address) => (&self.strangers, address),
        }
    }

    async fn review(&self, token: &str) -> Result<TokenReviewStatus, kube::Error> {
        let audiences = Some(vec![crds::intake::AUDIENCE.to_owned()]);
        let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences };
        let review = TokenReview { spec, ..TokenReview::default() };
        let answer = Api::<TokenReview>::all(self.client.clone()).create(&PostParams::default(), &review).await?;
        Ok(answer.status.unwrap_or_default())
    }
}

impl Known {
    /// What still holds of a token.
    fn get(&self, sum: &Sum, now: Instant) -> Option<Result<Caller, String>> {
        let holds = |since: &Instant| now.duration_since(*since) < KEPT;
        let good = self.good.get(sum).filter(|(_, since)| holds(since)).map(|(caller, _)| Ok(caller.clone()));
        good.or_else(|| self.bad.get(sum).filter(|(_, since)| holds(since)).map(|(why, _)| Err(why.clone())))
    }

    fn keep(&mut self, sum: Sum, found: &Result<Caller, Unknown>, now: Instant) {
        match found {
            Ok(caller) => insert(&mut self.good, sum, (caller.clone(), now)),
            Err(Unknown::Refused(why)) => insert(&mut self.bad, sum, (why.clone(), now)),
            Err(_) => {}
        }
        if found.is_err() {
            self.good.remove(&sum);
        }
    }
}

/// What is too old makes room; where there is none the next call costs a review again.
fn insert<T>(map: &mut HashMap<Sum, (T, Instant)>, sum: Sum, (value, now): (T, Instant)) {
    if map.len() >= CALLERS {
        map.retain(|_, (_, since)| now.duration_since(*since) < KEPT);
    }
    if map.len() < CALLERS {
        map.insert(sum, (value, now));
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
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use http::{Method, Request};
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::{super::signed::tests::Signer, *};
    use crate::cluster::fake;

    /// What it does with a question.
    #[derive(Clone)]
    enum Does {
        KeepsSilent,
        Fails,
        /// Publishes these keys, and has this token hold.
        Reviews(Value, String),
    }

    /// What it answers a question with.
    async fn answer(request: Request<Body>, does: Does) -> (u16, Value) {
        match does {
            Does::KeepsSilent => std::future::pending().await,
            Does::Fails => (500, json!({"code": 500})),
            Does::Reviews(keys, _) if request.method() == Method::GET => (200, keys),
            Does::Reviews(_, good) => {
                let review = fake::body(request).await;
                let status = if review["spec"]["token"] == good { held() } else { json!({"authenticated": false}) };
                (200, json!({"metadata": {}, "spec": {}, "status": status}))
            }
        }
    }

    /// With an API server that counts the reviews that it is asked for.
    fn callers(does: Does) -> (Callers, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let client = fake::client("default", move |request| {
            if request.method() == Method::POST {
                count.fetch_add(1, Ordering::Relaxed);
            }
            answer(request, does.clone())
        });
        (Callers::new(client), asked)
    }

    fn held() -> Value {
        json!({"authenticated": true, "audiences": ["interconn.dev/intake"], "user": {
            "username": "system:serviceaccount:privacy:app", "uid": "u", "groups": ["system:serviceaccounts"],
            "extra": {"authentication.kubernetes.io/pod-name": ["p"], "authentication.kubernetes.io/pod-uid": ["1"]}}})
    }

    fn status(change: impl Fn(&mut Value)) -> Result<Caller, Unknown> {
        let mut status = held();
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
    fn an_answer_holds_for_a_moment_and_a_token_that_held_once_stays_known() {
        let (mut known, now, sum) = (Known::default(), Instant::now(), |n| [n; 32]);
        known.keep(sum(1), &status(|_| {}), now);
        known.keep(sum(2), &Err(Unknown::Refused("no".into())), now);
        assert_eq!(known.get(&sum(1), now).unwrap().unwrap().pod, "p");
        assert_eq!(known.get(&sum(2), now), Some(Err("no".into())));
        assert!(known.get(&sum(1), now + KEPT).is_none() && known.get(&sum(2), now + KEPT).is_none());
        assert!(known.good.contains_key(&sum(1)));
        known.keep(sum(1), &Err(Unknown::Refused("the pod is gone".into())), now + KEPT);
        assert!(!known.good.contains_key(&sum(1)) && known.get(&sum(1), now + KEPT).unwrap().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_wait_for_their_reviews_at_once_count_as_those_that_come_in_turn() {
        let (callers, asked) = callers(Does::KeepsSilent);
        let headers: Vec<_> = (0..100).map(|n| format!("Bearer {n}")).collect();
        let from = Some(IpAddr::from([127, 0, 0, 1]));
        let calls = headers.iter().map(|header| {
            let call = callers.of(Some(header), from);
            tokio::time::timeout(Duration::from_secs(1), call)
        });
        let found = futures::future::join_all(calls).await;
        let refused = found.iter().filter(|found| matches!(found, Ok(Err(Unknown::TooMany(_))))).count();
        let waiting = found.iter().filter(|found| found.is_err()).count();
        assert!(refused > 0 && refused + waiting == headers.len(), "{refused} {waiting}");
        assert_eq!(asked.load(Ordering::Relaxed), waiting);
    }

    #[tokio::test]
    async fn an_api_server_in_trouble_is_not_counted_against_who_asks() {
        let (callers, asked) = callers(Does::Fails);
        for n in 0..100 {
            let found = callers.of(Some(&format!("Bearer {n}")), None).await;
            assert!(matches!(found, Err(Unknown::Api(_))), "{n}");
        }
        assert_eq!(asked.load(Ordering::Relaxed), 100);
    }

    /// Pods behind one NAT have one address.
    #[tokio::test]
    async fn what_strangers_bring_takes_nothing_from_a_pod_of_their_address() {
        let cluster = Signer::new("a");
        let (token, forged) = (cluster.token("1"), Signer::new("a").token("1"));
        let (callers, asked) = callers(Does::Reviews(cluster.published(), token.clone()));
        let mut last = Ok(());
        for n in 0..100 {
            last = callers.of(Some(&format!("Bearer {n}")), None).await.map(|_| ());
        }
        assert!(matches!(last, Err(Unknown::TooMany(_))), "{last:?}");
        let of = async |token: &str| callers.of(Some(&format!("Bearer {token}")), None).await;
        assert_eq!(of(&token).await.unwrap().pod_uid, "1");
        assert!(
            matches!(of(&forged).await, Err(Unknown::TooMany(_))),
            "in the pod's name, and not signed by the cluster"
        );
        let before = asked.load(Ordering::Relaxed);
        let ended: Vec<String> = (0..100).map(|_| cluster.token("1")).collect();
        for token in &ended {
            last = of(token).await.map(|_| ());
        }
        assert!(matches!(last, Err(Unknown::TooMany(_))), "a pod's own tokens that do not hold: {last:?}");
        assert!(asked.load(Ordering::Relaxed) - before < ended.len());
    }

    #[test]
    fn what_is_remembered_of_tokens_is_bounded() {
        let (mut known, now) = (Known::default(), Instant::now());
        let sum = |n: usize| Sha256::digest(n.to_string()).into();
        for n in 0..2 * CALLERS {
            known.keep(sum(n), &status(|_| {}), now);
            known.keep(sum(n), &Err(Unknown::Refused("no".into())), now);
        }
        for n in 0..2 * CALLERS {
            known.keep(sum(n), &status(|_| {}), now);
        }
        assert!(known.good.len() == CALLERS && known.bad.len() == CALLERS);
        known.keep(sum(2 * CALLERS), &status(|_| {}), now + KEPT);
        assert_eq!(known.good.len(), 1, "what is too old makes room");
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

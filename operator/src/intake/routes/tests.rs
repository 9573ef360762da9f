//! Changes against an API server that counts what it is asked for.

use std::{sync::Arc, time::Duration};

use crds::MeshRouteSpec;
use futures::future::join_all;
use http::{Method, Request};
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::*;
use crate::{cluster::fake, node::sample};

/// What the server takes for a page, by the clock of the test.
const PAGE_TAKES: Duration = Duration::from_millis(100);
const ROOT: &str = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n";

/// A verb, and the name of the one route that it is for, or none for all.
type Rights = &'static [(&'static str, Option<&'static str>)];

/// An API server with a pod, a node and routes.
#[derive(Clone, Default)]
pub(in crate::intake) struct Server {
    routes: Arc<Vec<MeshRoute>>,
    /// Those of the namespaces `large-...`.
    large: Option<Arc<Vec<MeshRoute>>>,
    /// What every account may do.
    rights: Rights,
    /// So many writes come too late.
    conflicts: usize,
    /// Whether the fields of what is written are another manager's.
    is_held: bool,
    /// Whether it does what it is to write and never says so.
    is_silent: bool,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    lists: usize,
    listing: usize,
    listing_at_most: usize,
    written: Vec<String>,
}

impl Server {
    pub(in crate::intake) fn allowing(rights: Rights) -> Self {
        Self { rights, ..Self::default() }
    }

    pub(in crate::intake) fn silent(self) -> Self {
        Self { is_silent: true, ..self }
    }

    pub(in crate::intake) fn client(&self) -> Client {
        let server = self.clone();
        fake::client("default", move |request| {
            let server = server.clone();
            async move {
                let answer = server.answer(request).await;
                let code = answer["code"].as_u64().and_then(|code| code.try_into().ok());
                (code.unwrap_or(200), answer)
            }
        })
    }

    /// What was written: method and name.
    pub(in crate::intake) fn written(&self) -> Vec<String> {
        self.seen.lock().written.clone()
    }

    async fn answer(&self, request: Request<Body>) -> Value {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let query = request.uri().query().unwrap_or_default().to_owned();
        if path.ends_with("/pods/p") {
            return json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
                "metadata": {"name": "p", "uid": "1", "labels": {NODE_LABEL: "bank-a"}}});
        }
        if path.ends_with("/meshnodes/bank-a") {
            return json!(sample::node("bank-a", "LX1"));
        }
        if path.ends_with("/subjectaccessreviews") {
            let asked = fake::body(request).await;
            let asked = &asked["spec"]["resourceAttributes"];
            let is_of = |name: &Option<&str>| name.is_none_or(|name| asked["name"] == name);
            let allowed = self.rights.iter().any(|(verb, name)| asked["verb"] == *verb && is_of(name));
            return json!({"metadata": {}, "spec": {}, "status": {"allowed": allowed}});
        }
        if method == Method::GET && path.ends_with("/meshroutes") {
            return self.list(&path, &query).await;
        }
        assert!([Method::PATCH, Method::DELETE].contains(&method), "{method} {path}");
        self.seen.lock().written.push(format!("{method} {}", path.rsplit('/').next().unwrap()));
        if self.is_silent {
            return std::future::pending().await;
        }
        if self.is_held {
            // As an API server says it of `spec.addresses` that kubectl set.
            let cause = json!({"reason": "FieldManagerConflict", "message": "conflict with \"kubectl\"", "field": ".spec.addresses"});
            return json!({"kind": "Status", "status": "Failure", "reason": "Conflict", "code": 409,
                "message": "Apply failed with 1 conflict", "details": {"causes": [cause]}});
        }
        if self.written().len() <= self.conflicts {
            return json!({"kind": "Status", "status": "Failure", "reason": "Conflict", "message": "modified", "code": 409});
        }
        json!(sample::route("r", "bank-a", "LX2", &[ROOT]))
    }

    /// One page; the token of the next one is the number of routes before it.
    async fn list(&self, path: &str, query: &str) -> Value {
        let word = |key: &str| query.split('&').find_map(|pair| pair.strip_prefix(key));
        let (most, before) = (word("limit=").unwrap(), word("continue=").unwrap_or("0"));
        let (most, before): (usize, usize) = (most.parse().unwrap(), before.parse().unwrap());
        {
            let mut seen = self.seen.lock();
            (seen.lists, seen.listing) = (seen.lists + 1, seen.listing + 1);
            seen.listing_at_most = seen.listing_at_most.max(seen.listing);
        }
        tokio::time::sleep(PAGE_TAKES).await;
        self.seen.lock().listing -= 1;
        let routes = self.large.as_ref().filter(|_| path.contains("/large-")).unwrap_or(&self.routes);
        let page: Vec<_> = routes.iter().skip(before).take(most).collect();
        let behind = before + page.len();
        let next = if behind < routes.len() { behind.to_string() } else { String::new() };
        json!({"metadata": {"continue": next}, "items": page})
    }

    async fn change(&self, change: &RouteChange) -> Result<String, NotWritten> {
        Routes::new(self.client()).change(&caller(), change).await
    }
}

pub(in crate::intake) fn caller() -> Caller {
    caller_of("demo")
}

fn caller_of(namespace: &str) -> Caller {
    let word = str::to_owned;
    Caller {
        namespace: word(namespace),
        pod: word("p"),
        pod_uid: word("1"),
        user: word("app"),
        uid: None,
        groups: Vec::new(),
    }
}

pub(in crate::intake) fn put(peer: &str) -> RouteChange {
    RouteChange::Put { route: Box::new(sample::route("x", "anything", peer, &[ROOT]).spec) }
}

fn remove(peer: &str) -> RouteChange {
    RouteChange::Remove { node_id: peer.into() }
}

/// A route that a person made.
fn theirs(name: &str, peer: &str) -> MeshRoute {
    sample::route(name, "bank-a", peer, &[ROOT])
}

#[tokio::test(start_paused = true)]
async fn an_account_without_rights_is_told_nothing_and_costs_no_list() {
    let server = Server { routes: Arc::new(vec![theirs("secret", "LX2")]), ..Server::default() };
    let other =
        RouteChange::Put { route: Box::new(MeshRouteSpec { addresses: Vec::new(), ..theirs("x", "LX2").spec }) };
    let unproven = RouteChange::Put {
        route: Box::new(MeshRouteSpec {
            client_certificate: crds::ClientCertificate::Optional,
            ..theirs("x", "LX2").spec
        }),
    };
    for change in [put("LX2"), put("LX3"), put("LX1"), other, unproven, remove("LX2"), remove("LX3")] {
        let refused = server.change(&change).await.unwrap_err();
        assert!(matches!(refused, NotWritten::Forbidden { .. }), "{change:?}: {refused}");
        assert!(!refused.to_string().contains("secret"), "{refused}");
    }
    let seen = server.seen.lock();
    assert_eq!((seen.lists, seen.written.len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn each_right_opens_what_it_is_for() {
    let name = route_name("bank-a", "LX2");
    let mut ours = theirs(&name, "LX2");
    ours.labels_mut().insert(MADE_BY.into(), INTAKE.into());
    let moved =
        RouteChange::Put { route: Box::new(MeshRouteSpec { addresses: Vec::new(), ..theirs("x", "LX2").spec }) };
    let made = Arc::new(vec![ours]);
    let by_kubectl = Arc::new(vec![theirs("people", "LX2")]);
    let none = Arc::new(Vec::new());
    let (create, update, delete): (Rights, Rights, Rights) =
        (&[("create", None)], &[("update", None)], &[("delete", None)]);
    for (what, rights, routes, change, may) in [
        ("a new one", create, &none, put("LX2"), true),
        ("a new one", update, &none, put("LX2"), false),
        ("what is so", update, &made, put("LX2"), true),
        ("what is so", create, &made, put("LX2"), true),
        ("what is so and people made", update, &by_kubectl, put("LX2"), true),
        ("what is so and people made", create, &by_kubectl, put("LX2"), true),
        ("what people made otherwise", create, &by_kubectl, moved.clone(), false),
        ("another address", update, &made, moved.clone(), true),
        ("another address", create, &made, moved, false),
        ("the end", delete, &made, remove("LX2"), true),
    ] {
        let server = Server { rights, routes: Arc::clone(routes), ..Server::default() };
        let answer = server.change(&change).await;
        assert_eq!(answer.is_ok(), may, "{what}, by {rights:?}: {answer:?}");
        assert!(may || matches!(answer, Err(NotWritten::Forbidden { .. })), "{answer:?}");
        let said = answer.unwrap_or_else(|refused| refused.to_string());
        assert!(!said.contains("people"), "{said}");
    }
    let one: Rights = &[("delete", Some("others"))];
    let refused = Server { rights: one, routes: by_kubectl, ..Server::default() }.change(&remove("LX2")).await;
    assert!(matches!(refused, Err(NotWritten::Forbidden { .. })), "{refused:?}");
}

/// The status that the operator writes of the change before is nobody's refusal.
#[tokio::test(start_paused = true)]
async fn a_write_that_came_between_is_looked_at_anew_and_a_person_who_stays_in_the_way_is_named() {
    for (conflicts, is_done) in [(TRIES - 1, true), (TRIES, false)] {
        let server = Server { conflicts, ..Server::allowing(&[("create", None)]) };
        let answer = server.change(&put("LX2")).await;
        assert_eq!(answer.is_ok(), is_done, "{answer:?}");
        assert!(is_done || matches!(answer, Err(NotWritten::Conflict(_))), "{answer:?}");
        let seen = server.seen.lock();
        assert_eq!((seen.lists, seen.written.len()), (TRIES, TRIES));
    }
}

/// What no new look changes is asked for once.
#[tokio::test(start_paused = true)]
async fn fields_that_a_person_holds_are_tried_once() {
    let server = Server { is_held: true, ..Server::allowing(&[("create", None)]) };
    let answer = server.change(&put("LX2")).await;
    assert!(matches!(answer, Err(NotWritten::Held(_))), "{answer:?}");
    let seen = server.seen.lock();
    assert_eq!((seen.lists, seen.written.len()), (1, 1));
}

/// So many routes that nobody asks for, and one that a person made.
fn many_routes(others: usize) -> Vec<MeshRoute> {
    (0..others).map(|n| theirs(&format!("r{n}"), &format!("P{n}"))).chain([theirs("last", "LX2")]).collect()
}

const ALL: Rights = &[("create", None), ("update", None), ("delete", None)];

/// Whatever number of pods ask, a few pages are in memory.
#[tokio::test(start_paused = true)]
async fn many_changes_at_once_list_in_pages_and_a_few_at_a_time() {
    let server = Server { rights: ALL, routes: Arc::new(many_routes(250)), ..Server::default() };
    let routes = Routes::new(server.client());
    let remove = remove("LX2");
    let callers: Vec<_> = (0..20).map(|n| caller_of(&format!("demo-{}", n % 5))).collect();
    let answers = join_all(callers.iter().map(|caller| routes.change(caller, &remove))).await;
    for answer in answers {
        let refused = answer.unwrap_err().to_string();
        assert!(refused.contains("MeshRoute last was made with kubectl"), "{refused}");
    }
    let seen = server.seen.lock();
    assert_eq!((seen.lists, seen.listing_at_most), (20 * 3, LOOKING));
}

/// Both turns were held over all pages once: a few pods of a namespace with thousands of routes stopped everybody's changes.
#[tokio::test(start_paused = true)]
async fn a_namespace_of_many_routes_holds_up_no_other() {
    let (routes, large) = (Arc::new(many_routes(0)), Some(Arc::new(many_routes(10_000))));
    let server = Server { rights: ALL, routes, large, ..Server::default() };
    let routes = Routes::new(server.client());
    let remove = remove("LX2");
    let crowd: Vec<_> = (0..40).map(|n| caller_of(&format!("large-{}", n % 2))).collect();
    let crowd = join_all(crowd.iter().map(|caller| routes.change(caller, &remove)));
    let other = async {
        // They are at it.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let begun = tokio::time::Instant::now();
        let refused = routes.change(&caller(), &remove).await.unwrap_err().to_string();
        assert!(refused.contains("MeshRoute last was made with kubectl"), "{refused}");
        begun.elapsed()
    };
    let took = tokio::select! {
        _ = crowd => panic!("forty looks at ten thousand routes were over before one at a single route"),
        took = other => took,
    };
    assert!(took <= 3 * PAGE_TAKES, "one page of its own, and its turn among the pages of others: {took:?}");
}

//! The watch against an API server that answers from a list and then falls silent.

use std::{collections::VecDeque, time::Duration};

use crds::MeshRoute;
use k8s_openapi::api::core::v1::ConfigMap;
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::*;
use crate::{admin::Readiness, cluster::fake, node::sample};

fn client(answers: impl IntoIterator<Item = Value>) -> Client {
    let answers: Arc<Mutex<VecDeque<Value>>> = Arc::new(Mutex::new(answers.into_iter().collect()));
    fake::client("default", move |_| {
        let next = answers.lock().pop_front();
        async {
            match next {
                Some(answer) => (200, answer),
                None => std::future::pending().await,
            }
        }
    })
}

fn list(version: &str, items: &[Value]) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": version}, "items": items})
}

fn gone() -> Value {
    json!({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}})
}

fn route(name: &str) -> Value {
    let mut route = serde_json::to_value(sample::route(name, "a", name, &[])).unwrap();
    route["metadata"]["uid"] = name.into();
    route
}

/// What was told.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Told {
    fn of<K: ResourceExt>(&self, change: &Change<'_, K>) {
        self.0.lock().push(match change {
            Change::Here(object) => object.name_any(),
            Change::Gone(object) => format!("no {}", object.name_any()),
            Change::Begins => return,
            Change::Listed => "that is all".into(),
        });
    }
}

/// Long after the last answer, in a time that does not pass by itself.
const AT_LAST: Duration = Duration::from_secs(600);

fn shown(kind: &'static str) -> (Shown, Metrics, Readiness) {
    let (metrics, readiness) = (Metrics::new(&mut Registry::default()), Readiness::default());
    (Shown { kind, listed: readiness.pending(kind), metrics: metrics.clone() }, metrics, readiness)
}

fn counted(metrics: &Metrics, kind: &'static str) -> (u64, u64) {
    let label = KindLabel { kind };
    (metrics.watch_restarts.get_or_create(&label).get(), metrics.watch_failures.get_or_create(&label).get())
}

#[tokio::test(start_paused = true)]
async fn a_lost_watch_lists_anew_says_when_the_list_is_whole_and_is_counted() {
    let answers = [list("1", &[route("b"), route("c")]), gone(), list("2", &[route("c")])];
    let (shown, metrics, readiness) = shown("MeshRoute");
    let (store, writer) = reflector::store();
    let told = Told::default();
    assert_eq!(readiness.missing(), ["MeshRoute"]);
    let kept = keep::<MeshRoute>(api(&client(answers), Some("privacy")), writer, shown, |c| told.of(&c));
    assert!(timeout(AT_LAST, kept).await.is_err(), "a watch never ends");
    assert_eq!(*told.0.lock(), ["b", "c", "that is all", "c", "that is all"]);
    assert_eq!(store.state().len(), 1);
    assert_eq!((readiness.missing().len(), counted(&metrics, "MeshRoute")), (0, (1, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_keeps_nothing_tells_the_same() {
    let map =
        |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "n"}});
    let answers = [list("1", &[map("x")]), gone(), list("2", &[]), gone(), list("3", &[map("y")])];
    let (shown, metrics, readiness) = shown("ConfigMap");
    let told = Told::default();
    let maps = api::<ConfigMap>(&client(answers), None);
    let heard = hear(maps, watcher::Config::default(), &shown, |c| told.of(&c));
    assert!(timeout(AT_LAST, heard).await.is_err(), "a watch never ends");
    assert_eq!(*told.0.lock(), ["x", "that is all", "that is all", "y", "that is all"]);
    assert_eq!((readiness.missing().len(), counted(&metrics, "ConfigMap")), (0, (2, 2)));
}

#[tokio::test(start_paused = true)]
async fn an_object_that_cannot_be_read_is_there_and_is_no_object() {
    let mut unreadable = route("b");
    unreadable["spec"]["addresses"] = json!("of a later version");
    let (store, writer) = reflector::store();
    let api = api(&client([list("1", &[unreadable, route("c")])]), Some("privacy"));
    assert!(timeout(AT_LAST, keep::<MeshRoute>(api, writer, shown("MeshRoute").0, |_| {})).await.is_err());
    let namespace = sample::route("b", "a", "b", &[]).metadata.namespace.unwrap();
    let found =
        ["b", "c", "d"].map(|name| (is_there(&store, &namespace, name), get(&store, &namespace, name).is_some()));
    assert_eq!(found, [(true, false), (true, true), (false, false)]);
}

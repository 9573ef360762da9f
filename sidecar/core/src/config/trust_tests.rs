use std::sync::atomic::{AtomicUsize, Ordering};

use crds::snapshot::RouteConfig;
use parking_lot::Mutex;
use serde_json::json;

use super::*;
use crate::{
    config::{
        ConfigMetrics, Environment, Settings,
        testing::{add_intake, write_directory},
    },
    store::Store,
};

/// An operator that answers as it is told.
struct Operator {
    answer: Mutex<Option<Result<(), TrustError>>>,
    asked: Mutex<Vec<RouteChange>>,
    calls: AtomicUsize,
}

impl TrustDesk for Operator {
    fn change<'d>(&'d self, change: &'d RouteChange) -> BoxFuture<'d, Result<(), TrustError>> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.asked.lock().push(change.clone());
        let answer = self.answer.lock().clone();
        Box::pin(async move {
            match answer {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        })
    }
}

fn node(directory: &std::path::Path, answer: Option<Result<(), TrustError>>) -> (Arc<Keeper>, Arc<Operator>) {
    let home = tempfile::tempdir().unwrap();
    let variables = [("MESH_HOME", home.path()), ("MESH_CONFIG_DIR", directory)];
    let variables = variables.map(|(name, path)| (name.to_owned(), path.display().to_string()));
    let settings = Settings::read(&Environment::new(variables)).unwrap();
    let store = Arc::new(Store::open(&settings.home).unwrap());
    let keeper = Keeper::open(&settings, None, store, ConfigMetrics::default(), std::time::SystemTime::now()).unwrap();
    let operator =
        Arc::new(Operator { answer: Mutex::new(answer), asked: Mutex::default(), calls: AtomicUsize::new(0) });
    keeper.set_trust_desk(Arc::clone(&operator) as Arc<dyn TrustDesk>);
    (keeper, operator)
}

fn managed() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    write_directory(directory.path(), "LX1", &["LX2"]);
    add_intake(directory.path());
    directory
}

fn route(node_id: &str) -> ApiRoute {
    let config: RouteConfig = serde_json::from_value(json!({"name": "b", "peer": {"nodeId": node_id},
        "addresses": [{"address": "b:7304"}], "roots": ["pem"]}))
    .unwrap();
    ApiRoute { config, client_pair: None, record: serde_json::Map::new() }
}

fn code(result: Result<Applied, KeeperError>) -> Code {
    result.unwrap_err().code()
}

#[tokio::test]
async fn what_the_resources_say_already_is_confirmed_and_nobody_is_asked() {
    let directory = managed();
    let (keeper, operator) = node(directory.path(), None);
    let known = keeper.live().load().route_to(&NodeId::new("LX2")).unwrap().config.clone();
    let same = ApiRoute { config: known, client_pair: None, record: serde_json::Map::new() };
    assert_eq!(keeper.put_route(same).await.unwrap(), Applied::Unchanged);
    assert_eq!(keeper.remove_route(NodeId::new("LX9")).await.unwrap(), Applied::Unchanged);
    assert_eq!(operator.calls.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn whatever_a_document_changes_is_asked_for_and_never_taken_for_what_is_there() {
    let directory = managed();
    let (keeper, operator) = node(directory.path(), Some(Ok(())));
    let known = keeper.live().load().route_to(&NodeId::new("LX2")).unwrap().config.clone();
    let changes: [fn(&mut RouteConfig); 4] = [
        |route| route.expires_at = Some("2030-01-31T00:00:00Z".into()),
        |route| route.proxy = "http://proxy:3128".into(),
        |route| route.max_queued_bytes = Some("1Mi".parse().unwrap()),
        |route| route.disabled = true,
    ];
    for (n, change) in changes.iter().enumerate() {
        let mut config = known.clone();
        change(&mut config);
        let asked = ApiRoute { config, client_pair: None, record: serde_json::Map::new() };
        assert_eq!(code(keeper.put_route(asked).await), Code::TIMEOUT, "nothing puts it in force here");
        assert_eq!(operator.calls.load(Ordering::Relaxed), n + 1);
    }
    let alone = tempfile::tempdir().unwrap();
    write_directory(alone.path(), "LX1", &["LX2"]);
    let (keeper, _) = node(alone.path(), None);
    for change in changes {
        let mut config = known.clone();
        change(&mut config);
        let asked = ApiRoute { config, client_pair: None, record: serde_json::Map::new() };
        assert!(matches!(keeper.put_route(asked).await, Err(KeeperError::Managed { .. })), "without an intake");
    }
}

#[tokio::test(start_paused = true)]
async fn an_operator_that_keeps_silent_is_a_timeout_and_no_success() {
    let directory = managed();
    let (keeper, _) = node(directory.path(), None);
    let begun = Instant::now();
    assert_eq!(code(keeper.put_route(route("LX3")).await), Code::TIMEOUT);
    assert_eq!(begun.elapsed(), LIMIT);
}

#[tokio::test(start_paused = true)]
async fn what_is_written_and_not_in_force_is_no_success_either() {
    let directory = managed();
    let (keeper, operator) = node(directory.path(), Some(Ok(())));
    assert_eq!(code(keeper.put_route(route("LX3")).await), Code::TIMEOUT);
    assert_eq!(code(keeper.remove_route(NodeId::new("LX2")).await), Code::TIMEOUT);
    let asked = operator.asked.lock();
    let RouteChange::Put { route } = &asked[0] else { panic!("{asked:?}") };
    assert!(route.exports.is_empty(), "an application grants nothing");
    assert_eq!((route.peer.node_id.as_str(), route.trust.root_pems.len()), ("LX3", 1));
    assert_eq!(asked[1], RouteChange::Remove { node_id: "LX2".into() });
}

#[tokio::test]
async fn it_is_done_when_the_node_runs_on_it() {
    let directory = managed();
    let (keeper, operator) = node(directory.path(), Some(Ok(())));
    let asking = tokio::spawn({
        let keeper = Arc::clone(&keeper);
        async move { keeper.remove_route(NodeId::new("LX2")).await }
    });
    // Asked before the configuration changes, or there would be nothing to ask for.
    while operator.calls.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    write_directory(directory.path(), "LX1", &[]);
    keeper.look();
    assert_eq!(asking.await.unwrap().unwrap(), Applied::Changed);
}

#[tokio::test]
async fn the_operators_no_is_handed_on_with_its_code() {
    let directory = managed();
    let refused = TrustError::Refused { code: Code::NOT_PERMITTED, message: "may not".into() };
    let (keeper, _) = node(directory.path(), Some(Err(refused)));
    let error = keeper.put_route(route("LX3")).await.unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), (Code::NOT_PERMITTED, "may not"));
}

#[tokio::test]
async fn what_a_resource_has_no_place_for_is_refused_before_anybody_is_asked() {
    let directory = managed();
    let (keeper, operator) = node(directory.path(), Some(Ok(())));
    let mut with_address = route("LX3");
    with_address.config.static_ips = vec!["10.0.0.1".parse().unwrap()];
    let pair = mesh_pki::Pair { chain_pem: "chain".into(), key: mesh_pki::PrivateKeyPem::new("planted-key".into()) };
    let with_pair = ApiRoute { client_pair: Some(pair), ..route("LX3") };
    let (mut granting, mut loosening) = (route("LX3"), route("LX3"));
    granting.config.exports = vec!["/serving".into()];
    loosening.config.client_certificate = crds::ClientCertificate::Optional;
    for bad in [with_address, with_pair, granting, loosening] {
        let error = keeper.put_route(bad).await.unwrap_err();
        assert!(error.code() == Code::NOT_PERMITTED && !error.to_string().contains("planted"), "{error}");
    }
    assert_eq!(operator.calls.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_node_without_an_intake_only_confirms() {
    let directory = tempfile::tempdir().unwrap();
    write_directory(directory.path(), "LX1", &["LX2"]);
    let (keeper, operator) = node(directory.path(), Some(Ok(())));
    assert!(matches!(keeper.put_route(route("LX3")).await, Err(KeeperError::Managed { .. })));
    assert!(keeper.takes_routes().is_err());
    assert_eq!(operator.calls.load(Ordering::Relaxed), 0);
}

//! A sidecar's verified copy of its gateway's directory: with real processes, a gateway that dies, one that comes back with another
//! history, and somebody on the way who changes what it says.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use super::Stage;
use crate::harness::{A, Answer, Bank, Node, free_port, lacking, until};

mod liar;

use self::liar::{Liar, Lies};

/// What follows waits for a second or two on an idle machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Milliseconds that no test takes.
const ANY_AGE: u64 = 3_600_000;

/// A gateway whose sidecars have a copy of its directory, the configuration of both, and where the gateway is.
struct Beside {
    gateway: Stage,
    sidecar: Node,
    config: tempfile::TempDir,
    at: SocketAddr,
}

impl Beside {
    /// Sidecars reach the gateway at `through`, if that is not itself.
    async fn new(bank: &Bank, through: Option<&Liar>) -> Self {
        let (config, at) = (tempfile::tempdir().unwrap(), SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));
        let rooms = json!({"directory": {"readers": "Public", "replica": {}}});
        bank.publish_for_gateway(config.path(), &[], &rooms, through.map_or(at, |liar| liar.at));
        let gateway = Stage::of(started(config.path(), at.port(), &[]).await);
        if let Some(liar) = through {
            liar.of(at);
        }
        let sidecar = started(config.path(), free_port(), &[("MESH_ROLE", "sidecar")]).await;
        Self { gateway, sidecar, config, at }
    }

    async fn connect(&self, id: &str, endpoint: &str) {
        self.gateway.asks("/central-systems/connect", json!({"id": id, "endpoint": endpoint})).await;
    }

    /// A retrieval by an application of the sidecar's pod, which has no token.
    async fn looks_up(&self, id: &str, header: &Value) -> Answer {
        let mut message = json!({"header": {"version": "datanet 1.0"}, "body": {"csid": id}});
        message["header"].as_object_mut().unwrap().extend(header.as_object().cloned().unwrap());
        // A sidecar waits for a gateway that is away, for two minutes if nobody says less.
        let header = [("x-ptp-timeout", "3000")];
        self.sidecar.post("/datanet/v1/central-systems/retrieve", &header, &message).await
    }

    /// What the directory itself answers, once it answers in time: on a busy machine the copy does before.
    async fn is_told(&self, header: &Value, endpoint: &str) {
        let expected = (json!(200), json!(endpoint), false);
        until("the directory's own answer", PATIENCE, async || {
            let answer = self.looks_up("yunqi", header).await;
            answer.status == 200 && said(&answer) == expected
        })
        .await;
    }

    /// What the sidecar says of its copy.
    async fn copy(&self) -> Value {
        self.sidecar.private("/status").await.json()["directoryReplica"].clone()
    }

    async fn has_copied(&self, entries: u64) {
        until("the copy to be whole", PATIENCE, async || {
            let copy = self.copy().await;
            copy["entries"] == entries && copy["ageMs"].is_u64()
        })
        .await;
    }

    async fn metric(&self, name: &str) -> f64 {
        self.sidecar.metric(&format!("mesh_directory_replica_{name}")).await
    }

    /// The copy has ended by itself, for this reason, and says so everywhere.
    async fn has_ended(&self, why: &str) {
        until("the copy to end", PATIENCE, async || self.copy().await["ended"].is_string()).await;
        let (copy, log) = (self.copy().await, self.sidecar.log());
        assert!(copy["ended"].as_str().unwrap().contains(why), "{copy}");
        assert!(copy["ageMs"].is_null() && copy["bytes"] == 0, "{copy}");
        assert_eq!(self.metric("ended").await, 1.0);
        let page = self.sidecar.admin("/metrics").await.text();
        assert!(lacking(&["mesh_directory_replica_"], &page).is_empty(), "alerts ask for more: {page}");
        assert!(log.contains("the copy of the directory has ended") && log.contains(why), "{log}");
    }
}

async fn started(config: &Path, data: u16, more: &[(&str, &str)]) -> Node {
    let mut variables = vec![("MESH_CONFIG_DIR", config.to_str().unwrap())];
    variables.extend(more);
    Node::on(data, &variables).await
}

/// What an answer says of a central system: its code, its endpoint, and whether it is a copy's.
fn said(answer: &Answer) -> (Value, Value, bool) {
    let body = answer.json();
    assert_eq!(answer.headers.contains_key("age"), body["staleness"].is_u64(), "{body}");
    (body["code"].clone(), body["centralsystem"]["endpoint"].clone(), body["staleness"].is_u64())
}

#[tokio::test(flavor = "multi_thread")]
async fn lookups_go_on_while_the_directory_is_dead_and_end_when_it_comes_back_with_another_history() {
    let bank = Bank::new(A);
    let mut pair = Beside::new(&bank, None).await;
    pair.connect("yunqi", "a:1").await;
    pair.connect("yunqi", "a:2").await;
    pair.has_copied(2).await;

    // The log as it is now: somebody keeps it.
    pair.gateway.node.signal("TERM");
    pair.gateway.node.ended(PATIENCE).await;
    let kept = tempfile::tempdir().unwrap();
    copied(&pair.gateway.node.home(), kept.path());
    pair.gateway.node.start_again().await;
    pair.connect("yunqi", "a:3").await;
    pair.has_copied(3).await;

    // Where the directory is there it answers, unless the caller takes an older answer.
    let own = |endpoint: &str| (json!(200), json!(endpoint), true);
    pair.is_told(&json!({}), "a:3").await;
    pair.is_told(&json!({"maxStaleness": 0}), "a:3").await;
    assert_eq!(said(&pair.looks_up("yunqi", &json!({"maxStaleness": ANY_AGE})).await), own("a:3"));
    until("the directory to be asked for a revision that the copy has not", PATIENCE, async || {
        let newer = pair.looks_up("yunqi", &json!({"maxStaleness": ANY_AGE, "revision": 4})).await;
        (newer.status.as_u16(), &newer.json()["code"], newer.headers.contains_key("age")) == (503, &json!(7314), false)
    })
    .await;

    pair.gateway.node.signal("KILL");
    pair.gateway.node.ended(PATIENCE).await;
    for _ in 0..20 {
        assert_eq!(said(&pair.looks_up("yunqi", &json!({})).await), own("a:3"));
    }
    assert_eq!(said(&pair.looks_up("yunqi", &json!({"maxStaleness": ANY_AGE})).await), own("a:3"));
    let missing = pair.looks_up("nobody", &json!({})).await;
    assert_eq!((missing.status.as_u16(), said(&missing)), (404, (json!(7310), Value::Null, true)));
    let proven = pair.looks_up("yunqi", &json!({"proof": true})).await.json();
    assert_eq!((&proven["proof"]["revision"], &proven["proof"]["record"]["endpoint"]), (&json!(3), &json!("a:3")));
    let by_get = Request::get("/datanet/v1/central-systems/retrieve?csid=yunqi").body(Full::default()).unwrap();
    let by_get = pair.sidecar.send(by_get).await;
    assert_eq!((said(&by_get), &by_get.headers["etag"]), (own("a:3"), &"\"3\"".parse().unwrap()));
    let listed = json!({"header": {"version": "datanet 1.0", "operation": "listCentralSystems"}, "body": {}});
    let listed = pair.sidecar.post("/datanet/v1", &[], &listed).await.json();
    assert_eq!(
        (listed["centralsystems"].as_array().map(Vec::len), listed["staleness"].is_u64()),
        (Some(1), true),
        "{listed}"
    );
    let now = pair.looks_up("yunqi", &json!({"maxStaleness": 0})).await;
    assert!(now.status.is_server_error() && now.json()["staleness"].is_null(), "an old answer: {}", now.text());
    let write = json!({"header": {"version": "datanet 1.0"}, "body": {"id": "yunqi", "endpoint": "a:9"}});
    let write = pair.sidecar.post("/datanet/v1/central-systems/connect", &[("x-ptp-timeout", "3000")], &write).await;
    assert!(write.status.is_server_error() && write.json()["staleness"].is_null(), "written: {}", write.text());
    assert!(pair.metric("answers_total{reason=\"away\"}").await >= 20.0);

    // The same log, without the last entry, and with others in its place.
    let fork = ("MESH_HOME", kept.path().to_str().unwrap());
    let token = pair.gateway.token.clone();
    pair.gateway = Stage { node: started(pair.config.path(), pair.at.port(), &[fork]).await, token };
    until("the copy to see that entries are gone", PATIENCE, async || {
        pair.copy().await["problem"].as_str().is_some_and(|problem| problem.contains("it shows 2 entries, and had 3"))
    })
    .await;
    // A sidecar that starts anew knows what the one before it saw.
    pair.sidecar.signal("KILL");
    pair.sidecar.ended(PATIENCE).await;
    pair.sidecar.start_again().await;
    until("the next copy to see that entries are gone", PATIENCE, async || {
        pair.copy().await["problem"].as_str().is_some_and(|problem| problem.contains("it shows 2 entries, and had 3"))
    })
    .await;
    assert!(pair.copy().await["ageMs"].is_null(), "it is not whole");
    pair.connect("yunqi", "evil:9").await;
    pair.connect("yunqi", "evil:1").await;
    pair.has_ended("does not continue the one over 3").await;
    // What the directory says itself is passed on as without a copy.
    pair.is_told(&json!({"maxStaleness": ANY_AGE}), "evil:1").await;
    pair.gateway.node.signal("KILL");
    pair.gateway.node.ended(PATIENCE).await;
    let answer = pair.looks_up("yunqi", &json!({})).await;
    assert!(answer.status.is_server_error() && answer.json()["staleness"].is_null(), "{}", answer.text());
}

/// A folder with all that is in it.
fn copied(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir(&to).unwrap();
            fs::set_permissions(&to, entry.metadata().unwrap().permissions()).unwrap();
            copied(&entry.path(), &to);
        } else if entry.path().is_file() {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_on_its_way_is_never_answered_and_garbage_ends_nothing() {
    let bank = Arc::new(Bank::new(A));
    let liar = Liar::new(&bank).await;
    liar.says(Lies::Garbage);
    let mut pair = Beside::new(&bank, Some(&liar)).await;
    pair.connect("yunqi", "a:1").await;
    until("the sidecar to say what is amiss", PATIENCE, async || pair.copy().await["problem"].is_string()).await;
    assert!(pair.copy().await["ageMs"].is_null(), "nothing is there yet that could be answered");

    liar.says(Lies::None);
    pair.has_copied(1).await;
    for lie in [Lies::Garbage, Lies::Endless] {
        liar.says(lie);
        until("the copy to fall behind", PATIENCE, async || pair.copy().await["problem"].is_string()).await;
        let answer = pair.looks_up("yunqi", &json!({"maxStaleness": ANY_AGE})).await;
        assert_eq!(said(&answer), (json!(200), json!("a:1"), true), "{lie:?}");
        assert!(pair.copy().await["ended"].is_null(), "{lie:?}");
        liar.says(Lies::None);
        until("the copy to go on", PATIENCE, async || pair.copy().await["problem"].is_null()).await;
    }
    liar.says(Lies::Silence);
    let answer = pair.looks_up("yunqi", &json!({})).await;
    assert_eq!(said(&answer), (json!(200), json!("a:1"), true), "a directory that is silent is away");
    liar.says(Lies::None);

    // An entry whose body is another, by one byte.
    liar.says(Lies::Body);
    pair.connect("yunqi", "a:2").await;
    pair.has_ended("entry 1 may not be in the log: the body is not the one that was signed").await;
    liar.says(Lies::None);
    pair.is_told(&json!({"maxStaleness": ANY_AGE}), "a:2").await;

    // A person begins another one: all is read anew.
    for rooms in [json!({"readers": "Public"}), json!({"readers": "Public", "replica": {"memory": "1Mi"}})] {
        let is_off = rooms.get("replica").is_none();
        bank.publish_for_gateway(pair.config.path(), &[], &json!({"directory": rooms}), liar.at);
        until("the configuration to be in force", PATIENCE, async || {
            let copy = pair.copy().await;
            if is_off { copy.is_null() } else { copy["ageMs"].is_u64() && copy["ended"].is_null() }
        })
        .await;
    }
    pair.has_copied(2).await;
    pair.gateway.node.signal("KILL");
    pair.gateway.node.ended(PATIENCE).await;
    assert_eq!(said(&pair.looks_up("yunqi", &json!({})).await), (json!(200), json!("a:2"), true));
}

/// A bound looked like a fork: every copy ended at a body that was longer than it takes, whoever sent it.
#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_room_a_copy_stays_as_it_is_and_goes_on_with_more() {
    let bank = Arc::new(Bank::new(A));
    let liar = Liar::new(&bank).await;
    let pair = Beside::new(&bank, Some(&liar)).await;
    let gives = |memory: &str| {
        let rooms = json!({"directory": {"readers": "Public", "replica": {"memory": memory}}});
        bank.publish_for_gateway(pair.config.path(), &[], &rooms, liar.at);
    };
    let class = json!({"className": "c", "protocol": {"name": "P", "version": "1"}});
    pair.connect("yunqi", "a:1").await;
    pair.gateway.asks("/adapter-classes/sync", json!({"csid": "yunqi", "adapterClasses": [class]})).await;
    gives("1Mi");
    until("the smaller copy", PATIENCE, async || pair.copy().await["mostBytes"] == 1 << 20).await;
    pair.has_copied(2).await;

    // What somebody sends in a body's place is no body that is too long.
    liar.says(Lies::Flood);
    pair.connect("yunqi", "a:2").await;
    until("the copy to fall behind", PATIENCE, async || {
        pair.copy().await["problem"].as_str().is_some_and(|problem| problem.contains("is not what was signed"))
    })
    .await;
    let copy = pair.copy().await;
    assert!(copy["full"].is_null() && copy["ended"].is_null(), "{copy}");
    liar.says(Lies::None);
    pair.has_copied(3).await;

    // Of a copy of 1 MiB a body may have 128 KiB.
    let data = |n: u16| json!({"dataAddress": format!("yunqi.{n}"), "name": "n", "endpoint": "a:1", "adapterClass": "c", "desc": "d".repeat(600)});
    let data: Vec<Value> = (0..200).map(data).collect();
    pair.gateway.asks("/data-systems/sync", json!({"csid": "yunqi", "dataSystems": data})).await;
    until("the copy to have no room", PATIENCE, async || pair.copy().await["full"].is_string()).await;
    let copy = pair.copy().await;
    let why = "there is no room for entry 3, whose body has more than 131072 bytes";
    assert!(copy["full"].as_str().unwrap().starts_with(why) && copy["ended"].is_null(), "{copy}");
    assert_eq!((&copy["entries"], &copy["of"]), (&json!(3), &json!(4)), "{copy}");
    assert_eq!((pair.metric("full").await, pair.metric("ended").await), (1.0, 0.0));
    let answer = pair.looks_up("yunqi", &json!({"maxStaleness": ANY_AGE})).await;
    assert_eq!(said(&answer), (json!(200), json!("a:2"), true), "what is verified is answered");
    pair.is_told(&json!({}), "a:2").await;

    gives("64Mi");
    pair.has_copied(4).await;
    assert!(pair.copy().await["full"].is_null() && pair.metric("full").await == 0.0);
}

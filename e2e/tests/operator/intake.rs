//! The intake: pods are known by their tokens, what they report is in the status, and what applications ask for becomes MeshRoutes
//! where their service accounts may do the same.

use e2e::callers::{AUDIENCE, put, send};
use e2e::cluster::control_plane::free_port;
use futures::future::try_join_all;

use super::*;

/// An operator with an intake.
pub(super) struct Desk {
    pub(super) operator: Operator,
    port: u16,
    secret: String,
}

impl Desk {
    pub(super) async fn open(room: &Room) -> Result<Self> {
        Self::open_at(room, "one", free_port()?).await
    }

    pub(super) async fn open_at(room: &Room, identity: &str, port: u16) -> Result<Self> {
        let program: PathBuf = Path::new(env!("CARGO_BIN_EXE_cluster")).with_file_name("mesh-operator");
        let (address, secret) = (format!("127.0.0.1:{port}"), format!("{}-certificate", room.name));
        let more = ["--injection", "off", "--intake-listen", &address, "--intake-address", &address];
        let more: Vec<&str> = more.into_iter().chain(["--webhook-secret", &secret]).collect();
        let identity = format!("{}-{identity}", room.name);
        let operator = Operator::start_with(room.server, &program, &identity, room.name, room.name, &more).await?;
        operator.ready().await?;
        Ok(Self { operator, port, secret })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Posts to the intake as `token`, under the authority that the operator published. Answers status and body.
    pub(super) async fn post(
        &self,
        room: &Room,
        token: Option<&str>,
        path: &str,
        body: &Value,
    ) -> Result<(u16, Value)> {
        send(&self.client(room).await?, token, path, body).await
    }

    async fn client(&self, room: &Room) -> Result<Client> {
        callers::intake(&room.client, &self.secret, self.port).await
    }

    async fn change(&self, room: &Room, token: &str, change: &Value) -> Result<(String, String)> {
        let (status, said) = self.post(room, Some(token), "/intake/v1/routes", change).await?;
        ensure!(status == 200, "HTTP {status}: {said}");
        let word = |member: &str| said[member].as_str().unwrap_or_default().to_owned();
        Ok((word("code"), word("message")))
    }
}

fn report(hash: &str, routes: &Value) -> Value {
    json!({"configHash": hash, "leafNotAfter": "2031-01-01T00:00:00Z", "routes": routes})
}

async fn status(room: &Room) -> Result<Value> {
    Ok(ours(&room.client, "MeshNode", room.name).get("a").await?.data["status"].clone())
}

#[tokio::test]
async fn a_caller_is_known_by_a_token_that_is_bound_to_its_pod_and_by_nothing_else() -> Result<()> {
    let room = Room::open("callers").await?;
    let desk = Desk::open(&room).await?;
    room.node("a", json!({})).await?;
    callers::pod(&room.client, room.name, "p").await?;
    let good = callers::token(&room.client, room.name, AUDIENCE, Some("p")).await?;
    let (head, signature) = good.rsplit_once('.').context("no token")?;
    let foreign = format!("{head}.{}", signature.chars().rev().collect::<String>());
    let others = callers::token(&room.client, room.name, "https://kubernetes.default.svc", Some("p")).await?;
    let unbound = callers::token(&room.client, room.name, AUDIENCE, None).await?;
    // One of its name came after it.
    callers::pod(&room.client, room.name, "q").await?;
    let before = callers::token(&room.client, room.name, AUDIENCE, Some("q")).await?;
    room.api("Pod").delete("q", &Default::default()).await?;
    callers::pod(&room.client, room.name, "q").await?;
    let body = report(&"0".repeat(64), &json!({}));
    for (what, token) in [
        ("none", None),
        ("garbage", Some("garbage")),
        ("another cluster's", Some(foreign.as_str())),
        ("another audience's", Some(&others)),
        ("one of no pod", Some(&unbound)),
        ("another pod's, of the same name", Some(&before)),
    ] {
        let (status, said) = desk.post(&room, token, "/intake/v1/reports", &body).await?;
        ensure!(status == 401, "with a token, {what}: {status} {said}");
    }
    let (status, said) = desk.post(&room, Some(&good), "/intake/v1/reports", &body).await?;
    ensure!(status == 200 && said["code"] == "E0000000000", "with its own: {status} {said}");
    let (status, _) = desk.post(&room, Some(&good), "/intake/v1/anything", &body).await?;
    ensure!(status == 404, "{status}");
    let (_, said) = desk.post(&room, Some(&good), "/intake/v1/reports", &json!({"configHash": "x"})).await?;
    ensure!(said["code"] == "E0000000400", "{said}");
    let metrics = desk.operator.get("/metrics").await?.1;
    let counted = r#"mesh_operator_intake_calls_total{call="any",outcome="unknown_caller"} 6"#;
    ensure!(metrics.contains(counted), "not counted: {metrics}");
    // Each refusal has a line of the audit: what was called, from where, and why it was refused, without the token.
    let log = std::fs::read_to_string(room.server.folder().join("log/callers-one.log"))?;
    let refused = |why: &str| {
        let has = |line: &&str| {
            ["intake: refused", "audit=true", "/intake/v1/reports", "127.0.0.1", why].iter().all(|w| line.contains(w))
        };
        log.lines().filter(has).count()
    };
    for (why, times) in [("a bearer token is needed", 1), ("the token does not hold", 4), ("bound to no pod", 1)] {
        ensure!(refused(why) == times, "{} lines of {why:?}, not {times}: {log}", refused(why));
    }
    for token in [&good, &foreign, &others, &unbound, &before] {
        ensure!(!log.contains(token.as_str()), "a token is in the log");
    }
    Ok(())
}

#[tokio::test]
async fn who_calls_too_often_waits_and_keeps_nobody_else_from_calling() -> Result<()> {
    let room = Room::open("toomany").await?;
    let desk = Desk::open(&room).await?;
    room.node("a", json!({})).await?;
    callers::pod(&room.client, room.name, "busy").await?;
    callers::pod(&room.client, room.name, "calm").await?;
    let (busy, calm) = (
        callers::token(&room.client, room.name, AUDIENCE, Some("busy")).await?,
        callers::token(&room.client, room.name, AUDIENCE, Some("calm")).await?,
    );
    let body = report(&"0".repeat(64), &json!({}));
    // Whoever was known before is known, whatever comes from its address.
    ensure!(desk.post(&room, Some(&calm), "/intake/v1/reports", &body).await?.0 == 200, "it is not known");
    // All at once and over connections that are open: one after the other, a slow machine might never call too often.
    let client = desk.client(&room).await?;
    let calls = (0..100).map(|_| send(&client, Some(&busy), "/intake/v1/reports", &body));
    let answers: Vec<u16> = try_join_all(calls).await?.into_iter().map(|(status, _)| status).collect();
    let count = |answers: &[u16], status: u16| answers.iter().filter(|answer| **answer == status).count();
    ensure!(count(&answers, 200) >= 20, "refused before its time: {answers:?}");
    ensure!(count(&answers, 429) > 0, "never refused: {answers:?}");
    ensure!(desk.post(&room, Some(&calm), "/intake/v1/reports", &body).await?.0 == 200, "another pod pays for it");

    let tokens: Vec<String> = (0..100).map(|n| format!("garbage-{n}")).collect();
    let calls = tokens.iter().map(|token| send(&client, Some(token), "/intake/v1/reports", &body));
    let answers: Vec<u16> = try_join_all(calls).await?.into_iter().map(|(status, _)| status).collect();
    ensure!(count(&answers, 401) >= 20 && count(&answers, 429) > 0, "{answers:?}");
    ensure!(answers.iter().all(|status| [401, 429].contains(status)), "another answer than to strangers: {answers:?}");
    ensure!(desk.post(&room, Some(&calm), "/intake/v1/reports", &body).await?.0 == 200, "a pod pays for strangers");
    let (_, new) = tokio::try_join!(
        try_join_all(tokens.iter().map(|token| send(&client, Some(token), "/intake/v1/reports", &body))),
        reports_by_new_tokens(&desk, &room, &body),
    )?;
    ensure!(new.iter().all(|status| *status == 200), "a pod that nobody knew pays for strangers: {new:?}");
    let metrics = desk.operator.get("/metrics").await?.1;
    ensure!(metrics.contains(r#"call="any",outcome="too_many""#), "not counted: {metrics}");
    Ok(())
}

/// As many as an address gets back in ten seconds, and a pod has at once.
async fn reports_by_new_tokens(desk: &Desk, room: &Room, body: &Value) -> Result<Vec<u16>> {
    callers::pod(&room.client, room.name, "late").await?;
    let tokens = try_join_all((0..10).map(|_| callers::token(&room.client, room.name, AUDIENCE, Some("late")))).await?;
    let client = desk.client(room).await?;
    let calls = tokens.iter().map(|token| send(&client, Some(token), "/intake/v1/reports", body));
    Ok(try_join_all(calls).await?.into_iter().map(|(status, _)| status).collect())
}

/// What `kubectl get` shows has these cells.
async fn shows(room: &Room, plural: &str, name: &str, wanted: Value) -> Result<()> {
    wait::until(&format!("kubectl get {plural} {name} to show {wanted}"), SOON, || async {
        let shown = room.shown(plural, name).await?;
        let is_shown = |(column, cell): (&String, &Value)| shown.get(column) == Some(cell);
        ensure!(wanted.as_object().is_some_and(|wanted| wanted.iter().all(is_shown)), "{shown:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_pods_report_is_what_the_status_says() -> Result<()> {
    let room = Room::open("reports").await?;
    let desk = Desk::open(&room).await?;
    room.node("a", json!({})).await?;
    room.route("r", json!({"rootPEMs": [partner_root()?.0]})).await?;
    room.ready("MeshRoute", "r").await?;
    room.condition("MeshRoute", "r", "Reachable", "Unknown", "NotReported").await?;
    callers::pod(&room.client, room.name, "p").await?;
    wait::until("the pod to be counted, and not as one that runs on the configuration", SOON, || async {
        let sidecars = status(&room).await?["sidecars"].clone();
        ensure!(sidecars == json!({"ready": 0, "total": 1}), "{sidecars}");
        Ok(())
    })
    .await?;
    let token = callers::token(&room.client, room.name, AUDIENCE, Some("p")).await?;
    let hash = status(&room).await?["configHash"].as_str().context("no hash")?.to_owned();
    let tell = |body: Value| {
        let (desk, room, token) = (&desk, &room, &token);
        async move {
            let (status, said) = desk.post(room, Some(token), "/intake/v1/reports", &body).await?;
            ensure!(status == 200 && said["code"] == "E0000000000", "{status} {said}");
            anyhow::Ok(())
        }
    };
    tell(report(&hash, &json!({"r": [{"fails": "connection refused"}]}))).await?;
    room.condition("MeshRoute", "r", "Reachable", "False", "NoAnswer").await?;
    room.condition("MeshNode", "a", "InForce", "True", "Everywhere").await?;
    let said = status(&room).await?;
    ensure!(said["sidecars"] == json!({"ready": 1, "total": 1}) && said["appliedConfigHash"] == hash, "{said}");
    room.ready("MeshRoute", "r").await?;
    tell(report(&hash, &json!({"r": ["answers"]}))).await?;
    room.condition("MeshRoute", "r", "Reachable", "True", "Answers").await?;
    let route = ours(&room.client, "MeshRoute", room.name).get("r").await?;
    ensure!(route.data["status"]["addresses"][0]["state"] == "Reachable", "{}", route.data["status"]);
    shows(
        &room,
        "meshnodes",
        "a",
        json!({"Node": "node-a", "Institution": "inst-a", "Ready": "True", "Reason": "Ready", "Sidecars": 1, "Current": 1,
            "InForce": "True"}),
    )
    .await?;
    shows(
        &room,
        "meshroutes",
        "r",
        json!({"Node": "a", "Partner": "peer-r", "Address": "127.0.0.1:7305", "Ready": "True", "Reachable": "True",
            "Reason": "Ready", "Disabled": false}),
    )
    .await?;
    // A pod that cannot take the newest configuration says why.
    let mut rejected = report(&"1".repeat(64), &json!({}));
    rejected["problem"] = "tls.crt: is missing".into();
    tell(rejected).await?;
    room.condition("MeshNode", "a", "InForce", "False", "Rejected").await?;
    shows(&room, "meshnodes", "a", json!({"Ready": "True", "Sidecars": 1, "Current": 0, "InForce": "False"})).await?;
    let before = operator::writes(room.server, room.name)?.len();
    let same = report(&hash, &json!({"r": ["answers"]}));
    tell(same.clone()).await?;
    room.condition("MeshNode", "a", "InForce", "True", "Everywhere").await?;
    ensure!(
        operator::writes(room.server, room.name)?.len() > before,
        "the writes are not seen: this test would prove nothing"
    );
    let registration = json!({"nodeRef": {"name": "a"}, "instanceId": "s", "name": "serving", "address": "10.0.0.5:8000",
        "services": [{"urn": "/serving"}]});
    room.put("ServiceRegistration", "s", registration).await?;
    let cells = json!({"Node": "a", "Name": "s", "RegisteredAs": "serving", "Address": "10.0.0.5:8000", "Ready": "True", "Reason": "Ready"});
    shows(&room, "serviceregistrations", "s", cells).await
}

#[tokio::test]
async fn an_application_changes_trust_only_where_its_service_account_may() -> Result<()> {
    let room = Room::open("trust").await?;
    let desk = Desk::open(&room).await?;
    room.node("a", json!({})).await?;
    room.ready("MeshNode", "a").await?;
    callers::pod(&room.client, room.name, "p").await?;
    let (token, root) = (callers::token(&room.client, room.name, AUDIENCE, Some("p")).await?, partner_root()?.0);
    let asked = put("LX2", "b.example:7304", &root);
    let routes = ours(&room.client, "MeshRoute", room.name);
    let (code, message) = desk.change(&room, &token, &asked).await?;
    ensure!(code == "E0000000614" && message.contains("system:serviceaccount:trust:app"), "{code} {message}");
    ensure!(routes.list(&ListParams::default()).await?.items.is_empty(), "it was written");
    // Who may nothing is told nothing of what there is either: neither that a route says so already, nor whose it is.
    room.route("people", json!({"rootPEMs": [root]})).await?;
    let same = put("peer-people", "127.0.0.1:7305", &root);
    let others = ["peer-people", "LX9"].map(|partner| json!({"change": "remove", "nodeId": partner}));
    for change in [same, put("peer-people", "c.example:7304", &root)].into_iter().chain(others) {
        let (code, message) = desk.change(&room, &token, &change).await?;
        ensure!(code == "E0000000614" && message.contains(" may not "), "{change}: {code} {message}");
        ensure!(!message.contains("people"), "{change}: {message}");
    }
    routes.delete("people", &Default::default()).await?;

    callers::grant(&room.client, room.name).await?;
    let (code, message) = desk.change(&room, &token, &asked).await?;
    ensure!(code == "E0000000000", "{code} {message}");
    let made = routes.list(&ListParams::default()).await?.items;
    ensure!(made.len() == 1, "{} routes", made.len());
    let (name, spec) = (made[0].metadata.name.clone().unwrap_or_default(), &made[0].data["spec"]);
    ensure!(spec["nodeRef"]["name"] == "a", "it is another node's: {spec}");
    ensure!(spec["exports"].as_array().is_none_or(Vec::is_empty), "an application opened services: {spec}");
    let managers = made[0].metadata.managed_fields.clone().unwrap_or_default();
    ensure!(managers.iter().any(|m| m.manager.as_deref() == Some("interconn-intake")), "{managers:?}");
    room.ready("MeshRoute", &name).await?;
    let (code, message) = desk.change(&room, &token, &asked).await?;
    ensure!(code == "E0000000000" && message.contains("already"), "{code} {message}");
    let (code, message) = desk.change(&room, &token, &put("LX2", "c.example:7304", &root)).await?;
    ensure!(code == "E0000000000" && message.contains("written"), "{code} {message}");
    let (code, message) = desk.change(&room, &token, &put("node-a", "c.example:7304", &root)).await?;
    ensure!(code == "E0000000400", "its own node: {code} {message}");
    let remove = json!({"change": "remove", "nodeId": "lx2"});
    let (code, message) = desk.change(&room, &token, &remove).await?;
    ensure!(code == "E0000000000", "{code} {message}");
    ensure!(routes.get_opt(&name).await?.is_none(), "it is still there");
    let (code, _) = desk.change(&room, &token, &remove).await?;
    ensure!(code == "E0000000618", "{code}");

    let log = std::fs::read_to_string(room.server.folder().join("log/trust-one.log"))?;
    for line in ["intake: change of trust refused", "intake: change of trust "] {
        ensure!(
            log.lines().any(|l| l.contains(line) && l.contains("audit=true") && l.contains("serviceaccount:trust:app")),
            "no audit of {line:?}: {log}"
        );
    }
    ensure!(!log.contains(&token), "the token is in the log");
    Ok(())
}

/// Whoever lists 500 routes of some 5 KiB for each of a hundred calls at once needs more than the chart gives.
#[tokio::test]
async fn a_crowd_of_changes_takes_neither_the_lease_nor_the_memory_of_the_operator() -> Result<()> {
    let room = Room::open("crowd").await?;
    let desk = Desk::open(&room).await?;
    room.node("a", json!({})).await?;
    callers::grant(&room.client, room.name).await?;
    let root = partner_root()?.0;
    let wide = json!({"rootPEMs": [format!("{}{root}", "# what people write around a certificate\n".repeat(100))]});
    let names: Vec<String> = (0..500).map(|n| format!("r{n}")).collect();
    for some in names.chunks(20) {
        try_join_all(some.iter().map(|name| room.route(name, wide.clone()))).await?;
    }
    let tokens = try_join_all((0..10).map(|n| {
        let room = &room;
        async move {
            let pod = format!("p{n}");
            callers::pod(&room.client, room.name, &pod).await?;
            callers::token(&room.client, room.name, AUDIENCE, Some(&pod)).await
        }
    }))
    .await?;
    let client = desk.client(&room).await?;
    let calls = (0..100).map(|n| {
        let (client, token) = (&client, &tokens[n % tokens.len()]);
        let change = json!({"change": "remove", "nodeId": format!("nobody-{n}")});
        async move { send(client, Some(token), "/intake/v1/routes", &change).await }
    });
    let answers = try_join_all(calls).await?;
    let is_told = |(status, said): &(u16, Value)| *status == 503 || said["code"] == "E0000000618";
    ensure!(answers.iter().all(is_told), "{answers:?}");
    ensure!(desk.operator.leads().await?, "it lost the lease");
    let memory = desk.operator.process()?.anonymous()?;
    ensure!(memory < 256 << 20, "it takes {} MiB, and the chart gives 256", memory >> 20);
    let log = std::fs::read_to_string(room.server.folder().join("log/crowd-one.log"))?;
    ensure!(!log.contains("leads no more"), "it lost the lease: {log}");
    Ok(())
}

#[tokio::test]
async fn what_people_made_wins_over_what_applications_ask_for_and_the_loser_says_so() -> Result<()> {
    let room = Room::open("wins").await?;
    let desk = Desk::open(&room).await?;
    room.node("a", json!({})).await?;
    callers::pod(&room.client, room.name, "p").await?;
    callers::grant(&room.client, room.name).await?;
    let (token, root) = (callers::token(&room.client, room.name, AUDIENCE, Some("p")).await?, partner_root()?.0);
    let (code, message) = desk.change(&room, &token, &put("peer-people", "b.example:7304", &root)).await?;
    ensure!(code == "E0000000000", "{code} {message}");
    let routes = ours(&room.client, "MeshRoute", room.name);
    let made = routes.list(&ListParams::default()).await?.items;
    let by_api = made[0].metadata.name.clone().context("no name")?;
    room.ready("MeshRoute", &by_api).await?;
    // Younger, and it wins all the same.
    room.route("people", json!({"rootPEMs": [root]})).await?;
    room.ready("MeshRoute", "people").await?;
    room.condition("MeshRoute", &by_api, "Accepted", "False", "Overridden").await?;
    for change in [put("peer-people", "c.example:7304", &root), json!({"change": "remove", "nodeId": "peer-people"})] {
        let (code, message) = desk.change(&room, &token, &change).await?;
        ensure!(code == "E0000000614" && message.contains("MeshRoute people"), "{code} {message}");
    }
    routes.delete("people", &Default::default()).await?;
    room.ready("MeshRoute", &by_api).await?;
    // A field that a person took over is not taken back.
    let edit = json!({"apiVersion": "interconn.dev/v1alpha1", "kind": "MeshRoute", "metadata": {"name": by_api},
        "spec": {"addresses": [{"address": "mine.example:7304"}]}});
    routes.patch(&by_api, &force(), &Patch::Apply(&edit)).await?;
    let (code, message) = desk.change(&room, &token, &put("peer-people", "d.example:7304", &root)).await?;
    ensure!(code == "E0000000614" && message.contains("somebody else"), "{code} {message}");
    Ok(())
}

//! A real `mesh` with a real token beside a real operator: it reports, and brings changes of trust, or says in time that it cannot.
//!
//! The test is the kubelet: it lays the configuration out as a projected volume and swaps it when the objects change.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::{Engine, prelude::BASE64_STANDARD};
use e2e::cluster::control_plane::free_port;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Http;
use hyper_util::rt::TokioExecutor;

use super::intake::Desk;
use super::*;

/// An application gives up after ten seconds; a machine that is busy gets half a minute to be seen within.
const PATIENCE: Duration = Duration::from_secs(30);

/// `mesh`, with a volume.
struct Sidecar {
    process: Child,
    port: u16,
    admin: u16,
    volume: PathBuf,
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Sidecar {
    async fn start(room: &Room, token: &str) -> Result<Self> {
        let folder = room.server.folder().join(format!("mesh-{}", room.name));
        let (volume, home) = (folder.join("volume"), folder.join("home"));
        fs::create_dir_all(&volume)?;
        fs::create_dir_all(&home)?;
        fs::write(folder.join("token"), token)?;
        lay_out(room, &volume).await?;
        let (port, admin) = (free_port()?, free_port()?);
        let log = fs::File::create(room.server.folder().join(format!("log/mesh-{}.log", room.name)))?;
        let program = Path::new(env!("CARGO_BIN_EXE_cluster")).with_file_name("mesh");
        ensure!(program.exists(), "{} is not built: run the tests by `make test`", program.display());
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(["start", "--server"])
            .env("MESH_CONFIG_DIR", &volume)
            .env("MESH_HOME", &home)
            .env("PLUGIN_PROXY_TRANSPORT_Y", format!("127.0.0.1:{port}"))
            .env("MESH_ADMIN_LISTEN", format!("127.0.0.1:{admin}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Self { process, port, admin, volume })
    }

    /// What its admin port answers to whoever has its token.
    async fn shows(&self, path: &str) -> Result<String> {
        let http = Http::builder(TokioExecutor::new()).build_http::<Full<bytes::Bytes>>();
        let token = fs::read_to_string(self.volume.join("../home/admin.token"))?;
        let request = http::Request::get(format!("http://127.0.0.1:{}{path}", self.admin))
            .header("authorization", format!("Bearer {}", token.trim()))
            .body(Full::default())?;
        let answer = http.request(request).await?;
        ensure!(answer.status() == 200, "{path}: {}", answer.status());
        Ok(String::from_utf8(answer.into_body().collect().await?.to_bytes().to_vec())?)
    }

    /// Calls `net/refresh` as an application does. Answers the code, the text, and how long it took.
    async fn refresh(&self, document: &Value) -> Result<(String, String, Duration)> {
        let http = Http::builder(TokioExecutor::new()).build_http::<Full<bytes::Bytes>>();
        let url = format!("http://127.0.0.1:{}/v1/interconn/net/refresh", self.port);
        let request = http::Request::post(url)
            .header("content-type", "application/json")
            .body(Full::from(serde_json::to_vec(document)?))?;
        let begun = Instant::now();
        let answer = http.request(request).await?;
        let took = begun.elapsed();
        let said: Value = serde_json::from_slice(&answer.into_body().collect().await?.to_bytes())?;
        let word = |member: &str| said[member].as_str().unwrap_or_default().to_owned();
        Ok((word("code"), word("message"), took))
    }
}

/// Lays the node's configuration out in `volume` and swaps it in one step, as a kubelet does.
async fn lay_out(room: &Room, volume: &Path) -> Result<()> {
    let version = format!("..{}", std::time::SystemTime::UNIX_EPOCH.elapsed()?.as_nanos());
    let data = volume.join(&version);
    fs::create_dir_all(&data)?;
    for map in room.api("ConfigMap").list(&ListParams::default().labels("interconn.dev/node=a")).await? {
        if map.metadata.name.as_deref().is_some_and(|name| name.starts_with("mesh-a")) {
            for (file, text) in map.data["data"].as_object().into_iter().flatten() {
                fs::write(data.join(file), text.as_str().unwrap_or_default())?;
            }
        }
    }
    let leaf = room.api("Secret").get("mesh-a-leaf").await?;
    for (file, text) in leaf.data["data"].as_object().into_iter().flatten() {
        fs::write(data.join(file), BASE64_STANDARD.decode(text.as_str().unwrap_or_default())?)?;
    }
    fs::copy(volume.join("../token"), data.join("token"))?;
    let next = volume.join("..next");
    let _ = fs::remove_file(&next);
    symlink(&version, &next)?;
    fs::rename(&next, volume.join("..data"))?;
    for entry in fs::read_dir(&data)? {
        let name = entry?.file_name();
        let _ = symlink(Path::new("..data").join(&name), volume.join(&name));
    }
    Ok(())
}

/// Swaps whatever is new, for as long as it is polled.
async fn follow(room: &Room, volume: &Path) -> Result<()> {
    let mut last = String::new();
    loop {
        let now = room.api("ConfigMap").get("mesh-a").await?.data["data"]["manifest.json"].to_string();
        if now != last {
            lay_out(room, volume).await?;
            last = now;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn document(peer: &str, root: &str) -> Value {
    json!({"node_id": peer, "inst_id": "JG2", "name": "B", "address": "127.0.0.1:1", "guest_root": root})
}

/// Waits until the process reports to run on the newest configuration, and that is not `before`.
async fn runs_on_another(room: &Room, before: &Value) -> Result<()> {
    wait::until("the waiting report to arrive", Duration::from_secs(120), || async {
        let status = ours(&room.client, "MeshNode", room.name).get("a").await?.data["status"].clone();
        let applied = &status["appliedConfigHash"];
        ensure!(applied == &status["configHash"] && applied != before, "{status}");
        Ok(())
    })
    .await
}

/// Partners are asked after twelve seconds of silence, and what was found is told within ten.
async fn is_unreachable(room: &Room, route: &str) -> Result<()> {
    wait::until("the route to be unreachable", Duration::from_secs(120), || async {
        let status = ours(&room.client, "MeshRoute", room.name).get(route).await?.data["status"].to_string();
        ensure!(status.contains("NoAnswer"), "{status}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_real_sidecar_reports_and_changes_trust_through_the_operator_or_says_in_time_that_it_cannot() -> Result<()> {
    let room = Room::open("sidecar").await?;
    let mut desk = Desk::open(&room).await?;
    room.node("a", json!({})).await?;
    room.ready("MeshNode", "a").await?;
    callers::pod(&room.client, room.name, "p").await?;
    let token = callers::token(&room.client, room.name, "interconn.dev/intake", Some("p")).await?;
    let mesh = Sidecar::start(&room, &token).await?;
    room.condition("MeshNode", "a", "InForce", "True", "Everywhere").await?;
    let nodes = ours(&room.client, "MeshNode", room.name);
    let status = nodes.get("a").await?.data["status"].clone();
    ensure!(status["sidecars"] == json!({"ready": 1, "total": 1}), "{status}");
    ensure!(status["appliedConfigHash"] == status["configHash"], "{status}");

    let root = partner_root()?.0;
    let (code, message, _) = mesh.refresh(&document("LX2", &root)).await?;
    ensure!(code == "E0000000614" && message.contains("may not"), "nobody granted it: {code} {message}");
    callers::grant(&room.client, room.name).await?;
    let asked = document("LX2", &root);
    let (code, message, _) = tokio::select! {
        done = mesh.refresh(&asked) => done?,
        followed = follow(&room, &mesh.volume) => return followed,
    };
    ensure!(code == "E0000000000", "{code} {message}");
    let routes = ours(&room.client, "MeshRoute", room.name);
    let made = routes.list(&ListParams::default()).await?.items;
    let name = made.first().and_then(|route| route.metadata.name.clone()).context("no MeshRoute was made")?;
    // Nobody listens there, and the status says what the process found.
    tokio::select! {
        told = is_unreachable(&room, &name) => told?,
        followed = follow(&room, &mesh.volume) => return followed,
    }

    desk.operator.kill()?;
    let (code, message, took) = mesh.refresh(&document("LX3", &root)).await?;
    ensure!(code == "E0000000601" && took < PATIENCE, "{code} {message} after {took:?}");
    ensure!(routes.list(&ListParams::default()).await?.items.len() == 1, "something was written");
    let before = nodes.get("a").await?.data["status"]["configHash"].clone();
    // The newest report waits. The operator is back with another part in the configuration, so there is one to make.
    room.route("by-hand", json!({"rootPEMs": [root]})).await?;
    let _desk = Desk::open_at(&room, "two", desk.port()).await?;
    room.ready("MeshRoute", "by-hand").await?;
    tokio::select! {
        told = runs_on_another(&room, &before) => told?,
        followed = follow(&room, &mesh.volume) => return followed,
    }
    reports_through_a_new_authority(&room, &mesh).await?;
    keeps_its_secrets(&room, &mesh, &token).await
}

/// Somebody takes the intake's authority away. The new one signs when the process knows it, which takes its kubelet a while; then a
/// report arrives as before.
async fn reports_through_a_new_authority(room: &Room, mesh: &Sidecar) -> Result<()> {
    let secrets = endpoint(&room.client, "v1", "Secret", operator::NAMESPACE);
    let kept = || async { Ok::<_, anyhow::Error>(secrets.get("sidecar-certificate").await?.data["data"].clone()) };
    let before = kept().await?;
    secrets.delete("sidecar-certificate", &Default::default()).await?;
    wait::until("another authority", SOON, || async {
        let now = kept().await?;
        ensure!(now["ca.crt"].is_string() && now["ca.crt"] != before["ca.crt"], "there is none");
        Ok(())
    })
    .await?;
    // Longer than API servers are given. The kubelet has brought nothing yet, so the old one still signs.
    tokio::time::sleep(Duration::from_secs(25)).await;
    ensure!(kept().await?["tls.crt"] == before["tls.crt"], "the new one signs, and the process does not know it");
    let signs = wait::until("the new one to sign", SOON, || async {
        ensure!(kept().await?["tls.crt"] != before["tls.crt"], "the old one signs");
        Ok(())
    });
    tokio::select! {
        signs = signs => signs?,
        followed = follow(room, &mesh.volume) => return followed,
    }
    let status = ours(&room.client, "MeshNode", room.name).get("a").await?.data["status"].clone();
    room.route("one-more", json!({"rootPEMs": [partner_root()?.0]})).await?;
    room.ready("MeshRoute", "one-more").await?;
    tokio::select! {
        told = runs_on_another(room, &status["configHash"]) => told,
        followed = follow(room, &mesh.volume) => followed,
    }
}

/// The node's key, the pod's token and the root's key are nowhere but in their Secrets and files.
async fn keeps_its_secrets(room: &Room, mesh: &Sidecar, token: &str) -> Result<()> {
    let roots = endpoint(&room.client, "v1", "Secret", operator::NAMESPACE);
    let decoded = |secret: &DynamicObject| -> Result<String> {
        let text = secret.data["data"]["tls.key"].as_str().context("no key")?;
        let pem = String::from_utf8(BASE64_STANDARD.decode(text)?)?;
        pem.lines().nth(1).map(str::to_owned).context("no PEM")
    };
    let planted = [
        token.to_owned(),
        decoded(&room.api("Secret").get("mesh-a-leaf").await?)?,
        decoded(&roots.get("mesh-root.sidecar.a").await?)?,
    ];
    let log = |name: &str| fs::read_to_string(room.server.folder().join("log").join(name));
    let mut seen = vec![
        ("the sidecar's log", log("mesh-sidecar.log")?),
        ("the first operator's log", log("sidecar-one.log")?),
        ("the second operator's log", log("sidecar-two.log")?),
        ("the sidecar's metrics", mesh.shows("/metrics").await?),
        ("the sidecar's /config", mesh.shows("/config").await?),
    ];
    let kinds = [
        ("Pod", "v1"),
        ("ConfigMap", "v1"),
        ("Event", "events.k8s.io/v1"),
        ("MeshNode", "interconn.dev/v1alpha1"),
        ("MeshRoute", "interconn.dev/v1alpha1"),
    ];
    for (kind, version) in kinds {
        let all = endpoint(&room.client, version, kind, room.name).list(&ListParams::default()).await?;
        ensure!(!all.items.is_empty(), "there is no {kind}: nothing was looked at");
        seen.push((kind, serde_json::to_string(&all.items)?));
    }
    for (place, text) in seen {
        ensure!(!text.is_empty(), "{place} is empty: nothing was looked at");
        ensure!(!planted.iter().any(|secret| text.contains(secret.as_str())), "a secret is to be seen in: {place}");
    }
    Ok(())
}

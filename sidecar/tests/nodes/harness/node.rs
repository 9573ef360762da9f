//! One `mesh` process: started, waited for, talked to, and ended when dropped.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use super::{
    free_port,
    http::{Answer, from, post},
};

/// A debug build on a busy machine; three servers of NATS choose the one that leads first.
const PATIENCE: Duration = Duration::from_secs(90);

/// The node's configuration file, where a test writes one.
const CONFIG: &str = "config.yaml";

/// One node.
pub(crate) struct Node {
    child: Child,
    variables: Vec<(String, String)>,
    pub(crate) data: SocketAddr,
    pub(crate) admin: SocketAddr,
    home: tempfile::TempDir,
}

impl Node {
    /// A node that nobody configured.
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// A node with more variables; ready when this returns.
    pub(crate) async fn with(variables: &[(&str, &str)]) -> Self {
        Self::on(free_port(), variables).await
    }

    /// A node with this configuration file, which lives as long as what is returned with it.
    pub(crate) async fn with_file(yaml: &str) -> (Self, tempfile::TempDir) {
        Self::with_file_and(yaml, &[]).await
    }

    /// The same with more variables.
    pub(crate) async fn with_file_and(yaml: &str, variables: &[(&str, &str)]) -> (Self, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mesh.yaml");
        fs::write(&file, yaml).unwrap();
        let node = Self::run(free_port(), variables, |_, mut mesh| {
            mesh.arg("--config").arg(&file);
            mesh
        })
        .await;
        (node, folder)
    }

    /// A node with this configuration file in its own folder, and more variables.
    pub(crate) async fn with_own_file(yaml: &str, variables: &[(&str, &str)]) -> Self {
        Self::run(free_port(), variables, |home, mesh| {
            configure_as(home, yaml);
            mesh
        })
        .await
    }

    /// A node on a given port of loopback.
    pub(crate) async fn on(port: u16, variables: &[(&str, &str)]) -> Self {
        Self::run(port, variables, |home, mesh| {
            let _ = home;
            mesh
        })
        .await
    }

    /// A node with these settings of `transport`, as YAML members.
    pub(crate) async fn with_transport(transport: &str, variables: &[(&str, &str)]) -> Self {
        Self::run(free_port(), variables, |home, mesh| {
            configure(home, transport);
            mesh
        })
        .await
    }

    /// A sidecar with the configuration in `volume`.
    pub(crate) async fn sidecar(volume: &Path) -> Self {
        Self::with(&[("MESH_CONFIG_DIR", volume.to_str().unwrap()), ("MESH_ROLE", "sidecar")]).await
    }

    /// A node started by what `wrap` makes of its command.
    pub(crate) async fn run(port: u16, variables: &[(&str, &str)], wrap: impl Fn(&Path, Command) -> Command) -> Self {
        let mut node = Self::begun(port, variables, wrap);
        node.ready().await;
        node
    }

    /// The same, which nobody has waited for.
    pub(crate) fn begun(port: u16, variables: &[(&str, &str)], wrap: impl Fn(&Path, Command) -> Command) -> Self {
        let home = tempfile::tempdir().unwrap();
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (data, admin) = (loopback(port), loopback(free_port()));
        let mut all = vec![
            ("MESH_HOME".to_owned(), home.path().join("mesh").display().to_string()),
            ("PLUGIN_PROXY_TRANSPORT_Y".to_owned(), data.to_string()),
            ("MESH_ADMIN_LISTEN".to_owned(), admin.to_string()),
            ("MESH_DRAIN_DELAY".to_owned(), "300ms".to_owned()),
        ];
        all.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        fs::create_dir(home.path().join("mesh")).unwrap();
        let child = spawn(wrap(home.path(), command()), &all, home.path());
        Self { child, variables: all, data, admin, home }
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.home.path().join("mesh")
    }

    /// All that it wrote to its log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory, in KiB.
    pub(crate) fn rss(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Waits until it is ready.
    pub(crate) async fn ready(&mut self) {
        until("the node to be ready", PATIENCE, async || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the node ended: {status}\n{}", self.log());
            }
            let Ok(stream) = std::net::TcpStream::connect_timeout(&self.admin, Duration::from_secs(1)) else {
                return false;
            };
            drop(stream);
            self.admin("/readyz").await.status == 200
        })
        .await;
    }

    /// `kill -9`, and the same node again.
    pub(crate) async fn kill_and_restart(&mut self) {
        self.child.kill().unwrap();
        self.start_again().await;
    }

    /// The same node again, once it has ended.
    pub(crate) async fn start_again(&mut self) {
        self.child.wait().unwrap();
        self.child = spawn(command(), &self.variables, self.home.path());
        self.ready().await;
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().unwrap();
        assert!(sent.success(), "kill -{name}");
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self, limit: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < limit, "the node did not end within {limit:?}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// A request of an application on the same machine.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        from(Ipv4Addr::LOCALHOST, self.data, request).await
    }

    /// A POST of JSON by an application on the same machine.
    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        self.send(post(path, headers, body.to_string())).await
    }

    /// An MPI by HTTP; its content.
    pub(crate) async fn mpi(&self, name: &str, arguments: &Value) -> Value {
        let answer = self.post("/mesh/invoke", &[("mesh-urn", name)], arguments).await;
        assert_eq!(answer.code(), "E0000000000", "{name}: {}", answer.text());
        answer.json()["content"].clone()
    }

    /// A push of `payload` in session `s`, for `target` or for this node.
    pub(crate) async fn push(&self, target: Option<&str>, topic: &str, payload: &str) -> String {
        let mut headers = vec![("x-ptp-session-id", "s"), ("x-ptp-timeout", "5000")];
        headers.extend(target.map(|target| ("x-ptp-target-node-id", target)));
        let body = json!({"topic": topic, "payload": base64(payload)});
        self.post("/v1/interconn/chan/push", &headers, &body).await.code()
    }

    /// What a pop of session `s` brings.
    pub(crate) async fn pop(&self, topic: &str) -> Option<String> {
        let body = json!({"topic": topic, "timeout": 2000});
        let answer = self.post("/v1/interconn/chan/pop", &[("x-ptp-session-id", "s")], &body).await;
        assert_eq!(answer.code(), "E0000000000", "{}", answer.text());
        answer.json()["payload"].as_str().map(unbase64)
    }

    /// What a short pop of session `s` brings.
    pub(crate) async fn pop_soon(&self, topic: &str) -> Option<String> {
        let body = json!({"topic": topic, "timeout": 100});
        let answer = self.post("/v1/interconn/chan/pop", &[("x-ptp-session-id", "s")], &body).await;
        answer.json()["payload"].as_str().map(unbase64)
    }

    /// What a pop of session `s` brings that does not wait.
    pub(crate) async fn pop_now(&self, topic: &str) -> Option<String> {
        let body = json!({"topic": topic, "timeout": 1});
        let answer = self.post("/v1/interconn/chan/pop", &[("x-ptp-session-id", "s")], &body).await;
        answer.json()["payload"].as_str().map(unbase64)
    }

    /// What the admin port answers to everyone.
    pub(crate) async fn admin(&self, path: &str) -> Answer {
        from(Ipv4Addr::LOCALHOST, self.admin, Request::get(path).body(Full::default()).unwrap()).await
    }

    /// A number among the metrics; 0 where it is not there.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        number(&self.admin("/metrics").await.text(), name)
    }

    /// Messages that were given out and are not settled yet.
    pub(crate) async fn leased(&self) -> f64 {
        self.metric("mesh_transport_leases").await
    }

    /// What the admin port answers to whoever has the token.
    pub(crate) async fn private(&self, path: &str) -> Answer {
        let request = Request::get(path).header("authorization", format!("Bearer {}", self.token()));
        from(Ipv4Addr::LOCALHOST, self.admin, request.body(Full::default()).unwrap()).await
    }

    pub(crate) fn token(&self) -> String {
        fs::read_to_string(self.home().join("admin.token")).unwrap()
    }

    /// Who this node is, set as seed 001 does; its root.
    pub(crate) async fn become_node(&self, node_id: &str) -> String {
        let document = json!({"node_id": node_id, "inst_id": institution(node_id), "inst_name": "互联互通节点X"});
        let answer = self.post("/v1/interconn/node/refresh", &[], &document).await;
        assert_eq!(answer.code(), "E0000000000", "{}", answer.text());
        self.root().await
    }

    /// The node's root, as partners get it.
    pub(crate) async fn root(&self) -> String {
        self.mpi("mesh.net.environ", &json!({})).await["root_crt"].as_str().unwrap().to_owned()
    }

    /// A partner, set as seed 001 does.
    pub(crate) async fn trust(&self, node_id: &str, address: SocketAddr, root: &str) -> String {
        let document = json!({
            "node_id": node_id, "inst_id": institution(node_id), "address": address.to_string(), "guest_root": root,
        });
        self.post("/v1/interconn/net/refresh", &[], &document).await.code()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("the log of {}:\n{}", self.data, self.log());
        }
    }
}

fn number(metrics: &str, name: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0.0, |number| number.parse().unwrap())
}

/// Asks until it is so.
pub(crate) async fn until(what: &str, limit: Duration, mut is_so: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !is_so().await {
        assert!(start.elapsed() < limit, "waited {limit:?} for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mesh"));
    command.args(["start", "--server"]);
    command
}

/// Has the node in `home` started with these settings of `transport`, as YAML members.
pub(crate) fn configure(home: &Path, transport: &str) {
    configure_as(home, &format!("transport: {{{transport}}}\n"));
}

/// Has the node in `home` started with this file.
pub(crate) fn configure_as(home: &Path, yaml: &str) {
    fs::write(home.join(CONFIG), yaml).unwrap();
}

fn spawn(mut command: Command, variables: &[(String, String)], home: &Path) -> Child {
    if home.join(CONFIG).exists() {
        command.arg("--config").arg(home.join(CONFIG));
    }
    let log = File::options().create(true).append(true).open(home.join("log")).unwrap();
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

/// The institution of a node, by the scheme of PTP section 8.2.
fn institution(node_id: &str) -> String {
    format!("JG01{:0>6}00000000", node_id.get(8..14).unwrap_or(node_id))
}

pub(crate) fn base64(text: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    STANDARD.encode(text)
}

pub(crate) fn unbase64(text: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()
}

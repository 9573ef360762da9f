//! The operator as a process beside an API server, with the rights of its manifest and no others.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client as Http;
use hyper_util::rt::TokioExecutor;
use kube::Client;
use serde_json::Value;

use crate::api::ApiServer;
use crate::cluster::control_plane::free_port;
use crate::cluster::process::Process;
use crate::{objects, wait};

/// Who the operator is to the API server: the service account of its manifest.
pub const USER: &str = "system:serviceaccount:interconn-system:mesh-operator";

/// The namespace of its Lease and of the issued roots.
pub const NAMESPACE: &str = "interconn-system";

const MANIFEST: &str = include_str!("../manifests/operator.yaml");

/// It starts in milliseconds; a machine under load gets this long.
const STARTED: Duration = Duration::from_secs(30);

/// A running operator; killed when dropped.
pub struct Operator {
    process: Child,
    port: u16,
    log: PathBuf,
}

/// Its namespace and its rights.
///
/// # Errors
/// When one of the objects is refused.
pub async fn install(client: &Client) -> Result<()> {
    objects::apply(client, MANIFEST, |kind| kind != "Deployment").await
}

impl Operator {
    /// Starts `program` as `identity`, a candidate for the Lease `lease`, for the namespace `watched`, without its webhook.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub async fn start(server: &ApiServer, program: &Path, identity: &str, lease: &str, watched: &str) -> Result<Self> {
        Self::start_with(server, program, identity, lease, watched, &["--injection", "off"]).await
    }

    /// [`start`](Self::start) with further options.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub async fn start_with(
        server: &ApiServer,
        program: &Path,
        identity: &str,
        lease: &str,
        watched: &str,
        more: &[&str],
    ) -> Result<Self> {
        let kubeconfig = server.folder().join("etc/operator.kubeconfig");
        let options = ["--lease-name", lease, "--watch-namespaces", watched];
        Self::start_by(&kubeconfig, server, program, identity, &[&options, more].concat()).await
    }

    /// Starts `program` on the way to the API server that a kubeconfig describes.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub async fn start_by(
        kubeconfig: &Path,
        server: &ApiServer,
        program: &Path,
        identity: &str,
        options: &[&str],
    ) -> Result<Self> {
        Self::start_in(&[("KUBECONFIG", kubeconfig.as_os_str())], server, program, identity, options).await
    }

    /// Starts `program` with these variables, of which `KUBECONFIG` says where the API server is.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub async fn start_in(
        variables: &[(&str, &OsStr)],
        server: &ApiServer,
        program: &Path,
        identity: &str,
        options: &[&str],
    ) -> Result<Self> {
        // For figures: the program as people run it, in place of the one of this build.
        let program = &std::env::var_os("E2E_OPERATOR").map_or_else(|| program.to_owned(), PathBuf::from);
        ensure!(program.exists(), "{} is not built: run the tests by `make test`", program.display());
        let port = free_port()?;
        let log = server.folder().join(format!("log/{identity}.log"));
        let file = File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        // A test that is killed takes its operators along.
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(["run", "--namespace", NAMESPACE, "--identity", identity])
            .args(["--admin-listen", &format!("127.0.0.1:{port}")])
            .args(options)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .context("cannot start setpriv (util-linux)")?;
        let operator = Self { process, port, log };
        operator.answers().await?;
        Ok(operator)
    }

    async fn answers(&self) -> Result<()> {
        let what = format!("the operator to answer (log: {})", self.log.display());
        wait::until(&what, STARTED, || async { self.get("/livez").await.map(drop) }).await
    }

    /// What its admin port answers, with the status.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn get(&self, path: &str) -> Result<(u16, String)> {
        let http = Http::builder(TokioExecutor::new()).build_http::<Empty<bytes::Bytes>>();
        let url = format!("http://127.0.0.1:{}{path}", self.port).parse()?;
        let answer = http.get(url).await?;
        let status = answer.status().as_u16();
        let text = answer.into_body().collect().await?.to_bytes();
        Ok((status, String::from_utf8_lossy(&text).into_owned()))
    }

    /// Whether it says that it leads.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn leads(&self) -> Result<bool> {
        let (_, metrics) = self.get("/metrics").await?;
        Ok(metrics.lines().any(|line| line == "mesh_operator_leader 1"))
    }

    /// Waits until it leads and has seen everything once.
    ///
    /// # Errors
    /// When the time is over, with where its log is.
    pub async fn ready(&self) -> Result<()> {
        let what = format!("the operator to lead and be ready (log: {})", self.log.display());
        wait::until(&what, STARTED, || async {
            let (status, said) = self.get("/readyz").await?;
            ensure!(self.leads().await? && status == 200, "leads: {}, /readyz: {status} {said}", self.leads().await?);
            Ok(())
        })
        .await
    }

    /// Its process.
    ///
    /// # Errors
    /// When it has ended.
    pub fn process(&self) -> Result<Process> {
        Process::of(self.process.id()).context("the operator has ended")
    }

    /// Ends it at once, without farewell.
    ///
    /// # Errors
    /// When it cannot be ended.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Asks it to end, as a kubelet does, and waits until it has.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn end(&mut self) -> Result<()> {
        let asked = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status()?;
        ensure!(asked.success(), "kill -TERM: {asked}");
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// What the operator wrote in a namespace, leases apart, from the API server's own audit log: `verb resource/name`.
///
/// # Errors
/// When the log cannot be read.
pub fn writes(server: &ApiServer, namespace: &str) -> Result<Vec<String>> {
    let log = server.folder().join("log/audit.log");
    let text = std::fs::read_to_string(&log).with_context(|| format!("cannot read {}", log.display()))?;
    let mut writes = Vec::new();
    for line in text.lines() {
        // The last line may still be growing.
        let Ok(event) = serde_json::from_str::<Value>(line) else { continue };
        let word = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let ours = word("/user/username") == USER && word("/objectRef/namespace") == namespace;
        let resource = word("/objectRef/resource");
        if ours && resource != "leases" && word("/stage") == "ResponseComplete" {
            let part = word("/objectRef/subresource");
            writes.push(format!("{} {resource}/{} {part}", word("/verb"), word("/objectRef/name")).trim().to_owned());
        }
    }
    Ok(writes)
}

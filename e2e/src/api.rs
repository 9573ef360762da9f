//! An API server for one test binary: started by the first test that asks, gone with the process.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, bail};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// A running API server. The supervisor takes it down when this process ends, in whatever way: its input closes then.
pub struct ApiServer {
    kubeconfig: PathBuf,
    _supervisor: Child,
}

impl ApiServer {
    /// The API server of this process. `supervisor` is the bin `cluster`, which only an integration test knows
    /// (`env!("CARGO_BIN_EXE_cluster")`); `name` is the folder for its logs.
    ///
    /// # Errors
    /// When it did not come up; its logs are kept then too.
    pub fn of_this_process(supervisor: &str, name: &str) -> Result<&'static Self> {
        static SERVER: OnceLock<Result<ApiServer, String>> = OnceLock::new();
        let server = SERVER.get_or_init(|| Self::start(supervisor, name).map_err(|e| format!("{e:#}")));
        server.as_ref().map_err(|e| anyhow!("{e}"))
    }

    fn start(supervisor: &str, name: &str) -> Result<Self> {
        let mut command = Command::new(supervisor);
        command.args(["api", "--name", name]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {supervisor}"))?;
        let output = child.stdout.take().context("the supervisor has no output")?;
        let mut lines = BufReader::new(output).lines();
        for line in lines.by_ref() {
            if let Some(kubeconfig) = line?.strip_prefix("KUBECONFIG=") {
                let kubeconfig = PathBuf::from(kubeconfig);
                return Ok(Self { kubeconfig, _supervisor: child });
            }
        }
        bail!("the API server did not come up; the lines above say why")
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> &PathBuf {
        &self.kubeconfig
    }

    /// The folder of the cluster: `pki/`, `etc/`, `log/`.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.kubeconfig.ancestors().nth(2).map(PathBuf::from).unwrap_or_default()
    }

    /// A client with all rights. Each test makes its own: a client lives on its test's runtime.
    ///
    /// # Errors
    /// When the kubeconfig is not usable.
    pub async fn client(&self) -> Result<Client> {
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig)?;
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        // Tests apply tables of hundreds of cases; a call that takes longer than this has met a broken server.
        config.read_timeout = Some(std::time::Duration::from_secs(30));
        Ok(Client::try_from(config)?)
    }
}

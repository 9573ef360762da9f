//! What must hold before a managed node starts: a volume that is whole, and state that is its own.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use mesh_core::{
    config::KeeperError,
    store::{Store, StoreError},
};

use crate::exit::Exit;

/// The kubelet's link to the version of a volume that is in force.
const DATA_LINK: &str = "..data";
/// A look costs some milliseconds.
const PAUSE: Duration = Duration::from_millis(500);

/// Where a node's state says whose it is.
const TABLE: &str = "home";
const NODE: &str = "node";

/// Opens a configuration from `directory`. A kubelet's volume that does not fit may be torn: made while the operator wrote, or from
/// caches of different age. Ending at once would have the pod wait for its next start, each time longer; it ends when it has not
/// become whole `within` that time.
#[expect(
    clippy::disallowed_methods,
    reason = "no port is bound and no task runs yet: there is nobody whom a sleep holds up"
)]
pub(super) fn whole<T>(
    directory: Option<&Path>,
    within: Duration,
    mut open: impl FnMut() -> Result<T, KeeperError>,
) -> Result<T, KeeperError> {
    let is_a_volume = directory.is_some_and(|directory| directory.join(DATA_LINK).is_symlink());
    let (begun, mut said) = (Instant::now(), String::new());
    loop {
        let problem = match open() {
            Err(problem @ (KeeperError::Config(_) | KeeperError::Certificate(_))) if is_a_volume => problem,
            done => return done,
        };
        if begun.elapsed() >= within {
            return Err(problem);
        }
        let text = problem.to_string();
        if text != said {
            tracing::warn!(problem = text, "waiting for a configuration that fits");
            said = text;
        }
        thread::sleep(PAUSE);
    }
}

/// Whether the state is this node's. A claim outlives its MeshNode, and the next one of the same name may be another institution,
/// whose applications must not pop what was not meant for them.
pub(super) fn is_own(store: &Store, node_id: &str) -> Result<(), Exit> {
    let failed = |error: StoreError| Exit::Local(error.to_string());
    match store.get::<String>(TABLE, NODE).map_err(failed)? {
        None => store.put(TABLE, NODE, &node_id).map_err(failed),
        Some(owner) if owner.eq_ignore_ascii_case(node_id) => Ok(()),
        Some(owner) => Err(Exit::Refused(format!(
            "MESH_HOME holds the state of node {owner}, and this is {node_id}: give this node another MESH_HOME; in a cluster delete the PersistentVolumeClaim to begin without what {owner} left unread"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use mesh_core::ConfigProblem;

    use super::*;

    fn torn() -> KeeperError {
        ConfigProblem::invalid("tls.crt", "is missing").into()
    }

    #[test]
    fn a_torn_volume_is_read_again_until_it_fits() {
        let volume = tempfile::tempdir().unwrap();
        symlink("..2026", volume.path().join(DATA_LINK)).unwrap();
        let mut reads = 0;
        let opened = whole(Some(volume.path()), Duration::from_secs(60), || {
            reads += 1;
            if reads < 3 { Err(torn()) } else { Ok(reads) }
        });
        assert_eq!(opened.unwrap(), 3);
    }

    #[test]
    fn a_volume_that_stays_torn_ends_the_start_in_time() {
        let volume = tempfile::tempdir().unwrap();
        symlink("..2026", volume.path().join(DATA_LINK)).unwrap();
        assert!(whole::<()>(Some(volume.path()), Duration::ZERO, || Err(torn())).is_err());
    }

    #[test]
    fn a_directory_that_nobody_swaps_is_refused_at_once() {
        let directory = tempfile::tempdir().unwrap();
        for place in [Some(directory.path()), None] {
            let mut reads = 0;
            let refused = whole::<()>(place, Duration::from_secs(60), || {
                reads += 1;
                Err(torn())
            });
            assert!(refused.is_err() && reads == 1);
        }
    }

    #[test]
    fn state_is_its_nodes_and_no_others() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path()).unwrap();
        for own in ["LX1", "lx1"] {
            assert!(is_own(&store, own).is_ok());
        }
        let refused = is_own(&store, "LX2").unwrap_err().to_string();
        assert!(refused.contains("node LX1") && refused.contains("PersistentVolumeClaim"), "{refused}");
    }
}

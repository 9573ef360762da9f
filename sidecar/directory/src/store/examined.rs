//! Log and bodies as they are kept, compared with what they lead to: a byte that a disk changed is found before a proof needs it. The
//! records are compared with the log whenever a store is opened; this takes as long as reading all that was ever written.

use redb::ReadableDatabase;

use super::{BODIES, LEAVES, NODES, Store, StoreError, table};
use crate::{
    Hash,
    entry::Leaf,
    log::{Peaks, Place, leaf_hash},
};

/// Entries of one step: whoever writes meanwhile, or closes the store, waits for no more.
const PIECE: u64 = 256;

/// Bytes of bodies after which a step ends too: one body may be a sync of tens of thousands of data systems.
const LONGEST_PIECE: usize = 4 << 20;

/// How far a store was read, and what it came to.
#[derive(Clone, Debug, Default)]
pub struct Examined {
    peaks: Peaks,
}

impl Examined {
    /// How many entries were read.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.peaks.size()
    }
}

/// Why what is kept does not hold, or that the database failed to say it.
type Found = Result<Result<Peaks, String>, redb::Error>;

impl Store {
    /// Reads on behind `examined`, some hundred entries at most and none behind the first `size`: each leaf, the subtrees of the log
    /// that are complete with it, and its body.
    ///
    /// # Errors
    /// The disk fails, and it may be tried again; or what is damaged, by name.
    pub fn examine(&self, examined: &Examined, size: u64) -> Result<Examined, StoreError> {
        let first = examined.size();
        let last = first.saturating_add(PIECE).min(size);
        let found = self.read(|database| piece(database, examined.peaks.clone(), first, last))?;
        found.map(|peaks| Examined { peaks }).map_err(|what| self.damaged(what))
    }
}

fn piece(database: &redb::Database, mut peaks: Peaks, first: u64, last: u64) -> Found {
    let read = database.begin_read()?;
    let tables = (table(&read, LEAVES)?, table(&read, NODES)?, table(&read, BODIES)?);
    let (Some(leaves), Some(nodes), Some(bodies)) = tables else { return Ok(Err("the log is missing".to_owned())) };
    let mut bytes = 0_usize;
    for index in first..last {
        if bytes >= LONGEST_PIECE {
            break;
        }
        let Some(leaf) = leaves.get(index)? else { return Ok(Err(format!("leaf {index} is missing"))) };
        let leaf = leaf.value();
        let mut built: Vec<(Place, Hash)> = Vec::new();
        peaks.append(leaf_hash(leaf), |place, hash| built.push((place, hash)));
        for (place, hash) in built {
            let known = nodes.get((place.height, place.index))?.map(|known| Hash::new(*known.value()));
            if known != Some(hash) {
                return Ok(Err(unlike(place)));
            }
        }
        let Ok(read) = Leaf::read(leaf) else { return Ok(Err(format!("leaf {index} cannot be read"))) };
        let body = bodies.get(read.entry.body.bytes())?;
        bytes = bytes.saturating_add(body.as_ref().map_or(0, |body| body.value().len()));
        if body.is_none_or(|body| Hash::of(&[body.value()]) != read.entry.body) {
            return Ok(Err(format!("the body of entry {index} is missing, or another")));
        }
    }
    Ok(Ok(peaks))
}

fn unlike(place: Place) -> String {
    match place {
        Place { height: 0, index } => format!("leaf {index} is not the one whose hash is kept"),
        Place { height, index } => format!("subtree {index} of height {height} is not that of the leaves below it"),
    }
}

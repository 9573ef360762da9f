//! The log as others read it (contract 5.2): its checkpoint, tiles, bundles of entries and bodies, each by its path below
//! `/datanet/v1/log/`. Stock clients of `c2sp.org/tlog-tiles` read it so.

use crate::{
    Hash,
    log::{
        Nodes, Note, Tile, bundle,
        tile::{self, WIDTH},
    },
    store::{Store, StoreError},
};

/// Who may read a resource (contract 5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Everybody.
    All,
    /// Those who may read the records.
    OfRecords,
}

/// Something of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// What it is.
    pub bytes: Vec<u8>,
    /// Its media type.
    pub media_type: &'static str,
    /// Whether it never changes; the checkpoint alone does.
    pub immutable: bool,
    /// Who may have it.
    pub readers: Readers,
}

/// What a path stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    Checkpoint,
    Tile(Tile),
    Body(Hash),
}

impl Path {
    fn parse(path: &str) -> Option<Self> {
        match path.strip_prefix("body/") {
            Some(hash) => Hash::from_hex(hash).map(Self::Body),
            None if path == "checkpoint" => Some(Self::Checkpoint),
            None => Tile::parse(path).map(Self::Tile),
        }
    }
}

/// Who may read what a path stands for; `None` for one that stands for nothing.
#[must_use]
pub fn readers(path: &str) -> Option<Readers> {
    Some(match Path::parse(path)? {
        Path::Checkpoint => Readers::All,
        Path::Body(_) => Readers::OfRecords,
        Path::Tile(tile) => readers_of(&tile),
    })
}

const fn readers_of(tile: &Tile) -> Readers {
    match tile.kind() {
        tile::Kind::Hashes(_) => Readers::All,
        tile::Kind::Entries => Readers::OfRecords,
    }
}

/// The resource of a path in a log whose last published checkpoint is `checkpoint`, over `size` leaves; `None` when there is none, or
/// not yet.
///
/// # Errors
/// The disk fails, or what is kept is damaged.
pub fn resource(store: &Store, checkpoint: &Note, size: u64, path: &str) -> Result<Option<Resource>, StoreError> {
    match Path::parse(path) {
        None => Ok(None),
        Some(Path::Checkpoint) => {
            let bytes = checkpoint.encode().into_bytes();
            Ok(Some(Resource {
                bytes,
                media_type: "text/plain; charset=utf-8",
                immutable: false,
                readers: Readers::All,
            }))
        }
        Some(Path::Tile(tile)) => tile_of(store, size, &tile),
        Some(Path::Body(hash)) => Ok(store.body(&hash)?.map(|bytes| Resource {
            bytes,
            media_type: "application/json",
            immutable: true,
            readers: Readers::OfRecords,
        })),
    }
}

fn tile_of(store: &Store, size: u64, tile: &Tile) -> Result<Option<Resource>, StoreError> {
    let Some(places) = tile.places(size) else { return Ok(None) };
    let (mut bytes, readers) = (Vec::new(), readers_of(tile));
    for place in places {
        match tile.kind() {
            tile::Kind::Hashes(_) => bytes.extend_from_slice(store.node(place)?.bytes()),
            tile::Kind::Entries => {
                let leaf = store.leaf(place.index)?;
                // No leaf is longer than a bundle can hold: the ledger takes none that is.
                let pushed = leaf.is_some_and(|leaf| bundle::push(&mut bytes, &leaf).is_ok());
                if !pushed {
                    return Ok(None);
                }
            }
        }
    }
    Ok(Some(Resource { bytes, media_type: "application/octet-stream", immutable: true, readers }))
}

/// Bytes of the largest resource beside bodies: a bundle of entries of the greatest length.
pub const LARGEST: u64 = WIDTH * (2 + bundle::LONGEST as u64);

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;
    use crate::{
        ledger::{
            By, Ledger,
            tests::{ledger, origin, write},
        },
        log::{Checkpoint, Kind, Place, Signer, Tree, leaf_hash},
        message::Message,
        replay::Replay,
    };

    /// A kept log of `size` entries.
    fn kept(home: &tempfile::TempDir, size: u64) -> (Store, Ledger) {
        let path = home.path().join("directory.redb");
        let file = fs::OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
        let store = Store::open(file, path, &origin()).unwrap();
        let mut ledger = ledger();
        let step = |n: u64| {
            let body = json!({"id": format!("cs{n}"), "endpoint": "a:1"});
            ledger.submit(&write(Message::Connect, body, By::Token), n).unwrap().unwrap()
        };
        let steps: Vec<_> = (0..size).map(step).collect();
        store.commit(&steps, ledger.checkpoint().as_ref()).unwrap();
        (store, ledger)
    }

    /// A client that has nothing but paths, the log's key and the keys of its directory.
    #[test]
    fn a_client_of_static_files_has_the_whole_log() {
        for size in [0, 1, 255, 256, 257, 600] {
            let home = tempfile::tempdir().unwrap();
            let (store, ledger) = kept(&home, size);
            let note = ledger.checkpoint().unwrap();
            let get = |path: &str| resource(&store, &note, size, path).unwrap();
            let log = Signer::from_seed(origin(), Kind::Log, &[1; 32]).unwrap();

            let served = get("checkpoint").unwrap();
            let read = Note::parse(&served.bytes).unwrap();
            let (checkpoint, _) = Checkpoint::open(&read, log.verifier(), &[]).unwrap();
            assert_eq!((checkpoint.size, served.immutable, served.readers), (size, false, Readers::All));

            let (mut tree, mut tiles) = (Tree::default(), Vec::new());
            for tile in tile::all(size) {
                let served = get(&tile.to_string()).unwrap();
                assert!(served.immutable && served.bytes.len() as u64 <= LARGEST);
                match tile.kind() {
                    tile::Kind::Entries => {
                        assert_eq!(served.readers, Readers::OfRecords);
                        bundle::leaves(&served.bytes).unwrap().iter().for_each(|leaf| tree.append(leaf_hash(leaf)));
                    }
                    tile::Kind::Hashes(_) => tiles.push((tile, served)),
                }
            }
            assert_eq!((tree.size(), tree.root()), (size, checkpoint.root), "size {size}");
            for (tile, served) in tiles {
                let own: Vec<u8> =
                    tile.places(size).unwrap().flat_map(|place: Place| *tree.node(place).unwrap().bytes()).collect();
                assert_eq!((served.bytes, served.readers), (own, Readers::All), "{tile}");
            }
        }
    }

    /// What a mirror or a validating witness does with the same files.
    #[test]
    fn entries_and_bodies_replay_to_the_state() {
        let home = tempfile::tempdir().unwrap();
        let (store, ledger) = kept(&home, 12);
        let note = ledger.checkpoint().unwrap();
        let get = |path: &str| resource(&store, &note, 12, path).unwrap().unwrap().bytes;
        let custodian = crate::entry::EntryKey::from_seed(&[2; 32]).unwrap().public();
        let mut replay = Replay::new(origin(), custodian, Vec::new());
        for leaf in bundle::leaves(&get("tile/entries/000.p/12")).unwrap() {
            let entry = crate::entry::Leaf::read(leaf).unwrap().entry;
            assert_eq!(replay.next(leaf, &get(&format!("body/{}", entry.body))), Ok(()));
        }
        assert_eq!(replay.state().root(), ledger.state().root());
    }

    #[test]
    fn beyond_the_checkpoint_there_is_nothing() {
        let home = tempfile::tempdir().unwrap();
        let (store, ledger) = kept(&home, 300);
        let note = ledger.checkpoint().unwrap();
        for (size, path, there) in [
            (300, "tile/0/001.p/44", true),
            (300, "tile/0/001.p/43", true),
            (300, "tile/0/001.p/45", false),
            (300, "tile/0/001", false),
            (300, "tile/1/000.p/1", true),
            (300, "tile/2/000.p/1", false),
            (300, "tile/entries/001.p/45", false),
            // The store is ahead of what was published.
            (200, "tile/0/000.p/201", false),
            (200, "tile/entries/000", false),
            (300, "", false),
            (300, "checkpoint/", false),
            (300, "../checkpoint", false),
            (300, "body/", false),
            (300, "body/00", false),
        ] {
            assert_eq!(resource(&store, &note, size, path).unwrap().is_some(), there, "{path} of {size}");
        }
        assert_eq!(resource(&store, &note, 300, &format!("body/{}", Hash::ZERO)).unwrap(), None);
    }
}

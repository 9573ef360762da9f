//! Says what changes in the grid's channels `datanet:<csid>` (Datanet D-10), as `/watch` says it, so that pages and apps hear of it
//! without a connection of their own to the directory.
//!
//! It reads the log behind what is published, at its own pace: no writer waits for it. Nothing is kept for who is away: whoever sees
//! by `sequence` that it missed something asks `/watch` from the revision on that it has. The grid does not know who is a member of the
//! directory, so that under `readers: Members` a channel says that something was written, and not what.

use std::{ops::Range, sync::Arc};

use mesh_directory::{
    change::Change,
    directory::{Directory, Reading},
};
use mesh_grid::{Channel, Grid, OF_DIRECTORY};

use super::super::GridPlace;

/// A message of the grid has so many bytes where its listener says nothing else (`messageBytes`). What is longer is said without its body.
const LONGEST: usize = 64 << 10;

/// Entries that are looked at in one go on a thread of its own.
const AT_ONCE: u64 = 256;

/// Publishes until the directory closes.
pub(super) async fn run(directory: Arc<Directory>, place: Arc<GridPlace>) {
    let closing = Arc::clone(&directory);
    tokio::select! {
        () = closing.closing() => {}
        () = follow(&directory, &place) => {}
    }
}

async fn follow(directory: &Arc<Directory>, place: &GridPlace) {
    let mut changes = directory.view().changes();
    let mut next = *changes.borrow_and_update();
    while changes.changed().await.is_ok() {
        let size = directory.view().published().size;
        // A grid that is off has no subscribers, and those that come later hear what is written then.
        let Some(room) = place.room() else {
            next = size;
            continue;
        };
        while next < size {
            let to = size.min(next.saturating_add(AT_ONCE));
            publish(directory, &room.grid, next..to).await;
            next = to;
        }
    }
}

/// Publishes these entries, one behind the other. Each is in memory alone: one body may be long.
async fn publish(directory: &Arc<Directory>, grid: &Arc<Grid>, entries: Range<u64>) {
    let mut next = entries.start;
    while next < entries.end {
        let (directory, grid_read) = (Arc::clone(directory), Arc::clone(grid));
        let range = next..entries.end;
        let read = tokio::task::spawn_blocking(move || first_heard(&directory, &grid_read, range)).await;
        match read {
            Ok(Some(Said { index, channels, text })) => {
                grid.announce(channels, text).await;
                next = index.saturating_add(1);
            }
            // Nobody hears the rest.
            _ => return,
        }
    }
}

/// What is said of an entry.
struct Said {
    index: u64,
    channels: Vec<Channel>,
    text: String,
}

/// The first of these entries that somebody hears. One that cannot be read is passed over: the directory itself tells of its disk, and
/// who follows sees the gap.
fn first_heard(directory: &Directory, grid: &Grid, entries: Range<u64>) -> Option<Said> {
    entries.into_iter().find_map(|index| {
        let change = Change::read(directory.store(), index)?;
        let channels = channels(&change);
        let text = grid.is_heard(&channels).then(|| text(directory, &change))?;
        Some(Said { index, channels, text })
    })
}

/// The channel of the id as ids are compared, and as it writes itself.
fn channels(change: &Change) -> Vec<Channel> {
    let folded = change.folded();
    let mut names = vec![format!("{OF_DIRECTORY}{folded}")];
    if folded != change.csid() {
        names.push(format!("{OF_DIRECTORY}{}", change.csid()));
    }
    // Ids have 32 characters at most, and no blanks.
    names.iter().filter_map(|name| Channel::new(name).ok()).collect()
}

fn text(directory: &Directory, change: &Change) -> String {
    let whole = match directory.rules().reading {
        Reading::Public => change.whole(directory.store()),
        Reading::Members => None,
    };
    whole.filter(|text| text.len() <= LONGEST).unwrap_or_else(|| change.notice())
}

//! `mesh directory compact`: a store as small as what is in it, on a node that is stopped.

use std::{fs::OpenOptions, path::Path};

use mesh_core::private;
use mesh_directory::store::Store;

use super::{FOLDER, KEYS, STORE, kept};

/// Compacts the store below `home`: its bytes before and after. It is read as a whole before, as what is damaged is not touched, and after.
pub(crate) fn compact(home: &Path) -> Result<(u64, u64), String> {
    let folder = home.join(FOLDER);
    let path = folder.join(STORE);
    let none = || format!("{} is not there: there is no log here", folder.join(KEYS).display());
    let keys = kept(&folder)?.ok_or_else(none)?;
    let file = private::open(&path, OpenOptions::new().read(true).write(true)).map_err(|e| e.to_string())?;
    let length = || path.metadata().map(|about| about.len()).map_err(|e| format!("{}: {e}", path.display()));
    let before = length()?;
    let mut store = Store::open(file, path.clone(), keys.origin()).map_err(|e| e.to_string())?;
    let roots = |store: &Store| {
        let (state, peaks) = store.load(keys.origin())?;
        store.examine_all().map(|()| (state.root(), peaks.root()))
    };
    let whole = roots(&store).map_err(|e| e.to_string())?;
    store.compact().map_err(|e| e.to_string())?;
    if roots(&store).map_err(|e| e.to_string())? != whole {
        return Err(format!("{} is another log than before: restore it from a backup", path.display()));
    }
    drop(store);
    Ok((before, length()?))
}

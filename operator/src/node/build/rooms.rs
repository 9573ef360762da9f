//! The keys that tunnel and directory have: made once, and used again for as long as they are kept.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use crds::{DIRECTORY_BEGUN, DIRECTORY_KEY, JOIN_CA, MeshNodeSpec, REGISTER_CA, RoomKeys};
use mesh_pki::{PkiError, PlaneSubject, Root};

use super::{Files, unwritable};
use crate::node::{
    Keys, Problem,
    validate::{DirectoryKeys, ValidNode},
};

/// Ten years, as the original's (NC section 3). The gateway has another take over before that.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Adds the files of the rooms that are on. Answers all keys, where they are not kept in this form: they must be before anything else is
/// written.
pub(super) fn add(files: &mut Files, valid: &ValidNode, now: SystemTime) -> Result<Option<Keys>, Problem> {
    let (spec, mut keys) = (&valid.node.spec, valid.rooms.clone());
    make(&mut keys, spec, now)?;
    let rooms = (spec.tunnel.as_ref(), spec.directory.as_ref());
    let unmade = |file: &str| Problem::Unwritable(format!("{file} was not made"));
    let read = |file: &'static str| keys.text(file).map(str::to_owned).ok_or_else(|| unmade(file));
    let begun = spec.directory.as_ref().and_then(|_| keys.text(DIRECTORY_BEGUN)).map(str::to_owned);
    let given = RoomKeys { begun, ..RoomKeys::read(rooms, read)? };
    given.files().for_each(|(file, text)| files.add_text(file, text));
    Ok(Some(keys).filter(|keys| *keys != valid.kept_rooms))
}

fn make(keys: &mut Keys, spec: &MeshNodeSpec, now: SystemTime) -> Result<(), Problem> {
    if spec.tunnel.is_some() {
        for (plane, (crt, key)) in [("register", REGISTER_CA), ("join", JOIN_CA)] {
            if keys.text(crt).is_none() {
                let root = authority(plane, now).map_err(Problem::NotIssued)?;
                keys.0.insert(crt.to_owned(), root.certificate_pem().into());
                keys.0.insert(key.to_owned(), root.key().expose().into());
            }
        }
    }
    if let Some(directory) = spec.directory.as_ref().filter(|_| keys.text(DIRECTORY_KEY).is_none()) {
        let seed = || BASE64_STANDARD.encode(rand::random::<[u8; 32]>());
        let origin = match directory.origin.as_str() {
            "" => format!("{}/datanet", spec.node_id),
            origin => origin.to_owned(),
        };
        let made = DirectoryKeys { origin, log: seed(), directory: seed() };
        let text = serde_json::to_string(&made).map_err(|e| unwritable(&e))?;
        keys.0.insert(DIRECTORY_KEY.to_owned(), text.into_bytes());
    }
    Ok(())
}

/// Named as the gateway's room names its own.
fn authority(plane: &str, now: SystemTime) -> Result<Root, PkiError> {
    let made = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let name = format!("lknm-{plane}-ca@{made}");
    Root::generate_plane(PlaneSubject { organization: None, common_name: &name }, AUTHORITY_LIFETIME, now)
}

//! What a LiteKube installation left on a disk: its YAML, and the PEM files of its folders. Read with a bound, as they are.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
    time::SystemTime,
};

use mesh_tunnel::{
    join::Member,
    legacy::{CLIENT_FILES, LegacyClient},
};
use serde_json::Value;

use crate::exit::Exit;

/// Its database with some 62 nodes, and all tokens that there ever were: far below.
const LARGEST: u64 = 16 << 20;

/// The node of a client's YAML. What of it means nothing to us is logged.
pub(super) fn node(path: &Path) -> Result<Member, Exit> {
    let unfit = |e: &dyn std::fmt::Display| Exit::Refused(format!("{}: {e}", path.display()));
    let client = LegacyClient::read(&document(path)?).map_err(|e| unfit(&e))?;
    for line in &client.without {
        tracing::warn!("{}: passed over: {line}", path.display());
    }
    let folder = path.parent().unwrap_or(Path::new("")).join(&client.folder);
    let there = CLIENT_FILES.iter().find(|[_, certificate, _]| folder.join(certificate).exists());
    let Some([authority, certificate, key]) = there else {
        let text = "it has no certificate of a node: neither client.pem nor client.crt";
        return Err(Exit::local(folder.display(), text));
    };
    let pem = |name: &str| pem(&folder.join(name));
    Ok(Member::brought(&client, [pem(authority)?, pem(certificate)?, pem(key)?], SystemTime::now())?)
}

/// The first document of a YAML file.
pub(super) fn document(path: &Path) -> Result<Value, Exit> {
    let unfit = |e: &dyn std::fmt::Display| Exit::Refused(format!("{}: {e}", path.display()));
    let text = String::from_utf8(read(path)?).map_err(|e| unfit(&e))?;
    let document = crds::yaml::documents(&text).map_err(|e| unfit(&e))?.into_iter().next();
    document.ok_or_else(|| unfit(&"it is empty"))
}

/// A file of text.
pub(super) fn pem(path: &Path) -> Result<String, Exit> {
    String::from_utf8(read(path)?).map_err(|_| Exit::local(path.display(), "it is no PEM"))
}

/// A file's bytes, 16 MiB at most.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Exit> {
    let failed = |e: io::Error| Exit::local(path.display(), e);
    let mut bytes = Vec::new();
    fs::File::open(path).map_err(failed)?.take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LARGEST {
        return Err(Exit::local(path.display(), "it has more than 16 MiB"));
    }
    Ok(bytes)
}

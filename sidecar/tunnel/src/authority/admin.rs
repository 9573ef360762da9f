//! The administrator's certificate, as files that `ncadm` and the command line read: `MESH_HOME/tunnel/admin/`.

use std::{
    fs,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use mesh_core::private::{self, NotPrivate};
use mesh_pki::{CertificateInfo, check_pair};

use super::{ADMIN, AuthorityError, Plane, REGISTER, guard::Denied};

const FOLDER: [&str; 2] = ["tunnel", "admin"];
const AUTHORITY: &str = "ca.pem";
const CERTIFICATE: &str = "client.pem";
const KEY: &str = "client-key.pem";

/// Writes the files, unless good ones are there. The certificate last, so that whoever finds it finds its key.
pub(super) fn ensure(plane: &Plane, denied: &Denied, home: &Path, now: SystemTime) -> Result<(), AuthorityError> {
    let folder = FOLDER.iter().fold(home.to_owned(), |path, part| path.join(part));
    if is_good(&folder, plane, denied, now) {
        return Ok(());
    }
    let disk = |source| NotPrivate::Disk { path: folder.clone(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(disk)?;
    let issued = plane.issue((REGISTER, ADMIN), now)?;
    private::replace(&folder.join(AUTHORITY), issued.authority.as_bytes())?;
    private::replace(&folder.join(KEY), issued.key.expose().as_bytes())?;
    let chain = format!("{}{}", issued.certificate, plane.authority_pem());
    private::replace(&folder.join(CERTIFICATE), chain.as_bytes())?;
    Ok(())
}

fn is_good(folder: &Path, plane: &Plane, denied: &Denied, now: SystemTime) -> bool {
    let read = |name: &str| -> Option<String> { fs::read_to_string(PathBuf::from(folder).join(name)).ok() };
    let (Some(ca), Some(certificate), Some(key)) = (read(AUTHORITY), read(CERTIFICATE), read(KEY)) else {
        return false;
    };
    let lasts = |info: &CertificateInfo| !plane.is_due(info, now) && !denied.contains(&info.spki_sha256);
    ca == plane.bundle_pem() && check_pair(&certificate, &key).is_ok_and(|chain| chain.first().is_some_and(lasts))
}

//! The keys of the rooms that a gateway alone serves: the tunnel's authorities and the directory's keys (design section 3).
//!
//! Kept under the same names wherever they are: in the operator's Secret, in the gateway's, in a rendered directory. None of these
//! files is named in the manifest: an older sidecar would ask for what its Secret does not have.

use std::fmt;

use super::{BackplaneSecrets, Directory, Tunnel};

/// The authority of gRPC on 6439 and 6440, and its key.
pub const REGISTER_CA: (&str, &str) = ("tunnel-register.crt", "tunnel-register.key");
/// The authority of the tunnel on 6441, and its key.
pub const JOIN_CA: (&str, &str) = ("tunnel-join.crt", "tunnel-join.key");
/// What the directory signs with, and what its log was called when they were made: `keys.json` of a node on bare metal.
pub const DIRECTORY_KEY: &str = "directory.key";
/// The checkpoint that says how far the directory's log had come at least: a gateway does not begin another one under the same keys.
/// Absent as long as nobody knows of the log.
pub const DIRECTORY_BEGUN: &str = "directory.begun";

/// Whether a file of the snapshot is of these.
#[must_use]
pub fn is_room_key(file: &str) -> bool {
    let (register, join) = (REGISTER_CA, JOIN_CA);
    [register.0, register.1, join.0, join.1, DIRECTORY_KEY, DIRECTORY_BEGUN].contains(&file)
}

/// The keys of the rooms that are on, and what the backplane refers to. `Debug` shows nothing of them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RoomKeys {
    /// The tunnel's authorities.
    pub tunnel: Option<TunnelKeys>,
    /// The text of [`DIRECTORY_KEY`].
    pub directory: Option<String>,
    /// The text of [`DIRECTORY_BEGUN`].
    pub begun: Option<String>,
    /// What the backplane is shown and known by: nothing of it is kept by the operator.
    pub backplane: BackplaneSecrets,
}

/// The authorities of the tunnel's planes, each with its key; PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct TunnelKeys {
    /// Of gRPC.
    pub register: (String, String),
    /// Of the tunnel itself.
    pub join: (String, String),
}

impl RoomKeys {
    /// Reads the files of the rooms that are there; of the backplane there are none, and [`DIRECTORY_BEGUN`] need not be there.
    ///
    /// # Errors
    /// What `read` says of the first file that is not there.
    pub fn read<E>(
        (tunnel, directory): (Option<&Tunnel>, Option<&Directory>),
        mut read: impl FnMut(&'static str) -> Result<String, E>,
    ) -> Result<Self, E> {
        let mut pair = |(crt, key)| Ok((read(crt)?, read(key)?));
        let tunnel =
            tunnel.map(|_| Ok(TunnelKeys { register: pair(REGISTER_CA)?, join: pair(JOIN_CA)? })).transpose()?;
        let directory = directory.map(|_| read(DIRECTORY_KEY)).transpose()?;
        Ok(Self { tunnel, directory, ..Self::default() })
    }

    /// The files of tunnel and directory, with what stands in them.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let tunnel = self.tunnel.iter().flat_map(|tunnel| {
            [
                (REGISTER_CA.0, tunnel.register.0.as_str()),
                (REGISTER_CA.1, tunnel.register.1.as_str()),
                (JOIN_CA.0, tunnel.join.0.as_str()),
                (JOIN_CA.1, tunnel.join.1.as_str()),
            ]
        });
        let directory = [(DIRECTORY_KEY, &self.directory), (DIRECTORY_BEGUN, &self.begun)];
        tunnel.chain(directory.into_iter().filter_map(|(file, text)| Some((file, text.as_deref()?))))
    }
}

impl fmt::Debug for RoomKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RoomKeys")
    }
}

impl fmt::Debug for TunnelKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TunnelKeys")
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn what_is_on_is_read_and_shown_to_nobody() {
        let read = |wanted| RoomKeys::read(wanted, |file| Ok::<_, Infallible>(format!("of {file}"))).unwrap();
        let tunnel = serde_json::from_value(serde_json::json!({"advertise": "203.0.113.7"})).unwrap();
        let (tunnel, directory) = (Some(&tunnel), Some(&Directory::default()));
        let all = RoomKeys { begun: Some(format!("of {DIRECTORY_BEGUN}")), ..read((tunnel, directory)) };
        let files: Vec<_> = all.files().collect();
        assert!(files.iter().all(|(file, text)| is_room_key(file) && *text == format!("of {file}")), "{files:?}");
        assert_eq!(
            (files.len(), read((None, directory)).files().count(), read((None, None)).files().count()),
            (6, 1, 0)
        );
        assert_eq!(format!("{all:?} {:?}", all.tunnel), "RoomKeys Some(TunnelKeys)");
        assert!(!is_room_key("tls.key"));
    }
}

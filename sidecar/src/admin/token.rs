//! The admin token: 256 random bits in `MESH_HOME/admin.token`, which only this node's user can read. Another container
//! of the pod shares the loopback address, but not the file.

use std::{
    fmt, fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};

use crate::{exit::Exit, random};

const FILE: &str = "admin.token";

/// The admin token. Shows nothing of itself.
pub(crate) struct Token(String);

impl Token {
    /// The token of `home`; made if there is none.
    pub(crate) fn ensure(home: &Path) -> Result<Self, Exit> {
        let path = home.join(FILE);
        let failed = |e: io::Error| Exit::local(path.display(), e);
        match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(mut file) => {
                let text = random::hex::<32>()?;
                file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
                Ok(Self(text))
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::read(home),
            Err(error) => Err(failed(error)),
        }
    }

    /// The token of `home`, for the command line.
    pub(crate) fn read(home: &Path) -> Result<Self, Exit> {
        let path = home.join(FILE);
        let text = fs::read_to_string(&path).map_err(|e| {
            Exit::local(path.display(), format_args!("{e}: name the node's MESH_HOME, and be the user that it runs as"))
        })?;
        let text = text.trim();
        if text.is_empty() {
            return Err(Exit::local(path.display(), "it is empty: remove it and start the node again"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The value of the `authorization` header that carries it.
    pub(crate) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Whether a request carries it. Takes as long for a nearly right token as for a wrong one.
    pub(crate) fn admits(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes).and_then(|v| v.strip_prefix(b"Bearer "));
        given.is_some_and(|given| same(given, self.0.as_bytes()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Compares without an early end: every byte is looked at whatever the others are.
fn same(a: &[u8], b: &[u8]) -> bool {
    let different = a.iter().zip(b).fold(0, |different, (a, b)| std::hint::black_box(different | (a ^ b)));
    a.len() == b.len() && different == 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_token_is_made_once_and_only_its_owner_reads_it() {
        let home = tempfile::tempdir().unwrap();
        let made = Token::ensure(home.path()).unwrap();
        assert_eq!(made.0.len(), 64);
        assert_eq!(Token::ensure(home.path()).unwrap().0, made.0);
        let mode = fs::metadata(home.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(format!("{made:?}"), "Token(..)");
    }

    #[test]
    fn only_the_whole_token_is_admitted() {
        let token = Token("abc".into());
        let admits = |value: &str| {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(value).unwrap())]);
            token.admits(&headers)
        };
        assert!(admits("Bearer abc"));
        for wrong in ["Bearer ab", "Bearer abcd", "Bearer abd", "abc", "Bearer ", "bearer abc"] {
            assert!(!admits(wrong), "{wrong}");
        }
        assert!(!token.admits(&HeaderMap::new()));
    }
}

//! The admin token: 256 random bits in `MESH_HOME/admin.token`, which only this node's user can read. Another container
//! of the pod shares the loopback address, but not the file.

use std::{
    fmt, fs,
    io::{self, Read as _},
    path::Path,
};

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use mesh_core::private::{self, NotPrivate};

use crate::{exit::Exit, random};

const FILE: &str = "admin.token";

/// Ours has 64 characters; one that a person put there may be longer, and a file without end is not read.
const LONGEST: u64 = 1024;

/// Fewer characters can be guessed. Ours has 64.
const SHORTEST: usize = 32;

/// The admin token. Shows nothing of itself.
pub(crate) struct Token(String);

impl Token {
    /// The token of `home`; made if there is none, or an empty one that a crash left.
    pub(crate) fn ensure(home: &Path) -> Result<Self, Exit> {
        let path = home.join(FILE);
        match private::open(&path, fs::OpenOptions::new().read(true)) {
            Ok(file) => match Self::from_file(&path, file)? {
                Some(token) => Ok(token),
                None => Self::make(&path),
            },
            Err(NotPrivate::Disk { source, .. }) if source.kind() == io::ErrorKind::NotFound => Self::make(&path),
            Err(problem) => Err(Exit::Local(problem.to_string())),
        }
    }

    /// The token of `home`, for the command line, which root may call too.
    pub(crate) fn read(home: &Path) -> Result<Self, Exit> {
        let path = home.join(FILE);
        let file = fs::File::open(&path).map_err(|e| {
            Exit::local(path.display(), format_args!("{e}: name the node's MESH_HOME, and be the user that it runs as"))
        })?;
        let token = Self::from_file(&path, file)?;
        token.ok_or_else(|| Exit::local(path.display(), "it is empty: start the node again, which makes a new one"))
    }

    fn make(path: &Path) -> Result<Self, Exit> {
        let text = random::hex::<32>()?;
        private::replace(path, text.as_bytes()).map_err(|problem| Exit::Local(problem.to_string()))?;
        Ok(Self(text))
    }

    /// `None` when there is nothing in it.
    fn from_file(path: &Path, file: fs::File) -> Result<Option<Self>, Exit> {
        let mut text = String::new();
        file.take(LONGEST).read_to_string(&mut text).map_err(|e| Exit::local(path.display(), e))?;
        match text.trim() {
            "" => Ok(None),
            short if short.len() < SHORTEST => Err(Exit::local(
                path.display(),
                format_args!("fewer than {SHORTEST} characters can be guessed: remove it, and a new one is made"),
            )),
            token => Ok(Some(Self(token.to_owned()))),
        }
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
    fn a_token_that_others_could_read_is_theirs_no_longer_and_a_link_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(FILE);
        let made = Token::ensure(home.path()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(Token::ensure(home.path()).unwrap().0, made.0);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let elsewhere = home.path().join("elsewhere");
        fs::rename(&path, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        let error = Token::ensure(home.path()).unwrap_err().to_string();
        assert!(error.contains("is a link") && !error.contains(&made.0), "{error}");
    }

    #[test]
    fn an_empty_token_is_made_anew_and_a_short_one_refused_without_being_quoted() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(FILE), "").unwrap();
        assert_eq!(Token::ensure(home.path()).unwrap().0.len(), 64);
        fs::write(home.path().join(FILE), "letmein").unwrap();
        for refused in [Token::ensure(home.path()), Token::read(home.path())] {
            let error = refused.unwrap_err().to_string();
            assert!(error.contains("32 characters") && !error.contains("letmein"), "{error}");
        }
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

//! Blockchain tokens: what lets a central system write that has no key of its own (contract sections 1 and 2). Each is bound to one
//! central system. Only hashes are kept, so that who reads the store has no token.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::rand::SecureRandom;
use serde::{Deserialize, Serialize};

use crate::{
    DirectoryError, Hash,
    error::{Code, Why},
    names,
};

/// What a token begins with, so that scanners for secrets find one that was lost.
const MARK: &str = "datanet_";

/// Random bytes of a token: nobody guesses 256 bits.
const BYTES: usize = 32;

/// Digits of the hash by which people tell tokens apart; a directory has thousands at most.
const ID: usize = 12;

/// Tokens of one directory: with more, something issues them without end.
const MOST: usize = 100_000;

/// What is known of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    /// The central system that it is for, folded.
    pub csid: String,
    /// When it was issued, in milliseconds since 1970.
    pub issued: u64,
    /// Until when it holds; `None`: until it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

/// All tokens of a directory, by their hashes.
#[derive(Clone, Debug, Default)]
pub struct Tokens(BTreeMap<Hash, Token>);

/// A token that was just made. Its secret is shown once and kept nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    /// What its holder sends.
    pub secret: String,
    /// What it is kept under.
    pub hash: Hash,
}

impl Tokens {
    /// The tokens that were kept.
    #[must_use]
    pub fn of(kept: impl IntoIterator<Item = (Hash, Token)>) -> Self {
        Self(kept.into_iter().collect())
    }

    /// Makes a token for a central system.
    ///
    /// # Errors
    /// 7310 for an id that cannot be; 7314 where there are no random bytes, or tokens without end.
    pub fn issue(
        &mut self,
        csid: &str,
        until: Option<u64>,
        now: u64,
        random: &dyn SecureRandom,
    ) -> Result<Issued, DirectoryError> {
        if names::csid(csid).is_none() {
            let text = format!("{csid:?} is no id of a central system");
            return Err(DirectoryError::new(Code::InvalidCentralSystem, Why::Malformed, text));
        }
        let internal = |text: &str| DirectoryError::new(Code::Internal, Why::Internal, text);
        if self.0.len() >= MOST {
            return Err(internal("there are too many tokens: revoke those that nobody uses"));
        }
        let mut bytes = [0; BYTES];
        random.fill(&mut bytes).map_err(|_| internal("the system has no random bytes"))?;
        let secret = format!("{MARK}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes));
        let hash = Hash::of(&[secret.as_bytes()]);
        self.0.insert(hash, Token { csid: names::fold(csid), issued: now, until });
        Ok(Issued { secret, hash })
    }

    /// The central system, folded, that the holder of `secret` may write for at `now`.
    ///
    /// # Errors
    /// 7002 as nobody's (401) for a token that is unknown, revoked or past its time; the answer does not tell which.
    pub fn holder(&self, secret: &str, now: u64) -> Result<&str, DirectoryError> {
        let token = self.0.get(&Hash::of(&[secret.as_bytes()]));
        let token = token.filter(|token| token.until.is_none_or(|until| now < until));
        let unknown = || {
            DirectoryError::new(
                Code::AccessDenied,
                Why::Unauthenticated,
                "the token is none of this directory, or no longer",
            )
        };
        token.map(|token| token.csid.as_str()).ok_or_else(unknown)
    }

    /// Revokes the tokens of a central system. Their hashes.
    pub fn revoke(&mut self, csid: &str) -> Vec<Hash> {
        let folded = names::fold(csid);
        let gone: Vec<Hash> = self.0.iter().filter(|(_, token)| token.csid == folded).map(|(hash, _)| *hash).collect();
        gone.iter().for_each(|hash| drop(self.0.remove(hash)));
        gone
    }

    /// All of them, each with what people tell it apart by.
    pub fn list(&self) -> impl Iterator<Item = (String, &Token)> {
        self.0.iter().map(|(hash, token)| (hash.to_string().chars().take(ID).collect(), token))
    }

    /// A token as it is kept.
    #[must_use]
    pub fn get(&self, hash: &Hash) -> Option<&Token> {
        self.0.get(hash)
    }
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").field("hash", &self.hash).finish_non_exhaustive()
    }
}

/// That the holder's central system is the one of the body.
///
/// # Errors
/// 7002 where it is another.
pub fn may_write(holder: &str, csid: &str) -> Result<(), DirectoryError> {
    if holder == names::fold(csid) {
        return Ok(());
    }
    let text = format!("the token or certificate is that of {holder}, not of {csid}");
    Err(DirectoryError::new(Code::AccessDenied, Why::Denied, text))
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;

    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn issue(tokens: &mut Tokens, csid: &str, until: Option<u64>) -> Issued {
        tokens.issue(csid, until, NOW, &SystemRandom::new()).unwrap()
    }

    #[test]
    fn a_token_is_for_one_central_system_until_its_time() {
        let mut tokens = Tokens::default();
        let (one, timed) = (issue(&mut tokens, "Yunqi", None), issue(&mut tokens, "other", Some(NOW + 10)));
        assert_eq!(tokens.holder(&one.secret, u64::MAX), Ok("yunqi"));
        assert_eq!(tokens.holder(&timed.secret, NOW + 9), Ok("other"));
        let refused =
            |secret: &str, now| tokens.holder(secret, now).map_err(|error| (error.code.number(), error.status()));
        for (secret, now) in [
            (timed.secret.as_str(), NOW + 10),
            ("", NOW),
            ("datanet_", NOW),
            (&one.secret[1..], NOW),
            (&one.hash.to_string(), NOW),
        ] {
            assert_eq!(refused(secret, now), Err((7002, 401)), "{secret}");
        }
        assert_eq!(may_write("yunqi", "YUNQI"), Ok(()));
        assert_eq!(
            may_write("yunqi", "other").map_err(|error| (error.code.number(), error.status())),
            Err((7002, 403))
        );
        assert!(tokens.issue("a.b", None, NOW, &SystemRandom::new()).is_err());
    }

    #[test]
    fn a_revoked_token_holds_no_longer() {
        let mut tokens = Tokens::default();
        let all: Vec<Issued> = ["a", "a", "b"].iter().map(|csid| issue(&mut tokens, csid, None)).collect();
        assert_eq!(tokens.revoke("A").len(), 2);
        assert_eq!(tokens.revoke("A"), []);
        assert!(tokens.holder(&all[0].secret, NOW).is_err() && tokens.holder(&all[2].secret, NOW).is_ok());
        let ids: Vec<String> = tokens.list().map(|(id, _)| id).collect();
        assert_eq!(ids, [&all[2].hash.to_string()[..ID]]);
        assert_eq!(tokens.revoke("b"), [all[2].hash]);
        assert_eq!(tokens.list().count(), 0);
    }

    #[test]
    fn what_is_kept_and_shown_has_no_secret() {
        let mut tokens = Tokens::default();
        let issued = issue(&mut tokens, "yunqi", None);
        let shown =
            format!("{issued:?} {tokens:?} {}", serde_json::to_string(tokens.get(&issued.hash).unwrap()).unwrap());
        assert!(!shown.contains(&issued.secret[MARK.len()..]), "{shown}");
        assert!(issued.secret.len() == MARK.len() + 43 && issued.secret != issue(&mut tokens, "yunqi", None).secret);
        let kept = tokens.0.clone();
        assert_eq!(Tokens::of(kept).holder(&issued.secret, NOW), Ok("yunqi"));
    }
}

//! Bootstrap tokens: made, listed, taken back.

use std::collections::BTreeMap;

use super::{
    Ledger,
    rows::TokenRow,
    shelf::{Change, TOKENS, Unwritten, key_of},
};
use crate::tokens::{NoRandomness, Secret};

/// Tokens that are kept: a list of as many is still an answer.
pub(super) const MOST_TOKENS: usize = 100_000;
/// Labels become a node's, which policy compares with each other.
const MOST_LABELS: usize = 8;
/// As labels of Kubernetes.
const MOST_OF_LABEL: usize = 63;

/// What a token is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mint {
    /// The second at which it ends; absent: never.
    pub expires: Option<i64>,
    /// How many nodes may join with it; absent: any number.
    pub max_uses: Option<u32>,
    /// What they are labelled with.
    pub labels: BTreeMap<String, String>,
    /// Seconds of absence after which they are forgotten; absent: never.
    pub ephemeral: Option<u32>,
    /// Whether they wait for an administrator before they open their tunnels.
    pub approval: bool,
    /// Whether clients must read it that know 16 digits only.
    pub legacy: bool,
}

/// A new token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Minted {
    /// What lists call it.
    pub id: String,
    /// Its text, without a pin; nobody sees it again.
    pub secret: Secret,
}

/// Why there is no new token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// Labels that no node could have.
    #[error("a token has at most 8 labels of at most 63 bytes each, none without a name")]
    Labels,
    /// Enough.
    #[error("there are 100000 tokens: revoke and let expire what nobody needs")]
    TooMany,
    /// The machine.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// The disk.
    #[error(transparent)]
    Unwritten(#[from] Unwritten),
}

/// Why a token is not taken back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevokeError {
    /// There is none.
    #[error("no token is called that: `mesh tunnel token ls` lists them")]
    Unknown,
    /// The disk.
    #[error(transparent)]
    Unwritten(#[from] Unwritten),
}

impl Ledger {
    /// Makes a token. Where the ledger is full, those that are worth nothing any more are forgotten.
    ///
    /// # Errors
    /// See [`MintError`].
    pub fn mint(&self, mint: Mint, now: i64) -> Result<Minted, MintError> {
        let fits = |text: &str| text.len() <= MOST_OF_LABEL;
        if mint.labels.len() > MOST_LABELS || mint.labels.iter().any(|(k, v)| k.is_empty() || !fits(k) || !fits(v)) {
            return Err(MintError::Labels);
        }
        let _turn = self.writing.lock();
        let ended = self.make_room(now)?;
        let id = self.free_id()?;
        let secret = if mint.legacy { Secret::legacy()? } else { Secret::ours(&id)? };
        let row = TokenRow {
            secret: self.key.digest(secret.expose()).ok_or(NoRandomness)?,
            created: now,
            expires: mint.expires,
            max_uses: mint.max_uses,
            labels: mint.labels,
            ephemeral: mint.ephemeral,
            approval: mint.approval,
            ..TokenRow::default()
        };
        let put = Change::put(key_of(TOKENS, &id), &row)?;
        let removed = ended.iter().map(|id| Change::Remove(key_of(TOKENS, id)));
        self.shelf.write(removed.chain([put]).collect())?;
        let mut book = self.book.lock();
        ended.iter().for_each(|id| book.remove_token(id));
        book.put_token(&id, row);
        Ok(Minted { id, secret })
    }

    /// All tokens, by id.
    pub fn tokens(&self) -> Vec<(String, TokenRow)> {
        self.book.lock().tokens().map(|(id, row)| (id.clone(), row.clone())).collect()
    }

    /// Takes a token back: nobody joins with it any more. Its nodes stay.
    ///
    /// # Errors
    /// See [`RevokeError`].
    pub fn revoke(&self, id: &str) -> Result<(), RevokeError> {
        let _turn = self.writing.lock();
        let row = self.book.lock().token(id).cloned().ok_or(RevokeError::Unknown)?;
        let row = TokenRow { revoked: true, ..row };
        self.shelf.write(vec![Change::put(key_of(TOKENS, id), &row)?])?;
        self.book.lock().put_token(id, row);
        Ok(())
    }

    /// What has to go before another token has a place: nothing, or all whose time is over.
    fn make_room(&self, now: i64) -> Result<Vec<String>, MintError> {
        let book = self.book.lock();
        if book.token_count() < MOST_TOKENS {
            return Ok(Vec::new());
        }
        let is_over = |row: &TokenRow| row.revoked || row.expires.is_some_and(|end| end <= now);
        let ended: Vec<_> = book.tokens().filter(|(_, row)| is_over(row)).map(|(id, _)| id.clone()).collect();
        if ended.is_empty() { Err(MintError::TooMany) } else { Ok(ended) }
    }

    /// A name that no token has; four random bytes may repeat.
    fn free_id(&self) -> Result<String, NoRandomness> {
        loop {
            let id = Secret::id()?;
            if self.book.lock().token(&id).is_none() {
                return Ok(id);
            }
        }
    }
}

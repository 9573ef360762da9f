//! Nodes that join at once are written at once: who comes first writes for all who wait, so that a burst of nodes costs the disk one
//! write for many and not one for each.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

use super::{
    JoinError, Joined, Joiner, Ledger, NEXT,
    book::Book,
    nodes::MOST_NODES,
    rows::{NodeRow, TokenRow},
    shelf::{Change, META, TOKENS, Unwritten, key_of, node_key},
};
use crate::{
    seam::PeerId,
    tokens::{NoRandomness, Secret},
};

/// One who waits to join.
pub(super) struct Joining {
    bootstrap: String,
    joiner: Joiner,
    now: i64,
    done: Mutex<Option<Result<Joined, JoinError>>>,
}

/// A node that is decided and not written yet.
struct Decided {
    number: u64,
    row: NodeRow,
    joined: Joined,
}

impl Ledger {
    /// Makes a node of a bootstrap token. Of several at once with a token for one, exactly one joins.
    ///
    /// # Errors
    /// See [`JoinError`].
    pub fn join(&self, bootstrap: &str, joiner: Joiner, now: i64) -> Result<Joined, JoinError> {
        let own = Arc::new(Joining { bootstrap: bootstrap.to_owned(), joiner, now, done: Mutex::default() });
        self.joining.lock().push(Arc::clone(&own));
        let _turn = self.writing.lock();
        // Whoever had the turn before may have written this one too.
        let known = own.done.lock().take();
        known.unwrap_or_else(|| {
            let all = std::mem::take(&mut *self.joining.lock());
            self.join_all(&all);
            own.done.lock().take().unwrap_or(Err(JoinError::NoToken))
        })
    }

    /// Decides one after the other, writes once, and shows and answers only then.
    fn join_all(&self, all: &[Arc<Joining>]) {
        let mut tokens = BTreeMap::new();
        let decided: Vec<_> = {
            let mut book = self.book.lock();
            let mut room = MOST_NODES.saturating_sub(book.node_count());
            all.iter()
                .map(|joining| {
                    let decided = self.decide(&mut book, &mut tokens, room, joining);
                    room = room.saturating_sub(usize::from(decided.is_ok()));
                    decided
                })
                .collect()
        };
        let written = self.write(&tokens, decided.iter().flatten());
        let mut book = self.book.lock();
        if written.is_ok() {
            tokens.into_iter().for_each(|(id, token)| book.put_token(&id, token));
        }
        for (joining, decided) in all.iter().zip(decided) {
            let done = decided.and_then(|decided| {
                written.clone()?;
                book.put_node(decided.number, decided.row);
                Ok(decided.joined)
            });
            *joining.done.lock() = Some(done);
        }
    }

    /// `tokens`: those that were used just now, as they will be.
    fn decide(
        &self,
        book: &mut Book,
        tokens: &mut BTreeMap<String, TokenRow>,
        room: usize,
        joining: &Joining,
    ) -> Result<Decided, JoinError> {
        let digest = self.key.digest(&joining.bootstrap).ok_or(JoinError::NoToken)?;
        let (id, token) = book.by_secret(&digest).ok_or(JoinError::NoToken)?;
        let (id, token) = (id.clone(), tokens.get(id).unwrap_or(token));
        if !token.is_good(joining.now) {
            return Err(JoinError::NoToken);
        }
        let secret = Secret::legacy()?;
        if room == 0 {
            return Err(JoinError::TooMany);
        }
        let row = NodeRow {
            token: self.key.digest(secret.expose()).ok_or(NoRandomness)?,
            labels: token.labels.clone(),
            joined_with: id.clone(),
            ephemeral: token.ephemeral,
            waits: token.approval,
            created: joining.now,
            register_key: Some(joining.joiner.register_key.clone()),
            join_key: Some(joining.joiner.join_key.clone()),
            ..NodeRow::default()
        };
        let used = TokenRow { uses: token.uses.saturating_add(1), ..token.clone() };
        tokens.insert(id.clone(), used);
        let number = book.next_number();
        Ok(Decided { number, row, joined: Joined { peer: PeerId(number), token: secret, joined_with: id } })
    }

    fn write<'d>(
        &self,
        tokens: &BTreeMap<String, TokenRow>,
        decided: impl Iterator<Item = &'d Decided>,
    ) -> Result<(), Unwritten> {
        let next = self.book.lock().following();
        let tokens = tokens.iter().map(|(id, token)| Change::put(key_of(TOKENS, id), token));
        let nodes = decided.map(|decided| Change::put(node_key(decided.number), &decided.row));
        let mut changes = tokens.chain(nodes).collect::<Result<Vec<_>, _>>()?;
        if changes.is_empty() {
            return Ok(());
        }
        changes.push(Change::put(key_of(META, NEXT), &next)?);
        self.shelf.write(changes)
    }
}

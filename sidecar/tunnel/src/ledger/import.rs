//! Nodes and tokens that another network controller made, taken over: they keep their tokens and, where they fit, their addresses.

use std::collections::HashSet;

use super::{
    Ledger, NEXT,
    book::Book,
    nodes::MOST_NODES,
    rows::{NodeRow, TokenRow},
    shelf::{Beside, Change, META, TOKENS, Unwritten, key_of, node_key},
    tokens::MOST_TOKENS,
};
use crate::{
    legacy::{Legacy, LegacyNode, LegacyToken},
    tokens::{Digest, NoRandomness, Secret},
};

/// In the place of the token that a node joined with.
const IMPORTED: &str = "imported";

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Nodes that are new here.
    pub nodes: usize,
    /// Of these, who get another address when they come, because theirs is not free in this network.
    pub moved: usize,
    /// Tokens that are new here.
    pub tokens: usize,
    /// Nodes and tokens that were here already: nothing is taken over twice.
    pub known: usize,
}

/// Why nothing is taken over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// Enough.
    #[error("there would be more than 131072 nodes or 100000 tokens")]
    TooMany,
    /// The machine.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// The disk.
    #[error(transparent)]
    Unwritten(#[from] Unwritten),
}

/// Rows that are to be written.
#[derive(Default)]
struct Rows {
    nodes: Vec<(u64, NodeRow)>,
    tokens: Vec<(String, TokenRow)>,
    done: Imported,
}

impl Ledger {
    /// Takes over what another controller knew, all of it or nothing, and `beside` with it. What has no form of a token is passed over.
    ///
    /// # Errors
    /// See [`ImportError`].
    pub fn import(&self, old: &Legacy, beside: Vec<Beside>, now: i64) -> Result<Imported, ImportError> {
        let _turn = self.writing.lock();
        let mut rows = Rows::default();
        let next = {
            let mut book = self.book.lock();
            if book.node_count() + old.nodes.len() > MOST_NODES || book.token_count() + old.tokens.len() > MOST_TOKENS {
                return Err(ImportError::TooMany);
            }
            self.tokens_to_take(&book, &old.tokens, now, &mut rows)?;
            self.nodes_to_take(&mut book, &old.nodes, now, &mut rows);
            book.following()
        };
        let nodes = rows.nodes.iter().map(|(number, row)| Change::put(node_key(*number), row));
        let tokens = rows.tokens.iter().map(|(id, row)| Change::put(key_of(TOKENS, id), row));
        let changes = nodes.chain(tokens).chain([Change::put(key_of(META, NEXT), &next)]);
        let changes = changes.chain(beside.into_iter().map(|row| Ok(Change::Beside(row))));
        // After a failure nobody knows what is on the disk: their addresses stay taken until the next start, which finds out.
        self.shelf.write(changes.collect::<Result<_, _>>()?)?;
        let mut book = self.book.lock();
        rows.nodes.into_iter().for_each(|(number, row)| book.put_node(number, row));
        rows.tokens.iter().for_each(|(id, row)| book.put_token(id, row.clone()));
        Ok(rows.done)
    }

    fn tokens_to_take(&self, book: &Book, old: &[LegacyToken], now: i64, rows: &mut Rows) -> Result<(), NoRandomness> {
        let (mut seen, mut ids) = (HashSet::new(), HashSet::new());
        for token in old {
            let Some(secret) = self.key.digest(&token.token) else { continue };
            if book.by_secret(&secret).is_some() || !seen.insert(secret.clone()) {
                rows.done.known += 1;
                continue;
            }
            let id = loop {
                let id = Secret::id()?;
                if book.token(&id).is_none() && ids.insert(id.clone()) {
                    break id;
                }
            };
            rows.tokens.push((id, TokenRow { secret, created: now, expires: token.expires, ..TokenRow::default() }));
            rows.done.tokens += 1;
        }
        Ok(())
    }

    fn nodes_to_take(&self, book: &mut Book, old: &[LegacyNode], now: i64, rows: &mut Rows) {
        let mut seen: HashSet<Digest> = HashSet::new();
        for node in old {
            let Some(token) = self.key.digest(&node.token) else { continue };
            if book.by_token(&token).is_some() || !seen.insert(token.clone()) {
                rows.done.known += 1;
                continue;
            }
            let address = node.address.filter(|address| book.hold(*address));
            rows.done.moved += usize::from(address.is_none() && node.address.is_some());
            let created = node.created.unwrap_or(now);
            let row = NodeRow { token, address, joined_with: IMPORTED.into(), created, ..NodeRow::default() };
            rows.nodes.push((book.next_number(), row));
            rows.done.nodes += 1;
        }
    }
}

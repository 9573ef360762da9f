//! Nodes that join at once are written at once: who comes first writes for all who wait, so that a burst of nodes costs the disk one
//! write for many and not one for each. Whoever is written is told at once, and the first of those who came meanwhile writes next.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::{Condvar, Mutex};

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

/// Those who wait to join.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) waiting: Vec<Arc<Joining>>,
    /// One of them writes, or is told to.
    is_led: bool,
}

/// One who waits to join.
pub(super) struct Joining {
    bootstrap: String,
    joiner: Joiner,
    now: i64,
    state: Mutex<State>,
    told: Condvar,
}

#[derive(Default)]
enum State {
    #[default]
    Waits,
    /// It is to write next, for all who wait.
    Leads,
    Done(Result<Joined, JoinError>),
}

impl Queue {
    /// Puts one behind the others. Answers whether it leads.
    fn enter(&mut self, joining: &Arc<Joining>) -> bool {
        self.waiting.push(Arc::clone(joining));
        !std::mem::replace(&mut self.is_led, true)
    }

    /// Whoever led is done.
    fn hand_over(&mut self) {
        match self.waiting.first() {
            Some(next) => next.tell(State::Leads),
            None => self.is_led = false,
        }
    }
}

impl Joining {
    fn tell(&self, state: State) {
        *self.state.lock() = state;
        self.told.notify_one();
    }

    /// Waits for the answer; `None`: it is to lead.
    fn wait(&self) -> Option<Result<Joined, JoinError>> {
        let mut state = self.state.lock();
        self.told.wait_while(&mut state, |state| matches!(state, State::Waits));
        match std::mem::take(&mut *state) {
            State::Done(done) => Some(done),
            State::Waits | State::Leads => None,
        }
    }

    /// The answer of one who led.
    fn answer(&self) -> Result<Joined, JoinError> {
        match std::mem::take(&mut *self.state.lock()) {
            State::Done(done) => done,
            State::Waits | State::Leads => Err(given_up()),
        }
    }
}

/// Those whom one writes for. Whatever happens to it, they are answered, and somebody else leads.
struct Round<'l> {
    ledger: &'l Ledger,
    all: Vec<Arc<Joining>>,
}

impl Drop for Round<'_> {
    fn drop(&mut self) {
        for joining in &self.all {
            if !matches!(*joining.state.lock(), State::Done(_)) {
                joining.tell(State::Done(Err(given_up())));
            }
        }
        self.ledger.joining.lock().hand_over();
    }
}

/// Only after a panic.
fn given_up() -> JoinError {
    Unwritten::new(&"it was given up").into()
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
        let (state, told) = Default::default();
        let own = Arc::new(Joining { bootstrap: bootstrap.to_owned(), joiner, now, state, told });
        let leads = self.joining.lock().enter(&own);
        if !leads && let Some(done) = own.wait() {
            return done;
        }
        self.lead();
        own.answer()
    }

    /// Writes for all who wait by then.
    fn lead(&self) {
        let _turn = self.writing.lock();
        let all = std::mem::take(&mut self.joining.lock().waiting);
        let round = Round { ledger: self, all };
        self.join_all(&round.all);
    }

    /// Decides one after the other, writes once, and shows and answers only then.
    fn join_all(&self, all: &[Arc<Joining>]) {
        if let Err(error) = self.take_back() {
            return all.iter().for_each(|joining| joining.tell(State::Done(Err(error.clone().into()))));
        }
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
                book.settle(decided.number, decided.row);
                Ok(decided.joined)
            });
            joining.tell(State::Done(done));
        }
    }

    /// Removes what a write that failed may have left of nodes that did not join, so that their addresses are free: a disk that is full
    /// costs the network no more of them than one write has. Whoever calls it has the turn to write.
    ///
    /// # Errors
    /// See [`Unwritten`]; the addresses are nobody's still then.
    pub(super) fn take_back(&self) -> Result<(), Unwritten> {
        let numbers = self.book.lock().promised();
        if numbers.is_empty() {
            return Ok(());
        }
        self.shelf.write(numbers.iter().map(|number| Change::Remove(node_key(*number))).collect())?;
        self.book.lock().take_back(&numbers);
        Ok(())
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
        let mut row = NodeRow {
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
        let number = book.next_number();
        if joining.joiner.is_named {
            row.address = Some(book.promise(number).ok_or(JoinError::NoAddress)?);
        }
        tokens.insert(id.clone(), used);
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

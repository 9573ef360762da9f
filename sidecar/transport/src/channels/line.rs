//! Those who wait for room in a budget which they share: the node's, or that of a partner's route.
//!
//! Turns go round: applications by session, partners each as one, and within a partner by session again. Whoever is at
//! the front takes what one push needs, or waits for it, and then the next has its turn; so nobody is starved by what is
//! smaller, nor by who is many. Within a session the order is that of arrival. A body that has some of its room has had its
//! turn: it gets the rest before others begin, or they would keep it from each other.
//!
//! Order of locks: a line, then a session or a claim. A step within a session only notes that a budget is short; joining
//! the line and serving it come after the session's lock is free, in this order, so no room that comes free in between is
//! missed.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Weak},
};

use mesh_core::{NodeId, SessionId};

use super::{
    cell::Cell,
    claim::{Claim, Turned},
    journal::Journal,
};
use crate::{
    queue::{Budget, Effects, Origin, Setting, Short, Turn},
    sync::Mutex,
};

/// Turns that are given at once: some 100 µs. Further ones are given a little later.
const MOST_TURNS: usize = 128;

/// A budget and those who wait for it.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) budget: Arc<Budget>,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Whose turn it is, front first; each stands here once.
    turns: VecDeque<Whose>,
    /// Bodies that have some of their room, before all turns.
    begun: VecDeque<Weak<Claim>>,
    entries: HashMap<Whose, VecDeque<Entry>>,
    /// The sessions that stand here, by their address: none stands twice.
    sessions: HashSet<usize>,
    len: usize,
}

/// Who has a turn of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Whose {
    Applications(SessionId),
    Partner(NodeId),
}

/// Who waits.
#[derive(Clone, Debug)]
enum Entry {
    /// The first push of a session.
    Session(Weak<Cell>),
    /// A call that is about to hold bytes.
    Claim(Weak<Claim>),
}

/// What serving a line came to.
#[derive(Debug, Default)]
pub(crate) struct Served {
    /// What is to be done for sessions that had a turn.
    pub(crate) sessions: Vec<(Arc<Cell>, Effects)>,
    /// Claims that wait for something else now.
    pub(crate) claims: Vec<(Arc<Claim>, Short)>,
    /// Claims that have their room.
    pub(crate) wakers: Vec<std::task::Waker>,
    /// By how much lines shrank.
    pub(crate) gone: usize,
    /// Whether there may be room for more.
    pub(crate) unfinished: bool,
}

/// What an entry did with its turn.
enum Done {
    /// It let one in, and waits on.
    Again,
    /// It is done here.
    Leaves,
    /// It waits at the front.
    Waits,
}

impl Line {
    pub(crate) fn new(limit: u64) -> Self {
        Self { budget: Budget::new(limit), waiting: Mutex::default() }
    }

    /// Lets a session stand in line for a push of `who`, unless it stands here already. Answers by how much the line grew.
    pub(crate) fn join(&self, cell: &Arc<Cell>, who: &Origin) -> usize {
        let mut waiting = self.waiting.lock();
        if !waiting.sessions.insert(Arc::as_ptr(cell).addr()) {
            return 0;
        }
        waiting.add(Whose::of(who, &cell.id), Entry::Session(Arc::downgrade(cell)));
        self.show(&waiting);
        1
    }

    /// Lets a claim stand in line. Answers by how much the line grew.
    pub(crate) fn join_claim(&self, claim: &Arc<Claim>) -> usize {
        let mut waiting = self.waiting.lock();
        if claim.begun {
            waiting.begun.push_back(Arc::downgrade(claim));
            waiting.len += 1;
        } else {
            waiting.add(Whose::of(&claim.who, &claim.session), Entry::Claim(Arc::downgrade(claim)));
        }
        self.show(&waiting);
        1
    }

    fn show(&self, waiting: &Waiting) {
        self.budget.set_line(waiting.len, waiting.begun.len());
    }

    /// Gives turns, as long as there is room. `is_mine` tells whether it is this line's budget that is short.
    pub(crate) fn serve(
        &self,
        is_mine: impl Fn(&Short) -> bool,
        setting: &Setting<'_>,
        journal: &Journal,
        served: &mut Served,
    ) {
        if self.budget.line() == 0 {
            return;
        }
        let mut waiting = self.waiting.lock();
        for _ in 0..MOST_TURNS {
            if let Some(claim) = waiting.begun.front().cloned() {
                match Entry::Claim(claim).turn(&is_mine, setting, journal, served) {
                    Done::Waits => return,
                    Done::Again | Done::Leaves => {
                        waiting.begun.pop_front();
                        waiting.len -= 1;
                        served.gone += 1;
                        self.show(&waiting);
                    }
                }
                continue;
            }
            let Some((whose, entry)) = waiting.front() else { return };
            match entry.turn(&is_mine, setting, journal, served) {
                Done::Waits => return,
                Done::Again => waiting.next(&whose, Some(entry)),
                Done::Leaves => {
                    if let Entry::Session(cell) = &entry {
                        waiting.sessions.remove(&cell.as_ptr().addr());
                    }
                    waiting.next(&whose, None);
                    served.gone += 1;
                    self.show(&waiting);
                }
            }
        }
        served.unfinished |= waiting.len > 0;
    }
}

impl Waiting {
    fn add(&mut self, whose: Whose, entry: Entry) {
        self.len += 1;
        let entries = self.entries.entry(whose.clone()).or_default();
        if entries.is_empty() {
            self.turns.push_back(whose);
        }
        entries.push_back(entry);
    }

    fn front(&self) -> Option<(Whose, Entry)> {
        let whose = self.turns.front()?;
        Some((whose.clone(), self.entries.get(whose)?.front()?.clone()))
    }

    /// The turn of `whose` first entry is over; `again`: it goes to the end of its own.
    fn next(&mut self, whose: &Whose, again: Option<Entry>) {
        let leaves = again.is_none();
        let Some(entries) = self.entries.get_mut(whose) else { return };
        entries.pop_front();
        entries.extend(again);
        self.len -= usize::from(leaves);
        self.turns.pop_front();
        if entries.is_empty() {
            self.entries.remove(whose);
        } else {
            self.turns.push_back(whose.clone());
        }
    }
}

impl Whose {
    fn of(who: &Origin, session: &SessionId) -> Self {
        match who {
            Origin::Application => Self::Applications(session.clone()),
            Origin::Partner(partner) => Self::Partner(partner.clone()),
        }
    }
}

impl Entry {
    fn turn(
        &self,
        is_mine: impl Fn(&Short) -> bool,
        setting: &Setting<'_>,
        journal: &Journal,
        served: &mut Served,
    ) -> Done {
        match self {
            Self::Session(cell) => match cell.upgrade() {
                Some(cell) => session_turn(cell, is_mine, setting, journal, served),
                None => Done::Leaves,
            },
            Self::Claim(claim) => match claim.upgrade() {
                Some(claim) => claim_turn(claim, is_mine, served),
                None => Done::Leaves,
            },
        }
    }
}

fn session_turn(
    cell: Arc<Cell>,
    is_mine: impl Fn(&Short) -> bool,
    setting: &Setting<'_>,
    journal: &Journal,
    served: &mut Served,
) -> Done {
    let mut fx = Effects::default();
    let (others_wait, let_in) = {
        let mut session = cell.session.lock();
        let others_wait = session.settle(setting, Turn::Front, &mut fx);
        let let_in = !fx.wakers.is_empty() || !fx.writes.is_empty();
        journal.write(&cell, &mut fx);
        (others_wait, let_in)
    };
    let short = fx.short.iter().any(&is_mine);
    // It stands here already.
    fx.short.retain(|short| !is_mine(short));
    if let_in || !fx.short.is_empty() {
        served.sessions.push((cell, fx));
    }
    match (let_in, others_wait, short) {
        (true, true, _) => Done::Again,
        (false, _, true) => Done::Waits,
        (true, false, _) | (false, _, false) => Done::Leaves,
    }
}

fn claim_turn(claim: Arc<Claim>, is_mine: impl Fn(&Short) -> bool, served: &mut Served) -> Done {
    match claim.turn() {
        Turned::Granted(waker) => served.wakers.push(waker),
        Turned::Gone => {}
        Turned::Short(short) if is_mine(&short) => return Done::Waits,
        Turned::Short(short) => served.claims.push((claim, short)),
    }
    Done::Leaves
}

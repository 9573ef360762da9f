//! When nodes were last there: counted in memory each time that somebody looks, and written seldom, so that a list tells it after a
//! restart too. Nothing ends by it: how long a node is away is another count (see `away.rs`).

use super::{
    Ledger,
    book::Node,
    shelf::{Change, Unwritten, node_key},
};
use crate::seam::ConnState;

/// A node that comes and goes is written once in so many seconds.
const EVERY: u64 = 60;
/// And one that stays in so many: thousands of them are written for the case of a crash alone.
const EVERY_OF_LIVE: u64 = 15 * 60;
/// Rows of one write: of a kilobyte at most, and who wants to join waits for the disk meanwhile.
const MOST: usize = 4096;

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    /// What is due.
    Due,
    /// Everything: the process ends.
    All,
}

impl Ledger {
    /// Counts who is there at `now`, and who was since the last look. Answers how many rows were written, all at once.
    ///
    /// # Errors
    /// See [`Unwritten`]; it is tried again at the next look.
    pub fn look(&self, now: i64, writes: Writes) -> Result<usize, Unwritten> {
        let _turn = self.writing.lock();
        let due = self.book.lock().seen(now, |node| is_due(node, now, writes));
        let due: Vec<_> = due.into_iter().take(if writes == Writes::All { usize::MAX } else { MOST }).collect();
        if due.is_empty() {
            return Ok(0);
        }
        let changes: Result<Vec<_>, _> = due.iter().map(|(number, row)| Change::put(node_key(*number), row)).collect();
        self.shelf.write(changes?)?;
        let mut book = self.book.lock();
        let written = due.len();
        due.into_iter().for_each(|(number, row)| book.put_node(number, row));
        Ok(written)
    }
}

/// Whether what is written of a node is too old. A clock that goes back makes it so too.
fn is_due(node: &Node, now: i64, writes: Writes) -> bool {
    let every = match (writes, node.state) {
        (Writes::All, _) => 0,
        (Writes::Due, ConnState::Idle) => EVERY,
        (Writes::Due, _) => EVERY_OF_LIVE,
    };
    node.seen != node.row.seen && node.row.seen.is_none_or(|written| now.abs_diff(written) >= every)
}

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
/// Rows of one look: what is left is the next one's.
const MOST: usize = 4096;
/// Rows of one write: of a kilobyte at most, which take some hundred kilobytes in memory until they are on the disk. Who wants to join waits
/// for one such write, and not for all of them.
const AT_ONCE: usize = 256;

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    /// What is due.
    Due,
    /// Everything: the process ends.
    All,
}

impl Ledger {
    /// Counts who is there at `now`, and who was since the last look. Answers how many rows were written.
    ///
    /// # Errors
    /// See [`Unwritten`]; it is tried again at the next look.
    pub fn look(&self, now: i64, writes: Writes) -> Result<usize, Unwritten> {
        let due = self.book.lock().seen(now, |node| is_due(node, now, writes));
        // At the end there is nobody to wait, and each write takes its time.
        let (most, at_once) = if writes == Writes::All { (due.len(), due.len().max(1)) } else { (MOST, AT_ONCE) };
        due.chunks(at_once).take(most.div_ceil(at_once)).map(|some| self.write_seen(some)).sum()
    }

    /// Writes down when nodes were last there, all at once, as far as there still are such nodes.
    fn write_seen(&self, numbers: &[u64]) -> Result<usize, Unwritten> {
        let _turn = self.writing.lock();
        let rows = self.book.lock().as_seen(numbers);
        if rows.is_empty() {
            return Ok(0);
        }
        let changes: Result<Vec<_>, _> = rows.iter().map(|(number, row)| Change::put(node_key(*number), row)).collect();
        self.shelf.write(changes?)?;
        let (mut book, written) = (self.book.lock(), rows.len());
        rows.into_iter().for_each(|(number, row)| book.put_node(number, row));
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

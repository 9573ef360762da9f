//! Sessions that wait for room in a budget which they share: the node's, or that of a partner's route.
//!
//! First come, first served, by session: whoever is at the front lets in what fits, and only then the next has its turn.
//! Order of locks: a line, then a session. A step within a session only notes that a budget is short; joining the line
//! and serving it come after the session's lock is free, in this order, so no room that comes free in between is missed.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
};

use super::cell::Cell;
use crate::{
    queue::{Budget, Effects, Setting, Short, Turn},
    sync::Mutex,
};

/// A budget and those who wait for it.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) budget: Arc<Budget>,
    waiting: Mutex<VecDeque<Weak<Cell>>>,
}

impl Line {
    pub(crate) fn new(limit: u64) -> Self {
        Self { budget: Budget::new(limit), waiting: Mutex::new(VecDeque::new()) }
    }

    /// Puts a session at the end, unless it stands here already. Answers by how much the line grew.
    pub(crate) fn join(&self, cell: &Arc<Cell>) -> usize {
        let mut waiting = self.waiting.lock();
        if waiting.iter().any(|other| std::ptr::eq(other.as_ptr(), Arc::as_ptr(cell))) {
            return 0;
        }
        waiting.push_back(Arc::downgrade(cell));
        self.budget.set_line(waiting.len());
        1
    }

    /// Lets in what fits, front first. Notes what is to be done for each session that was served, and answers by how much
    /// the line shrank.
    pub(crate) fn serve(&self, mine: &Short, setting: &Setting<'_>, served: &mut Vec<(Arc<Cell>, Effects)>) -> usize {
        if self.budget.line() == 0 {
            return 0;
        }
        let mut gone = 0;
        let mut waiting = self.waiting.lock();
        while let Some(front) = waiting.front() {
            let mut still_short = false;
            if let Some(cell) = front.upgrade() {
                let mut fx = Effects::default();
                cell.session.lock().settle(setting, Turn::Front, &mut fx);
                still_short = fx.short.contains(mine);
                // It stands here already.
                fx.short.retain(|short| short != mine);
                if !fx.wakers.is_empty() || !fx.short.is_empty() {
                    served.push((cell, fx));
                }
            }
            if still_short {
                break;
            }
            waiting.pop_front();
            gone += 1;
            self.budget.set_line(waiting.len());
        }
        gone
    }
}

//! What is left of messages, queues and calls that are gone: payloads to free, waiters to wake, budgets to give back.
//!
//! A release may leave a million messages. A step within a session only puts them here as they lie; they are taken apart
//! with no lock held, a few at a time, so that nobody waits for it.

use std::{collections::VecDeque, sync::Arc};

use super::{
    loan::Loan, message::Message, queues::Queue, room::WaitingPush, row::Row, topics::Topics, waiters::Waiters,
};
use crate::kept::Kept;

/// As many bytes are freed in about the time of a small message.
const PAGES: usize = 64 * 1024;

/// What is left of what is gone.
#[derive(Debug, Default)]
#[allow(clippy::vec_box, reason = "they come in boxes, and are not moved out of them to be freed")]
pub(crate) struct Remains {
    messages: Vec<Box<Message>>,
    rows: Vec<Row>,
    waiters: Vec<Waiters>,
    pushes: Vec<VecDeque<WaitingPush>>,
    queues: Vec<Box<Queue>>,
    topics: Vec<Topics>,
    loans: Vec<Arc<Loan>>,
    /// Records of messages that were taken apart.
    unkept: Vec<Kept>,
}

impl Remains {
    /// A message that is gone. Its room is free at once, its memory later.
    pub(super) fn message(&mut self, mut message: Box<Message>) {
        message.charge.give_back();
        self.messages.push(message);
    }

    pub(super) fn row(&mut self, row: Row) {
        if !row.is_empty() {
            self.rows.push(row);
        }
    }

    /// Calls that were released.
    pub(super) fn waiters(&mut self, waiters: Waiters) {
        if waiters.len() > 0 {
            self.waiters.push(waiters);
        }
    }

    /// Pushes that wait no more.
    pub(super) fn pushes(&mut self, pushes: VecDeque<WaitingPush>) {
        if !pushes.is_empty() {
            self.pushes.push(pushes);
        }
    }

    pub(super) fn topics(&mut self, topics: Topics) {
        if topics.len() > 0 {
            self.topics.push(topics);
        }
    }

    /// Room of which a message did not need all.
    pub(super) fn loan(&mut self, loan: Option<Arc<Loan>>) {
        self.loans.extend(loan);
    }

    /// Puts what is left of another step beside it.
    pub(crate) fn add(&mut self, mut other: Self) {
        self.messages.append(&mut other.messages);
        self.rows.append(&mut other.rows);
        self.waiters.append(&mut other.waiters);
        self.pushes.append(&mut other.pushes);
        self.queues.append(&mut other.queues);
        self.topics.append(&mut other.topics);
        self.loans.append(&mut other.loans);
        self.unkept.append(&mut other.unkept);
    }

    /// The records of the messages that were taken apart so far.
    pub(crate) fn unkept(&mut self) -> Vec<Kept> {
        std::mem::take(&mut self.unkept)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
            && self.rows.is_empty()
            && self.waiters.is_empty()
            && self.pushes.is_empty()
            && self.queues.is_empty()
            && self.topics.is_empty()
            && self.loans.is_empty()
    }

    /// Takes apart what is left: frees messages and wakes calls, until it has done `work` or nothing is left.
    pub(crate) fn bury(&mut self, work: usize) {
        let mut done = 0;
        while done < work {
            match self.bury_one() {
                0 => return,
                some => done += some,
            }
        }
    }

    /// Answers how much work it was; 0 when nothing is left.
    fn bury_one(&mut self) -> usize {
        if let Some(mut message) = self.messages.pop() {
            return self.free(&mut message);
        }
        if self.loans.pop().is_some() {
            return 1;
        }
        if let Some(pushes) = self.pushes.last_mut() {
            match pushes.pop_front() {
                Some(push) => push.waker.wake(),
                None => drop(self.pushes.pop()),
            }
            return 1;
        }
        if let Some(waiters) = self.waiters.last_mut() {
            match waiters.pop() {
                Some(waiter) => waiter.waker.wake(),
                None => drop(self.waiters.pop()),
            }
            return 1;
        }
        if let Some(row) = self.rows.last_mut() {
            if let Some(mut message) = row.pop() {
                return self.free(&mut message);
            }
            self.rows.pop();
            return 1;
        }
        if let Some(mut queue) = self.queues.pop() {
            self.waiters(std::mem::take(&mut queue.waiters));
            self.row(std::mem::take(&mut queue.leased));
            self.rows.extend(std::mem::take(&mut queue.ready).rows());
            return 1;
        }
        match self.topics.last_mut().map(Topics::pop) {
            Some(Some(queue)) => self.queues.push(queue),
            Some(None) => drop(self.topics.pop()),
            None => return 0,
        }
        1
    }

    /// What is to be done before a message is freed. A small one is freed within a microsecond; large ones go back to the system page by page.
    fn free(&mut self, message: &mut Message) -> usize {
        self.unkept.extend(message.kept.take());
        1 + message.draft.payload.len() / PAGES
    }
}

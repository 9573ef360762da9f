//! Pushes that have their room and wait for the disk (design section 6, `store: Disk`).
//!
//! A message enters its queue when its record is on disk, so nobody is given what a crash would take back. Until then its
//! push waits here; whoever writes the log says how it ended. A push that goes away before its record is begun never
//! enters; after that it enters whether somebody waits or not, unless the disk refuses it.

use std::{sync::Arc, task::Waker};

use mesh_core::Topic;

use super::{
    Numbered,
    budget::{Charge, Turn},
    loan::Loan,
    message::{Draft, Landed, Message, Origin},
    room::Coming,
    session::{Effects, Outcome, Session, Setting, Ticket},
};
use crate::{
    kept::{Kept, ToKeep},
    log::{Claim, Keeping, LogError},
};

/// A message with its room on its way to the disk.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) ticket: Ticket,
    pub(crate) topic: Topic,
    pub(crate) draft: Draft,
    pub(crate) charge: Charge,
    pub(crate) record: ToKeep,
    pub(crate) claim: Claim,
    loan: Option<Arc<Loan>>,
}

/// A push that waits for the disk.
#[derive(Debug)]
pub(super) struct WritingPush {
    claim: Claim,
    numbered: Option<Arc<Numbered>>,
    waker: Waker,
}

/// Why a push waits when its time is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lacks {
    /// Room in the budgets.
    Room,
    /// Room on the disk; it never enters.
    Disk,
    /// Nothing: its record is being written.
    Nothing,
}

impl Write {
    /// What a push comes to that has its room, and `record` to be written.
    pub(super) fn new(ticket: Ticket, coming: Coming, charge: Charge, record: ToKeep) -> Self {
        let Coming { topic, draft, loan, .. } = coming;
        Self { ticket, topic, draft, charge, record, claim: Claim::default(), loan }
    }
}

impl Session {
    /// A push has its room, and is written before it enters.
    pub(super) fn write(&mut self, mut write: Write, waker: Waker, fx: &mut Effects) {
        fx.remains.loan(write.loan.take());
        let (ticket, claim) = (write.ticket, write.claim.clone());
        self.calls().writing.insert(ticket, WritingPush { claim, numbered: write.draft.id.clone(), waker });
        fx.writes.push(write);
    }

    /// The message of the push with `ticket` is on disk: it enters. Where the session is closed it goes at once.
    pub(crate) fn landed(
        &mut self,
        ticket: Ticket,
        topic: &Topic,
        landed: Landed,
        setting: &Setting<'_>,
        fx: &mut Effects,
    ) {
        let waiting = self.take_writing(ticket);
        if self.closed {
            let outcome = if self.moved {
                // Whoever owns the session now finds it.
                landed.draft.id.iter().for_each(|numbered| numbered.enters());
                Outcome::Entered
            } else {
                fx.unkept.extend(landed.kept);
                Outcome::Released
            };
            if let Some(waiting) = waiting {
                self.hear(ticket, waiting, outcome, fx);
            }
            return;
        }
        self.restore(topic, landed, setting, fx);
        if let Some(waiting) = waiting {
            self.hear(ticket, waiting, Outcome::Entered, fx);
        }
    }

    /// The record of the push with `ticket` was not written: it never enters. Who withdrew it is about to end its waiting, and knows why.
    pub(crate) fn not_landed(&mut self, ticket: Ticket, why: LogError, setting: &Setting<'_>, fx: &mut Effects) {
        if !why.is_withdrawal()
            && let Some(waiting) = self.take_writing(ticket)
        {
            self.hear(ticket, waiting, Outcome::NotWritten(why), fx);
        }
        self.settle(setting, Turn::Behind, fx);
    }

    /// Puts a message that is on disk into its queue.
    pub(crate) fn restore(&mut self, topic: &Topic, landed: Landed, setting: &Setting<'_>, fx: &mut Effects) {
        let Landed { draft, charge, kept, keeping, since, redelivered } = landed;
        if let Origin::Partner(partner) = &draft.origin {
            self.involve(&partner.clone(), setting.now, fx);
        }
        self.lasts |= keeping == Keeping::UntilRead;
        let message = Message { seq: self.number(), since, redelivered, draft, charge, kept };
        self.arrive(topic, Box::new(message), setting.now, fx);
    }

    /// A record is on disk that lives as long as this session.
    pub(crate) fn keep_record(&mut self, record: Kept, fx: &mut Effects) {
        if self.closed { fx.unkept.push(record) } else { self.records.get_or_insert_default().push(record) }
    }

    /// What the push with `ticket` lacks when its time is up. One whose record is not begun is withdrawn by that.
    pub(crate) fn lacks(&self, ticket: Ticket) -> Lacks {
        match self.calls.as_ref().and_then(|calls| calls.writing.get(&ticket)) {
            None => Lacks::Room,
            Some(push) if push.claim.withdraw() => Lacks::Disk,
            Some(_) => Lacks::Nothing,
        }
    }

    /// Whether the push with `ticket` waited for the disk, and does so no more. It never enters unless it is being written.
    pub(super) fn give_up_writing(&mut self, ticket: Ticket) -> bool {
        let Some(push) = self.take_writing(ticket) else { return false };
        if let (false, Some(numbered)) = (push.claim.withdraw(), &push.numbered) {
            // The disk has not said yet whether it enters: until then no repeat is told that it did, nor tries it itself.
            numbered.leave();
        }
        true
    }

    pub(super) fn writing_waker(&mut self, ticket: Ticket) -> Option<&mut Waker> {
        self.calls.as_mut()?.writing.get_mut(&ticket).map(|push| &mut push.waker)
    }

    fn take_writing(&mut self, ticket: Ticket) -> Option<WritingPush> {
        self.calls.as_mut()?.writing.remove(&ticket)
    }

    fn hear(&mut self, ticket: Ticket, push: WritingPush, outcome: Outcome, fx: &mut Effects) {
        self.calls().outcomes.insert(ticket, outcome);
        fx.wakers.push(push.waker);
    }
}

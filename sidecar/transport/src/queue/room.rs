//! Pushes that wait for room, in order of arrival (PTP section 9.2, decision D9).
//!
//! The order is strict where the session or the node is short: nobody overtakes, so a large message is not starved by
//! small ones. A push that only its own route's bound holds back stops that route and the pushes behind it on the same
//! topic, and nobody else.

use std::{collections::HashSet, sync::Arc, task::Waker};

use mesh_core::{NodeId, Topic};

use super::{
    budget::{Budget, Charge, Permit, Turn},
    keys::Keys,
    loan::Loan,
    message::{Draft, Origin},
    session::{Effects, Outcome, Session, Setting, Short, Ticket},
    writing::Write,
};
use crate::kept::ToKeep;

/// A message that is to be pushed.
#[derive(Debug)]
pub(crate) struct Coming {
    pub(crate) topic: Topic,
    pub(crate) draft: Draft,
    /// What bounds the partner, where a partner pushes.
    pub(crate) route: Option<Arc<Budget>>,
    /// Room that its body has already.
    pub(crate) loan: Option<Arc<Loan>>,
    /// What is written to the log before it enters; `None` where it is kept in memory only.
    pub(crate) record: Option<ToKeep>,
}

/// A push that waits for room.
#[derive(Debug)]
pub(crate) struct WaitingPush {
    pub(super) ticket: Ticket,
    pub(super) coming: Coming,
    pub(super) waker: Waker,
}

/// What a push lacks.
enum Lack {
    Session,
    Node,
    Route(NodeId),
}

impl Session {
    /// Lets in, in order, the waiting pushes for which there is room now; one alone where this session has its turn in a
    /// line for room. Answers whether others still wait.
    pub(crate) fn settle(&mut self, setting: &Setting<'_>, turn: Turn, fx: &mut Effects) -> bool {
        let (mut i, mut stopped) = (0, Stopped::default());
        while let Some(push) = self.calls.as_ref().and_then(|calls| calls.room.get(i)) {
            if stopped.holds(&push.coming) {
                i += 1;
                continue;
            }
            match self.take_room(&push.coming, setting, turn) {
                Ok(charge) => {
                    if let Some(push) = self.calls().room.remove(i) {
                        self.let_in(push, charge, setting, fx);
                    }
                    if turn == Turn::Front {
                        break;
                    }
                }
                Err(Lack::Session) => break,
                Err(Lack::Node) => {
                    fx.short.push(Short::Node(push.coming.draft.origin.clone()));
                    break;
                }
                Err(Lack::Route(partner)) => {
                    stopped.stop(partner.clone(), push.coming.topic.clone());
                    fx.short.push(Short::Route(partner));
                    i += 1;
                }
            }
        }
        self.calls.as_ref().is_some_and(|calls| !calls.room.is_empty())
    }

    /// A push has its room.
    pub(super) fn let_in(&mut self, push: WaitingPush, charge: Charge, setting: &Setting<'_>, fx: &mut Effects) {
        let WaitingPush { ticket, mut coming, waker } = push;
        if let Some(record) = coming.record.take() {
            self.write(Write::new(ticket, coming, charge, record), waker, fx);
            return;
        }
        self.calls().outcomes.insert(ticket, Outcome::Entered);
        fx.wakers.push(waker);
        self.enter(coming, charge, setting.now, fx);
    }

    /// Whether there is room at once, with nobody waiting before.
    pub(super) fn room_at_once(&self, coming: &Coming, setting: &Setting<'_>) -> Option<Charge> {
        let nobody_waits = self.calls.as_ref().is_none_or(|calls| calls.room.is_empty());
        if nobody_waits { self.take_room(coming, setting, Turn::Behind).ok() } else { None }
    }

    /// Wakes the waiting pushes that a release reaches.
    pub(super) fn release_pushes(&mut self, chosen: impl Fn(&Coming) -> bool, fx: &mut Effects) {
        let Some(calls) = self.calls.as_mut().filter(|calls| !calls.room.is_empty()) else { return };
        let (gone, kept) = std::mem::take(&mut calls.room).into_iter().partition(|push| chosen(&push.coming));
        calls.room = kept;
        fx.remains.pushes(gone);
    }

    fn take_room(&self, coming: &Coming, setting: &Setting<'_>, turn: Turn) -> Result<Charge, Lack> {
        let bytes = coming.draft.cost();
        let lacking = bytes.saturating_sub(coming.loan.as_ref().map_or(0, |loan| loan.bytes()));
        let route = match (&coming.route, &coming.draft.origin) {
            (Some(route), Origin::Partner(partner)) => {
                Some(take(route, lacking, turn).ok_or_else(|| Lack::Route(partner.clone()))?)
            }
            _ => None,
        };
        let bounds = &setting.bounds;
        if self.load.bytes + bytes > bounds.session_bytes || self.load.messages >= bounds.session_messages {
            return Err(Lack::Session);
        }
        let node = take(setting.node, lacking, turn).ok_or(Lack::Node)?;
        let lent = coming.loan.as_ref().map(|loan| loan.give(bytes - lacking));
        let (node, route) = match lent {
            None => (node, route),
            Some((lent, lent_route)) => (joined(lent, node), join(lent_route, route)),
        };
        Ok(Charge::new(bytes, node, route))
    }
}

/// Takes what a loan does not cover; nothing of nothing, whoever stands in line.
fn take(budget: &Arc<Budget>, bytes: u64, turn: Turn) -> Option<Permit> {
    budget.take(bytes, if bytes == 0 { Turn::Front } else { turn })
}

fn joined(mut a: Permit, b: Permit) -> Permit {
    a.absorb(b);
    a
}

fn join(a: Option<Permit>, b: Option<Permit>) -> Option<Permit> {
    match (a, b) {
        (Some(a), Some(b)) => Some(joined(a, b)),
        (a, b) => a.or(b),
    }
}

/// What may not be overtaken in one pass over the waiting pushes.
#[derive(Default)]
struct Stopped {
    partners: HashSet<NodeId, Keys>,
    topics: HashSet<Topic, Keys>,
}

impl Stopped {
    fn stop(&mut self, partner: NodeId, topic: Topic) {
        self.partners.insert(partner);
        self.topics.insert(topic);
    }

    fn holds(&self, coming: &Coming) -> bool {
        let of_partner = match &coming.draft.origin {
            Origin::Partner(partner) => self.partners.contains(partner),
            Origin::Application => false,
        };
        of_partner || self.topics.contains(&coming.topic)
    }
}

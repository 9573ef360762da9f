//! Pushes that wait for room, in order of arrival (PTP section 9.2, decision D9).
//!
//! The order is strict where the session or the node is short: nobody overtakes, so a large message is not starved by
//! small ones. A push that only its own route's bound holds back stops that route and the pushes behind it on the same
//! topic, and nobody else.

use std::{sync::Arc, task::Waker};

use mesh_core::{NodeId, Topic};

use super::{
    budget::{Budget, Turn},
    message::{Charge, Draft, Origin},
    session::{Effects, Outcome, Session, Setting, Short, Ticket},
};

/// A message that is to be pushed.
#[derive(Clone, Debug)]
pub(crate) struct Coming {
    pub(crate) topic: Topic,
    pub(crate) draft: Draft,
    /// What bounds the partner, where a partner pushes.
    pub(crate) route: Option<Arc<Budget>>,
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
    /// Lets in, in order, the waiting pushes for which there is room now. `turn`: whether this session stands at the
    /// front of a line for room.
    pub(crate) fn settle(&mut self, setting: &Setting<'_>, turn: Turn, fx: &mut Effects) {
        let (mut i, mut stopped) = (0, Stopped::default());
        while let Some(push) = self.room.get(i) {
            if stopped.holds(&push.coming) {
                i += 1;
                continue;
            }
            match self.take_room(&push.coming, setting, turn) {
                Ok(charge) => {
                    if let Some(push) = self.room.remove(i) {
                        self.outcomes.insert(push.ticket, Outcome::Entered);
                        fx.wakers.push(push.waker);
                        self.enter(push.coming.topic, push.coming.draft, charge, setting.now, fx);
                    }
                }
                Err(Lack::Session) => break,
                Err(Lack::Node) => {
                    fx.short.push(Short::Node);
                    break;
                }
                Err(Lack::Route(partner)) => {
                    fx.short.push(Short::Route(partner.clone()));
                    stopped.stop(partner, push.coming.topic.clone());
                    i += 1;
                }
            }
        }
    }

    /// Whether there is room at once, with nobody waiting before.
    pub(super) fn room_at_once(&self, coming: &Coming, setting: &Setting<'_>) -> Option<Charge> {
        if self.room.is_empty() { self.take_room(coming, setting, Turn::Behind).ok() } else { None }
    }

    fn take_room(&self, coming: &Coming, setting: &Setting<'_>, turn: Turn) -> Result<Charge, Lack> {
        let bytes = coming.draft.cost();
        let route = match (&coming.route, &coming.draft.origin) {
            (Some(route), Origin::Partner(partner)) => {
                Some(route.take(bytes, turn).ok_or_else(|| Lack::Route(partner.clone()))?)
            }
            _ => None,
        };
        let bounds = &setting.bounds;
        if self.bytes + bytes > bounds.session_bytes || self.messages >= bounds.session_messages {
            return Err(Lack::Session);
        }
        let node = setting.node.take(bytes, turn).ok_or(Lack::Node)?;
        Ok(Charge { bytes, _node: node, _route: route })
    }
}

/// What may not be overtaken in one pass over the waiting pushes.
#[derive(Default)]
struct Stopped {
    partners: Vec<NodeId>,
    topics: Vec<Topic>,
}

impl Stopped {
    fn stop(&mut self, partner: NodeId, topic: Topic) {
        self.partners.push(partner);
        self.topics.push(topic);
    }

    fn holds(&self, coming: &Coming) -> bool {
        let of_partner = match &coming.draft.origin {
            Origin::Partner(partner) => self.partners.contains(partner),
            Origin::Application => false,
        };
        of_partner || self.topics.contains(&coming.topic)
    }
}

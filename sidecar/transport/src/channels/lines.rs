//! All lines for room: the node's, and one for each partner that has pushed (`maxQueuedBytes`).

use std::{collections::HashMap, sync::Arc};

use mesh_core::{NodeId, Route};

use super::{
    cell::Cell,
    claim::Claim,
    journal::Journal,
    line::{Line, Served},
};
use crate::{
    queue::{Budget, Charge, Draft, Origin, Setting, Short},
    sync::{AtomicUsize, Mutex, Ordering},
};

/// All lines for room.
#[derive(Debug)]
pub(crate) struct Lines {
    node: Line,
    routes: Mutex<HashMap<NodeId, Arc<Line>>>,
    /// How many stand in any line: one look tells nearly every step that it need not go on.
    waiting: AtomicUsize,
}

impl Lines {
    pub(crate) fn new(total: u64) -> Self {
        Self { node: Line::new(total), routes: Mutex::default(), waiting: AtomicUsize::new(0) }
    }

    /// The node's budget.
    pub(crate) fn node(&self) -> &Arc<Budget> {
        &self.node.budget
    }

    /// Puts the node's bound in force.
    pub(crate) fn set_limit(&self, total: u64) {
        if self.node.budget.limit() != total {
            self.node.budget.set_limit(total);
        }
    }

    /// The budget of a route, with its bound in force.
    pub(crate) fn of(&self, route: &Route, limit: u64) -> Arc<Budget> {
        let mut routes = self.routes.lock();
        let line = routes.entry(route.node_id.clone()).or_insert_with(|| Arc::new(Line::new(limit)));
        line.budget.set_limit(limit);
        Arc::clone(&line.budget)
    }

    pub(crate) fn nobody_waits(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) == 0
    }

    /// Puts a session into the line of what it is short of.
    pub(crate) fn join(&self, short: &Short, cell: &Arc<Cell>) {
        let grown = match short {
            Short::Node(who) => self.node.join(cell, who),
            // Within a route's line everything is the partner's: turns go by session.
            Short::Route(partner) => self.route(partner).map_or(0, |line| line.join(cell, &Origin::Application)),
        };
        self.waiting.fetch_add(grown, Ordering::SeqCst);
    }

    /// Puts a claim into the line of what it is short of.
    pub(crate) fn join_claim(&self, short: &Short, claim: &Arc<Claim>) {
        let grown = match short {
            Short::Node(_) => self.node.join_claim(claim),
            Short::Route(partner) => self.route(partner).map_or(0, |line| line.join_claim(claim)),
        };
        self.waiting.fetch_add(grown, Ordering::SeqCst);
    }

    /// Serves all lines.
    pub(crate) fn serve(&self, setting: &Setting<'_>, journal: &Journal) -> Served {
        let mut served = Served::default();
        self.node.serve(|short| matches!(short, Short::Node(_)), setting, journal, &mut served);
        let routes: Vec<_> = {
            let routes = self.routes.lock();
            let waited_for = routes.iter().filter(|(_, line)| line.budget.line() > 0);
            waited_for.map(|(id, line)| (id.clone(), Arc::clone(line))).collect()
        };
        for (partner, line) in routes {
            let is_mine = |short: &Short| matches!(short, Short::Route(other) if *other == partner);
            line.serve(is_mine, setting, journal, &mut served);
        }
        self.waiting.fetch_sub(served.gone, Ordering::SeqCst);
        served
    }

    /// The charge of a message that was here before the node was started again, whether there is room for it or not.
    pub(crate) fn charge_again(&self, draft: &Draft, route: Option<&Route>) -> Charge {
        let route = route.map(|route| self.of(route, u64::MAX));
        Charge::anyway(draft.cost(), self.node(), route.as_ref())
    }

    /// Forgets the lines of routes that hold nothing.
    pub(crate) fn sweep(&self) {
        self.routes
            .lock()
            .retain(|_, line| line.budget.line() > 0 || line.budget.used() > 0 || Arc::strong_count(&line.budget) > 1);
    }

    fn route(&self, partner: &NodeId) -> Option<Arc<Line>> {
        self.routes.lock().get(partner).map(Arc::clone)
    }
}

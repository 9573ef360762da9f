//! All lines for room: the node's, and one for each partner that has pushed (`maxQueuedBytes`).

use std::{collections::HashMap, sync::Arc};

use mesh_core::{NodeId, Route};

use super::{cell::Cell, line::Line};
use crate::{
    queue::{Budget, Effects, Setting, Short},
    sync::{AtomicUsize, Mutex, Ordering},
};

/// All lines for room.
#[derive(Debug)]
pub(crate) struct Lines {
    node: Line,
    routes: Mutex<HashMap<NodeId, Arc<Line>>>,
    /// How many sessions stand in any line: one look tells nearly every step that it need not go on.
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
            Short::Node => self.node.join(cell),
            Short::Route(partner) => self.route(partner).map_or(0, |line| line.join(cell)),
        };
        self.waiting.fetch_add(grown, Ordering::SeqCst);
    }

    /// Serves all lines. Answers what is to be done for each session that was served.
    pub(crate) fn serve(&self, setting: &Setting<'_>) -> Vec<(Arc<Cell>, Effects)> {
        let mut served = Vec::new();
        let mut gone = self.node.serve(&Short::Node, setting, &mut served);
        let routes: Vec<_> = self.routes.lock().iter().map(|(id, line)| (id.clone(), Arc::clone(line))).collect();
        for (partner, line) in routes {
            gone += line.serve(&Short::Route(partner), setting, &mut served);
        }
        self.waiting.fetch_sub(gone, Ordering::SeqCst);
        served
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

//! The grid's line: what it says to other gateways goes there as bytes, and what they say comes from there. Nothing is decided here.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use mesh_backplane::{Fabric, Inward, Standing};
use mesh_grid::{Answer, Backplane, Grid, Ids, Lease, NodeNumber, Notice, Question};
use tokio::sync::watch;

use super::{
    BackplanePlace, GRID,
    copies::{Kept, OfGrid},
};

impl BackplanePlace {
    /// A grid among those of the other gateways, which hears them once the lines are open; `None`: this gateway is alone.
    pub(in super::super) fn grid(&self, config: &crds::Grid, name: &str, shards: usize) -> Option<Arc<Grid>> {
        let joined = self.joined.get()?;
        let line = joined.lines.line(GRID);
        let number = NodeNumber::new(line.number())?;
        let ids = Ids::leased(number, joined.nats.ids_from(), Arc::new(OfNumber(joined.standing.clone())));
        let others = Arc::new(Others(Arc::clone(&line)));
        let grid = Arc::new(Grid::among(config, (number, name), ids, shards, others));
        let copies = Arc::<Kept>::default();
        grid.copied_by(Arc::new(OfGrid(Arc::clone(&copies))));
        // There is one grid.
        let _ = self.copies.set((copies, Arc::downgrade(&grid)));
        line.serve(Arc::new(Here(Arc::downgrade(&grid))));
        Some(grid)
    }
}

/// The lease of this gateway's number.
#[derive(Debug)]
struct OfNumber(watch::Receiver<Standing>);

impl Lease for OfNumber {
    fn until_ms(&self) -> Option<u64> {
        let standing = self.0.borrow();
        (!standing.is_fenced).then_some(standing.ids_until)
    }
}

/// The way to the others.
#[derive(Debug)]
struct Others(Arc<dyn Fabric>);

impl Backplane for Others {
    fn nodes(&self) -> Vec<NodeNumber> {
        self.0.others().into_iter().filter_map(NodeNumber::new).collect()
    }

    fn ask(&self, node: NodeNumber, question: Question) -> BoxFuture<'static, Option<Answer>> {
        let answer = self.0.ask(node.get(), question.write());
        async { Answer::read(answer.await?) }.boxed()
    }

    fn tell(&self, node: NodeNumber, notice: Notice) {
        self.0.tell(node.get(), notice.write());
    }
}

/// The grid, as the others see it.
struct Here(Weak<Grid>);

impl Here {
    fn with(&self, number: u16, work: impl FnOnce(&Grid, NodeNumber)) {
        if let (Some(grid), Some(node)) = (self.0.upgrade(), NodeNumber::new(number)) {
            work(&grid, node);
        }
    }
}

impl Inward for Here {
    /// What is not understood is answered by nothing, which the other one takes for no answer.
    fn asked(&self, _: u16, question: Bytes) -> Bytes {
        let answer = Question::read(question).zip(self.0.upgrade()).map(|(question, grid)| grid.asked(question));
        answer.map_or_else(Bytes::new, |answer| answer.write())
    }

    fn told(&self, from: u16, notice: Bytes) {
        match Notice::read(notice) {
            Some(notice) => self.with(from, |grid, node| grid.told(node, notice)),
            None => tracing::debug!(from, "what another gateway tells the grid is of no version that is known here"),
        }
    }

    fn joined(&self, number: u16) {
        self.with(number, Grid::joined);
    }

    fn left(&self, number: u16) {
        self.with(number, Grid::left);
    }
}

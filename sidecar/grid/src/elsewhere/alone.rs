//! The embedded backplane: one process, everything in its memory, and nobody else (Grid section 7).

use futures::future::{BoxFuture, FutureExt as _, ready};

use super::{Answer, Backplane, Notice, Question};
use crate::NodeNumber;

/// There are no other nodes.
#[derive(Debug)]
pub(crate) struct Alone;

impl Backplane for Alone {
    fn nodes(&self) -> Vec<NodeNumber> {
        Vec::new()
    }

    fn ask(&self, _: NodeNumber, _: Question) -> BoxFuture<'static, Option<Answer>> {
        ready(None).boxed()
    }

    fn tell(&self, _: NodeNumber, _: Notice) {}
}

mod addresses;
mod bundles;
mod certificates;
mod failures;
mod kinds;
mod no_nodes;
mod pools;

use std::sync::Arc;

use crate::testing::{A, B, Running, institution};

/// A node, and a partner that calls it.
fn pair() -> (Running, Arc<Running>) {
    let (a, b) = (institution(A), institution(B));
    let server = Running::start(a.parts(vec![b.route()]));
    let client = Running::start(b.parts(vec![a.route_at(&[server.address])]));
    (server, Arc::new(client))
}

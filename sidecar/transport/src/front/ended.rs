//! The orderly end as the channels' callers see it (design section 6, SIGTERM): what is refused from when on, so that nothing is given out
//! that nobody can settle here, and nothing is taken that would go with the process.

use std::time::Duration;

use mesh_core::Caller;
use tokio::time::timeout;

use super::{
    Front,
    call::Operation,
    exchange::{Exchange, Party},
    peers::Peers,
};
use crate::TransportError;

/// What readers get to fetch what only memory has, in which pushes wait for the next process: a third of what a push waits by default.
const LAST_READS: Duration = Duration::from_secs(3);
/// Nobody reads any more where nothing was read for so long: who was told to come again does so within a tenth of it.
const NOBODY: Duration = Duration::from_secs(1);

impl<P: Peers> Front<P> {
    /// Waits, when every call that waited was answered as the node ends, until other nodes have said what became of the messages that they
    /// have; for `limit` at most. Then the node gives nothing out to nodes any more, and takes nothing that would go with it.
    pub async fn leases_ended(&self, limit: Duration) {
        let Exchange { channels, leases, .. } = &self.exchange;
        // The next process has what is unread, and is there to hear what became of it.
        if self.exchange.outlives() {
            channels.give_no_more();
        }
        if timeout(limit, leases.ended()).await.is_err() {
            tracing::warn!("other nodes still have messages of this one: they may be given out again");
        }
        if !self.exchange.outlives() {
            channels.take_no_more();
            // Readers that were told to come again come again.
            let _ = timeout(LAST_READS, channels.read_on(NOBODY)).await;
            channels.give_no_more();
        }
    }
}

impl<P: Peers> Exchange<P> {
    /// What a call comes to as the node ends: nothing yet, the answer that there is no message, or a refusal. Only nodes of our kind, who
    /// ask the process that comes next.
    pub(super) fn ended(&self, operation: &Operation, party: &Party) -> Option<Result<(), TransportError>> {
        if !self.channels.is_ending() || !party.caller.is_node() {
            return None;
        }
        // Another gateway gives every push an id, and repeats it by itself.
        let is_repeated = party.context.message_id.is_some() || matches!(party.caller, Caller::Gateway);
        match operation {
            Operation::Push { .. } if is_repeated && self.channels.takes_nothing() => Some(Err(TransportError::Ends)),
            Operation::Pop if party.lease().is_some() && self.channels.gives_nothing() => Some(Ok(())),
            _ => None,
        }
    }

    /// Whether what is unread is there when this process has ended, whatever `MESH_HOME` stands on.
    fn outlives(&self) -> bool {
        self.live.load().transport.store == crds::Store::Disk
    }
}

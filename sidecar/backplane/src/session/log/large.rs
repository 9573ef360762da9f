//! A record that is larger than a message of NATS, on its way into the log: its pieces first, then the batch that names them. Where
//! the batch does not land, the pieces go.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Inner, When,
    wish::{Landed, Wish},
};
use crate::session::{
    batch::{Body, Pieces},
    error::SessionError,
    pieces,
};

/// The place that the pieces of a record take in memory until they are written.
pub(super) struct Large {
    inner: Arc<Inner>,
    bytes: usize,
}

impl Large {
    /// Of a record of so many bytes; `None`: too much waits already.
    pub(super) fn of(inner: &Arc<Inner>, bytes: usize) -> Option<Self> {
        let takes = inner.state.lock().wishes.takes(bytes);
        takes.then(|| Self { inner: Arc::clone(inner), bytes })
    }

    /// Writes the pieces, and has the batch written that names them.
    pub(super) async fn append(self, record: Bytes, landed: Landed) {
        let name = match pieces::name() {
            Ok(name) => name,
            Err(why) => return landed(Err(why)),
        };
        let inner = Arc::clone(&self.inner);
        let written = self.write(name, record).await;
        let landed = or_purged(&inner, name, landed);
        match written {
            Ok(pieces) => inner.wants(Wish::Append { body: Body::Pieces(pieces), begin: None, landed }, When::Now),
            Err(why) => landed(Err(why)),
        }
    }

    /// Writes the pieces; what they took in memory is free then.
    async fn write(self, name: u64, record: Bytes) -> Result<Pieces, SessionError> {
        let Inner { shelf, session, moved, .. } = &*self.inner;
        tokio::select! {
            written = pieces::write(shelf, session, name, record) => written,
            () = moved.cancelled() => Err(SessionError::Moved),
        }
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        self.inner.state.lock().wishes.frees(self.bytes);
    }
}

/// Purges the pieces of that name where no batch names them, and then tells `landed`. Where nobody knows, whoever opens the log next
/// finds out.
fn or_purged(inner: &Arc<Inner>, name: u64, landed: Landed) -> Landed {
    let inner = Arc::clone(inner);
    Box::new(move |result| {
        if result.as_ref().is_err_and(|why| *why != SessionError::Unsure) {
            tokio::spawn(async move {
                // In vain: whoever opens the log next finds that nothing names them.
                let _ = pieces::purge(&inner.shelf, &inner.session, name, None).await;
            });
        }
        landed(result);
    })
}

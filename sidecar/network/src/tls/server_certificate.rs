//! What a client is shown: the leaf of the snapshot in force. A swap touches new handshakes only.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwapOption;
use mesh_core::{Leaf, Live};
use rustls::{
    crypto::ring::sign::any_supported_type,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

pub(super) struct LiveLeaf {
    live: Arc<Live>,
    /// The key as ring wants it, made once for each leaf.
    ready: ArcSwapOption<Ready>,
}

struct Ready {
    leaf: Arc<Leaf>,
    certified: Arc<CertifiedKey>,
}

impl LiveLeaf {
    pub(super) fn new(live: Arc<Live>) -> Self {
        Self { live, ready: ArcSwapOption::empty() }
    }

    fn current(&self) -> Option<Arc<CertifiedKey>> {
        let leaf = Arc::clone(&self.live.load().node.leaf);
        if let Some(ready) = self.ready.load().as_ref().filter(|ready| Arc::ptr_eq(&ready.leaf, &leaf)) {
            return Some(Arc::clone(&ready.certified));
        }
        match certified(&leaf) {
            Ok(certified) => {
                self.ready.store(Some(Arc::new(Ready { leaf, certified: Arc::clone(&certified) })));
                Some(certified)
            }
            Err(e) => {
                tracing::error!("the node's leaf cannot be used for TLS, handshakes fail until it is replaced: {e}");
                None
            }
        }
    }
}

/// A leaf as rustls takes it.
pub(crate) fn certified(leaf: &Leaf) -> Result<Arc<CertifiedKey>, rustls::Error> {
    Ok(Arc::new(CertifiedKey::new(leaf.chain.clone(), any_supported_type(&leaf.key)?)))
}

impl ResolvesServerCert for LiveLeaf {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current()
    }
}

impl fmt::Debug for LiveLeaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LiveLeaf")
    }
}

//! The registry's line: live registrations, as it tells them to the other gateways and hears of theirs.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use mesh_backplane::{Fabric, Inward};
use mesh_registry::{Others, Registry};

use super::{BackplanePlace, REGISTRY};

impl BackplanePlace {
    /// What is registered with one gateway is routed by all, once the lines are open.
    pub(in super::super) fn share(&self, registry: &Arc<Registry>) {
        let Some(joined) = self.joined.get() else { return };
        let line = joined.lines.line(REGISTRY);
        registry.share(Arc::new(Gateways(Arc::clone(&line))));
        line.serve(Arc::new(Here(Arc::downgrade(registry))));
    }
}

/// The way to the others.
#[derive(Debug)]
struct Gateways(Arc<dyn Fabric>);

impl Others for Gateways {
    fn gateways(&self) -> Vec<u16> {
        self.0.others()
    }

    fn tell(&self, gateway: u16, news: Bytes) {
        self.0.tell(gateway, news);
    }
}

/// The registry, as the others see it.
struct Here(Weak<Registry>);

impl Inward for Here {
    /// Nothing is asked.
    fn asked(&self, _: u16, _: Bytes) -> Bytes {
        Bytes::new()
    }

    fn told(&self, from: u16, notice: Bytes) {
        if let Some(registry) = self.0.upgrade() {
            registry.told(from, &notice);
        }
    }

    fn joined(&self, number: u16) {
        if let Some(registry) = self.0.upgrade() {
            registry.joined(number);
        }
    }

    /// Registrations go by their time, not with their gateway.
    fn left(&self, _: u16) {}
}

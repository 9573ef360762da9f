//! A room that notes what it hears, and answers.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use bytes::Bytes;
use mesh_backplane::{Fabric, Inward};
use parking_lot::Mutex;

/// How long something may take that is to happen: far more than it does, as the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// What one gateway's room has heard.
#[derive(Debug, Default)]
pub(crate) struct Room {
    heard: Mutex<Vec<Heard>>,
}

/// One thing that it has heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Told(u16, Bytes),
    Joined(u16),
    Left(u16),
}

impl Inward for Room {
    fn asked(&self, from: u16, question: Bytes) -> Bytes {
        [format!("{from}: ").as_bytes(), &question].concat().into()
    }

    fn told(&self, from: u16, notice: Bytes) {
        self.heard.lock().push(Heard::Told(from, notice));
    }

    fn joined(&self, number: u16) {
        self.heard.lock().push(Heard::Joined(number));
    }

    fn left(&self, number: u16) {
        self.heard.lock().push(Heard::Left(number));
    }
}

impl Room {
    /// A room of `fabric`.
    pub(crate) fn of(fabric: &dyn Fabric) -> Arc<Self> {
        let room = Arc::new(Self::default());
        fabric.serve(Arc::clone(&room) as Arc<dyn Inward>);
        room
    }

    pub(crate) fn forget(&self) {
        self.heard.lock().clear();
    }

    /// How often it was told something by `from` since that one last joined.
    pub(crate) fn told_by(&self, from: u16) -> Vec<Bytes> {
        let heard = self.heard.lock();
        let since = heard.iter().rposition(|one| *one == Heard::Joined(from)).map_or(0, |at| at + 1);
        let told = heard[since..].iter().filter_map(|one| match one {
            Heard::Told(by, notice) if *by == from => Some(notice.clone()),
            _ => None,
        });
        told.collect()
    }

    pub(crate) async fn hears(&self, what: &Heard) -> Result<()> {
        until(&format!("{what:?} to be heard"), || self.heard.lock().contains(what)).await
    }
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is: impl FnMut() -> bool) -> Result<()> {
    let start = std::time::Instant::now();
    while !is() {
        ensure!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

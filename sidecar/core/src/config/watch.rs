//! Keeps the configuration current: follows the directory, and renews a standalone node's leaf.
//!
//! The link `..data` is read twice a second, which costs one system call of about a microsecond; a watch by inotify would
//! cost a thread and a dependency, and would miss a mount that is replaced. Everything else about the directory is
//! looked at every five seconds, for those who copy files into a plain directory.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::time::{MissedTickBehavior, interval};

use super::Keeper;
use crate::{Drained, ProtocolError};

/// A change shall be in force within a second of its arrival.
const LINK: Duration = Duration::from_millis(500);

/// The other changes: 5 to 10 s is what careful readers of mounted volumes use.
const LOOK: Duration = Duration::from_secs(5);

/// Leaves live for hours at the least. The wall clock is asked, because timers drift while a machine sleeps.
const RENEW: Duration = Duration::from_secs(60);

impl Keeper {
    /// Runs until the end is asked for.
    pub async fn watch(self: Arc<Self>, drained: Drained) {
        let mut tick = interval(LINK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut looked, mut renewed) = (Instant::now(), Instant::now());
        loop {
            tokio::select! {
                () = drained.asked() => return,
                _ = tick.tick() => {}
            }
            if self.follows_directory() && (self.link_moved() || looked.elapsed() >= LOOK) {
                looked = Instant::now();
                self.blocking_step(Keeper::look).await;
            }
            if renewed.elapsed() >= RENEW {
                renewed = Instant::now();
                self.blocking_step(Keeper::renew_now).await;
            }
        }
    }

    fn renew_now(&self) {
        if let Err(error) = self.renew(SystemTime::now()) {
            tracing::error!(code = %error.code(), "the node's certificate could not be renewed, the old one serves on: {error}");
        }
    }

    /// Reading and signing block; they are not for a worker that serves connections.
    async fn blocking_step(self: &Arc<Self>, step: fn(&Keeper)) {
        let keeper = Arc::clone(self);
        if let Err(error) = tokio::task::spawn_blocking(move || step(&keeper)).await {
            tracing::error!("a look at the configuration failed: {error}");
        }
    }
}

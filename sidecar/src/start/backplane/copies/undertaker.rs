//! Copies that are not needed any more: they are removed, many at a time, and an estate of another gateway in which there is none left
//! is given back. Whoever is late with it makes a repeat, if this gateway is lost meanwhile, and no loss.

use std::{sync::Arc, time::Duration};

use mesh_backplane::{SessionError, Sessions};
use tokio::time::sleep;

use super::{Kept, Open, stands::Opening};

/// The servers are away, or too much waits for them.
const AGAIN: Duration = Duration::from_secs(1);

impl Kept {
    /// Removes what is over, as long as this gateway is there.
    pub(super) async fn bury(self: Arc<Self>, sessions: Sessions) {
        loop {
            self.over.notified().await;
            self.remove().await;
            let done = self.state.lock().stands.done();
            for opening in done {
                self.give_back(&sessions, opening).await;
            }
        }
    }

    async fn remove(&self) {
        let all = self.state.lock().stands.over();
        for (opening, places) in all {
            let log = self.state.lock().open.get(&opening).map(|open| open.log.clone());
            let Some(log) = log else { continue };
            match log.consume(&places).await {
                Err(SessionError::Away(_) | SessionError::Full(_)) => {
                    self.state.lock().stands.stays(opening, places);
                    sleep(AGAIN).await;
                    self.over.notify_one();
                }
                // Another owner gives them out again, if it is that.
                Ok(()) | Err(_) => self.state.lock().stands.removed(opening, places.len()),
            }
        }
    }

    /// Gives an estate back in which there is nothing.
    async fn give_back(&self, sessions: &Sessions, opening: Opening) {
        let open = {
            let mut state = self.state.lock();
            state.stands.closes(opening);
            state.open.remove(&opening)
        };
        let Some(Open { estate, log, hold }) = open else { return };
        // What is held is not given back.
        drop(hold);
        if let Err(why) = sessions.give_estate_back(estate, log).await {
            tracing::debug!(estate, "an estate in which there is nothing stays ours for now: {why}");
        }
    }
}

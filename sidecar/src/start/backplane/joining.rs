//! The start of a gateway that has a backplane: the servers are tried until they take it. It waits, and ends for none of their faults:
//! what is wrong may be mended in the configuration meanwhile, which is read anew for each try.

use std::{sync::Arc, time::Duration};

use mesh_backplane::{BackplaneError, Fabric, Lines, Nats, Settings};
use tokio::time::{sleep, timeout};

use super::{BackplanePlace, Joined, Wanted};

/// After a try in vain; it doubles.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Servers that come back are found within this time.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Each step of a try has a limit of its own; together they take no longer, but where a thousand numbers are taken.
const TRY: Duration = Duration::from_secs(60);

impl BackplanePlace {
    /// Joins the others under the name that people call this one, if the configuration has a backplane.
    pub(in super::super) async fn join(&self, name: &str) {
        let mut pause = FIRST_PAUSE;
        loop {
            let snapshot = self.live.snapshot();
            let Some(with) = Wanted::of(&snapshot) else { break };
            let problem = match self.attempt(with, snapshot.node.node_id.as_str(), name).await {
                Ok(()) => break,
                Err(problem) => problem,
            };
            let before = self.waits.lock().replace(problem.clone());
            if before.as_ref() != Some(&problem) {
                tracing::error!("this gateway serves nothing before it has joined the others: {problem}");
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        *self.waits.lock() = None;
    }

    async fn attempt(&self, with: Wanted, node_id: &str, name: &str) -> Result<(), String> {
        self.waits.lock().get_or_insert_with(|| "its servers have not answered yet".into());
        let settings = Settings { address: self.address.clone(), ..Settings::of(&with.backplane.nats, &with.secrets) };
        let join = timeout(TRY, Nats::join(&settings, node_id, name)).await;
        let nats = join.unwrap_or_else(|_| Err(BackplaneError::Away(format!("no answer within {TRY:?}"))));
        let nats = nats.map_err(|e| format!("{e} ({})", settings.url))?;
        let standing = nats.standing();
        let lines = Lines::of(Arc::clone(&nats) as Arc<dyn Fabric>);
        // Nobody else joins.
        let _ = self.joined.set(Joined { nats, lines, standing, with });
        Ok(())
    }
}

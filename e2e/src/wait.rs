//! Waits that end: each asks again and again until it sees what it waits for, or says what it saw last.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Short enough not to show in a test's time, long enough not to load the server that is asked.
const PAUSE: Duration = Duration::from_millis(100);

/// Asks until `look` answers `Ok`, at most for `limit`. `what` completes the sentence "waited 30s for ...".
///
/// # Errors
/// When the time is over, with the last thing that `look` saw.
pub async fn until<T, F>(what: &str, limit: Duration, mut look: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let start = Instant::now();
    let mut last = "no answer at all".to_owned();
    loop {
        // A look that hangs must not outlive the wait, and the one that is cut short says less than the one before it.
        let left = limit.saturating_sub(start.elapsed()).max(PAUSE);
        match tokio::time::timeout(left, look()).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(e)) => last = format!("{e:#}"),
            Err(_) => {}
        }
        if start.elapsed() >= limit {
            bail!("waited {limit:?} for {what}; seen last: {last}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

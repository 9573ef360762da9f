//! Work on a thread of its own: what must answer in time, whatever the controllers calculate at that moment.

use anyhow::{Context, Result, anyhow};
use tokio::sync::oneshot;

/// Runs what `work` begins on a thread called `name`, for as long as the process lives. Its future never leaves that thread.
///
/// # Errors
/// When the thread cannot be started or ended, and what the work ends with.
pub(crate) async fn on_a_thread<T, F>(name: &'static str, work: impl FnOnce() -> F + Send + 'static) -> Result<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>>,
{
    let (sender, ended) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let run = move || {
        // Whoever waits for the end may have ended before.
        let _ = sender.send(runtime.block_on(async move { work().await }));
    };
    std::thread::Builder::new().name(name.into()).spawn(run).with_context(|| format!("the thread of {name}"))?;
    ended.await.unwrap_or_else(|_| Err(anyhow!("the thread of {name} ended")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_the_work_ends_with_comes_back_and_a_panic_is_an_error() {
        let here = std::thread::current().id();
        let there = on_a_thread("good", || async { Ok(std::thread::current().id()) }).await.unwrap();
        assert_ne!(here, there);
        let ended = on_a_thread::<(), _>("bad", || async { panic!("on purpose") }).await.unwrap_err();
        assert!(ended.to_string().contains("bad ended"), "{ended}");
    }
}

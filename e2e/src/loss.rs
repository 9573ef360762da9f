//! What a test says when something was lost. A race that loses a message shows itself once in many runs, so a failure that begins with
//! this word is never asked again (`e2e/twice.sh`), whatever else failed and would pass alone.

use anyhow::{Result, ensure};

/// Fails in the words of a loss, unless nothing was lost; `what` says what is missing, came twice, or failed.
///
/// # Errors
/// Something was lost.
pub fn none_unless(is_kept: bool, what: impl FnOnce() -> String) -> Result<()> {
    ensure!(is_kept, "LOST: {}", what());
    Ok(())
}

//! Who changed what, and who was refused, for who keeps the log of the process; what it says stands in the directory's own.

use std::time::Instant;

use crate::{
    DirectoryError,
    error::Why,
    keeper::Done,
    message::Message,
    seldom::{Due, OTHERS, Seldom},
};

/// Who did not say who it is.
const NOBODY: &str = "nobody";

/// A write that was judged.
pub(super) fn judged(message: Message, holder: &str, done: &Result<Done, DirectoryError>) {
    let action = message.operation();
    match done {
        Ok(done) => {
            tracing::info!(target: "audit", action, source = "datanet", what = holder, revision = done.revision, "directory");
        }
        Err(error) => {
            let code = error.code.number();
            tracing::info!(target: "audit", action, source = "datanet", what = holder, code, "directory refused");
        }
    }
}

/// A write that was refused before it was judged: by whom it is, or for coming too often. Once a minute for each, as nothing bounds how
/// often that is.
pub(super) fn turned_away(action: &str, holder: Option<&str>, error: &DirectoryError) {
    static SAID: Seldom = Seldom::new();
    if !matches!(error.why, Why::Unauthenticated | Why::Denied | Why::TooOften) {
        return;
    }
    let (holder, status) = (holder.unwrap_or(NOBODY), error.status());
    match SAID.due(&format!("{action} {holder} {status}"), Instant::now()) {
        Some(Due { times, is_of_others: true }) => {
            tracing::info!(target: "audit", action = OTHERS, source = "datanet", what = OTHERS, times, "directory refused");
        }
        Some(Due { times, is_of_others: false }) => {
            let code = error.code.number();
            tracing::info!(target: "audit", action, source = "datanet", what = holder, code, status, times, "directory refused");
        }
        None => {}
    }
}

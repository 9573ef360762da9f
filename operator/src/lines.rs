//! One at a time of each namespace: a line for each name that somebody waits for, and what was last found out there.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;

/// Whoever locks it has the turn; the others of that name wait, in order of arrival.
pub(crate) type Line<T> = Arc<tokio::sync::Mutex<T>>;

/// The lines by name. One that nobody waits in and that holds nothing of worth goes when another name is asked for.
pub(crate) struct Lines<T> {
    lines: Mutex<HashMap<String, Line<T>>>,
    is_worth: fn(&T) -> bool,
}

impl<T: Default> Lines<T> {
    /// `is_worth` says what is kept though nobody waits.
    pub(crate) fn new(is_worth: fn(&T) -> bool) -> Self {
        Self { lines: Mutex::default(), is_worth }
    }

    /// That of a name.
    pub(crate) fn of(&self, name: &str) -> Line<T> {
        let mut lines = self.lines.lock();
        if let Some(line) = lines.get(name) {
            return Arc::clone(line);
        }
        lines.retain(|_, line| {
            Arc::strong_count(line) > 1 || line.try_lock().is_ok_and(|found| (self.is_worth)(&found))
        });
        Arc::clone(lines.entry(name.to_owned()).or_default())
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.lines.lock().len()
    }
}

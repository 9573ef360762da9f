//! Records that are too large for a segment: each gets a file of its own, which is filled beside the writer, so that no other push
//! waits for a gigabyte. When all of it but the head is on disk, the writer makes a segment of the file, gives the record its
//! place, writes the head and tells whoever waits. So such a record lands when it is on disk, behind what landed meanwhile.
//!
//! One at a time: several together would only take turns on the disk.

use std::{
    collections::VecDeque,
    io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Instant,
};

use super::{
    LogError,
    folder::Folder,
    inbox::{Append, Inbox},
    segment::Blank,
};

/// Records that wait for a file of their own.
#[derive(Default)]
pub(super) struct Own {
    waiting: VecDeque<Append>,
    filling: Option<Filling>,
    /// When to ask for room again, where there was none for the next.
    ask_again: Option<Instant>,
}

struct Filling {
    append: Append,
    /// `None`: it is over.
    thread: Option<JoinHandle<()>>,
}

impl Own {
    /// Takes one more, behind those that wait already.
    pub(super) fn add(&mut self, append: Append) {
        self.waiting.push_back(append);
    }

    /// Takes one back for whose file there was no room: it is the next.
    pub(super) fn add_again(&mut self, append: Append, ask_again: Option<Instant>) {
        self.ask_again = ask_again;
        self.waiting.push_front(append);
    }

    /// Whether nothing waits here.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.filling.is_none()
    }

    /// Whether the next one waits for room.
    pub(super) fn lacks_room(&self) -> bool {
        self.ask_again.is_some()
    }

    /// Begins with the next one, if none is under way; `number` is for its file.
    pub(super) fn go_on(&mut self, folder: &Arc<Folder>, inbox: &Arc<Inbox>, number: impl FnOnce() -> u64) {
        self.forget_withdrawn();
        if self.filling.is_some() || self.ask_again.is_some_and(|at| Instant::now() < at) {
            return;
        }
        let Some(append) = self.waiting.pop_front() else { return };
        let (folder, told, number) = (Arc::clone(folder), Arc::clone(inbox), number());
        let (body, claim) = (append.record.body(), append.claim.clone());
        #[cfg(test)]
        let disk = super::faults::disk();
        let fill = move || {
            #[cfg(test)]
            super::faults::share(disk);
            told.filled(Blank::filled(&folder, number, &body, || !claim.is_withdrawn()));
        };
        let thread = thread::Builder::new().name("mesh-log-own".into()).spawn(fill);
        let thread = thread.map_err(|error| inbox.filled(Err(error))).ok();
        self.filling = Some(Filling { append, thread });
    }

    /// The one whose file was filled, or could not be.
    pub(super) fn filled(&mut self, file: io::Result<Blank>) -> Option<(Append, io::Result<Blank>)> {
        self.ask_again = None;
        self.filling.take().map(|filling| (filling.append, file))
    }

    /// Waits until the file is filled that is under way.
    pub(super) fn wait(&mut self) {
        let thread = self.filling.as_mut().and_then(|filling| filling.thread.take());
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that fills a file of the log has panicked");
            self.filling = None;
        }
    }

    /// Those that get no file any more.
    pub(super) fn end(mut self) -> impl Iterator<Item = Append> {
        self.wait();
        self.filling.map(|filling| filling.append).into_iter().chain(self.waiting)
    }

    fn forget_withdrawn(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        let (gone, wanted) = waiting.into_iter().partition::<Vec<_>, _>(|append| append.claim.is_withdrawn());
        self.waiting = wanted.into();
        if self.waiting.is_empty() && self.filling.is_none() {
            self.ask_again = None;
        }
        gone.into_iter().for_each(|append| (append.landed)(Err(LogError::Withdrawn)));
    }
}

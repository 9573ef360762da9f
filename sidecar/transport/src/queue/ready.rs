//! The ready messages of a queue, found by age for each kind of reader without a look at anybody else's.
//!
//! A reader may be choosy in two ways: Kuscia's names the source it wants (PTP section 5.3), a partner sees only what is
//! its own and what applications push to it (section 2). So messages lie in rows by *kind*, that is pusher and claimed
//! source; all messages of a row are for the same readers, and the oldest of a row is its front. Nearly every queue has
//! one kind, and is one row; from the second kind on, the fronts of all rows are ordered for each question that a reader
//! may ask.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use mesh_core::NodeId;
use tokio::time::Instant;

use super::{
    involved::Involved,
    keys::Keys,
    message::{Message, Origin, Reader},
    row::Row,
};

/// The ready messages of a queue.
#[derive(Debug)]
pub(super) enum Ready {
    /// All of one kind, or none at all.
    Plain(Row),
    Mixed(Box<Mixed>),
}

/// Who pushed, and which source the push claimed.
type Kind = (Origin, Option<NodeId>);

/// Messages of several kinds. Only rows with something in them are kept.
#[derive(Debug, Default)]
pub(super) struct Mixed {
    rows: HashMap<Kind, Row, Keys>,
    /// The first message of each row, by its number; the same again by source and by pusher.
    fronts: BTreeMap<u64, Kind>,
    by_source: HashMap<NodeId, BTreeSet<u64>, Keys>,
    by_origin: HashMap<Origin, BTreeSet<u64>, Keys>,
    len: usize,
    bytes: u64,
}

impl Default for Ready {
    fn default() -> Self {
        Self::Plain(Row::default())
    }
}

impl Ready {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Plain(row) => row.len(),
            Self::Mixed(mixed) => mixed.len,
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Plain(row) => row.bytes(),
            Self::Mixed(mixed) => mixed.bytes,
        }
    }

    /// When the oldest message came.
    pub(super) fn oldest(&self) -> Option<Instant> {
        match self {
            Self::Plain(row) => row.oldest(),
            Self::Mixed(mixed) => mixed.fronts.values().next().and_then(|kind| mixed.rows.get(kind)?.oldest()),
        }
    }

    /// Puts a message at its place.
    pub(super) fn put(&mut self, message: Box<Message>) {
        match self {
            Self::Plain(row) if row.front().is_none_or(|first| same_kind(first, &message)) => row.put(message),
            Self::Plain(row) => {
                let mut mixed = Mixed::of(std::mem::take(row));
                mixed.put(message);
                *self = Self::Mixed(Box::new(mixed));
            }
            Self::Mixed(mixed) => mixed.put(message),
        }
    }

    /// The oldest message that `reader` takes.
    pub(super) fn look(&self, reader: &Reader, involved: &Involved) -> Option<&Message> {
        match self {
            Self::Plain(row) => row.front().filter(|first| reader.takes(first, involved)),
            Self::Mixed(mixed) => mixed.front(mixed.find(reader, involved)?),
        }
    }

    /// Takes out the oldest message that `reader` takes.
    pub(super) fn take(&mut self, reader: &Reader, involved: &Involved) -> Option<Box<Message>> {
        match self {
            Self::Plain(row) if reader.takes(row.front()?, involved) => row.pop(),
            Self::Plain(_) => None,
            Self::Mixed(mixed) => {
                let message = mixed.take(mixed.find(reader, involved)?);
                self.be_plain_if_empty();
                message
            }
        }
    }

    /// Takes out the oldest message if it came before `limit`.
    pub(super) fn take_older(&mut self, limit: Instant) -> Option<Box<Message>> {
        if self.oldest()? >= limit {
            return None;
        }
        self.take(&Reader::application(), &Involved::default())
    }

    /// Takes out, row by row, what `who` sees.
    pub(super) fn release(&mut self, who: &Origin, involved: &Involved) -> Vec<Row> {
        let gone = match self {
            Self::Plain(row) if row.front().is_some_and(|first| who.sees(&first.draft.origin, involved)) => {
                vec![std::mem::take(row)]
            }
            Self::Plain(_) => Vec::new(),
            Self::Mixed(mixed) => mixed.release(who, involved),
        };
        self.be_plain_if_empty();
        gone
    }

    /// All of it, row by row.
    pub(super) fn rows(self) -> Vec<Row> {
        match self {
            Self::Plain(row) => vec![row],
            Self::Mixed(mixed) => mixed.rows.into_values().collect(),
        }
    }

    fn be_plain_if_empty(&mut self) {
        if self.len() == 0 {
            *self = Self::default();
        }
    }

    #[cfg(test)]
    #[cfg(not(feature = "shuttle"))]
    pub(super) fn numbers(&self) -> Vec<(u64, bool)> {
        let rows: Vec<&Row> = match self {
            Self::Plain(row) => vec![row],
            Self::Mixed(mixed) => mixed.rows.values().collect(),
        };
        let mut all: Vec<_> = rows.into_iter().flat_map(Row::iter).map(|m| (m.seq, m.redelivered)).collect();
        all.sort_unstable();
        all
    }
}

impl Mixed {
    fn of(row: Row) -> Self {
        let mut mixed = Self { len: row.len(), bytes: row.bytes(), ..Self::default() };
        if let Some(first) = row.front() {
            let (kind, seq) = (first.kind(), first.seq);
            mixed.note(seq, &kind);
            mixed.rows.insert(kind, row);
        }
        mixed
    }

    fn put(&mut self, message: Box<Message>) {
        let (kind, seq) = (message.kind(), message.seq);
        self.len += 1;
        self.bytes += message.charge.bytes;
        let row = self.rows.entry(kind.clone()).or_default();
        let first = row.front().map(|first| first.seq);
        row.put(message);
        if first.is_none_or(|first| seq < first) {
            first.into_iter().for_each(|first| self.forget(first));
            self.note(seq, &kind);
        }
    }

    /// The number of the oldest message that `reader` takes. It is the front of its row.
    fn find(&self, reader: &Reader, involved: &Involved) -> Option<u64> {
        let applications = match &reader.who {
            Origin::Partner(partner) if involved.has(partner) => Some(Origin::Application),
            _ => None,
        };
        match (&reader.who, &reader.source) {
            (Origin::Application, None) => self.fronts.keys().next().copied(),
            (Origin::Application, Some(source)) => first(self.by_source.get(source)),
            (partner, None) => {
                let theirs = applications.and_then(|origin| first(self.by_origin.get(&origin)));
                first(self.by_origin.get(partner)).into_iter().chain(theirs).min()
            }
            (partner, Some(source)) => {
                let origins = std::iter::once(partner.clone()).chain(applications);
                let rows = origins.filter_map(|origin| self.rows.get(&(origin, Some(source.clone())))?.front());
                rows.map(|message| message.seq).min()
            }
        }
    }

    fn front(&self, seq: u64) -> Option<&Message> {
        self.rows.get(self.fronts.get(&seq)?)?.front()
    }

    /// Takes out the front with this number.
    fn take(&mut self, seq: u64) -> Option<Box<Message>> {
        let kind = self.fronts.get(&seq)?.clone();
        self.forget(seq);
        let row = self.rows.get_mut(&kind)?;
        let message = row.pop()?;
        match row.front().map(|next| next.seq) {
            Some(next) => self.note(next, &kind),
            None => drop(self.rows.remove(&kind)),
        }
        self.len -= 1;
        self.bytes -= message.charge.bytes;
        Some(message)
    }

    fn release(&mut self, who: &Origin, involved: &Involved) -> Vec<Row> {
        let seen: Vec<Kind> = self.rows.keys().filter(|(origin, _)| who.sees(origin, involved)).cloned().collect();
        let mut gone = Vec::with_capacity(seen.len());
        for kind in seen {
            let Some(row) = self.rows.remove(&kind) else { continue };
            row.front().map(|first| first.seq).into_iter().for_each(|first| self.forget(first));
            self.len -= row.len();
            self.bytes -= row.bytes();
            gone.push(row);
        }
        gone
    }

    fn note(&mut self, seq: u64, kind: &Kind) {
        self.fronts.insert(seq, kind.clone());
        self.by_origin.entry(kind.0.clone()).or_default().insert(seq);
        if let Some(source) = &kind.1 {
            self.by_source.entry(source.clone()).or_default().insert(seq);
        }
    }

    fn forget(&mut self, seq: u64) {
        let Some((origin, source)) = self.fronts.remove(&seq) else { return };
        take_from(&mut self.by_origin, &origin, seq);
        if let Some(source) = source {
            take_from(&mut self.by_source, &source, seq);
        }
    }
}

impl Message {
    fn kind(&self) -> Kind {
        (self.draft.origin.clone(), self.draft.source.clone())
    }
}

fn same_kind(a: &Message, b: &Message) -> bool {
    a.draft.origin == b.draft.origin && a.draft.source == b.draft.source
}

fn first(numbers: Option<&BTreeSet<u64>>) -> Option<u64> {
    numbers?.first().copied()
}

fn take_from<K: std::hash::Hash + Eq>(map: &mut HashMap<K, BTreeSet<u64>, Keys>, key: &K, seq: u64) {
    if let Some(numbers) = map.get_mut(key) {
        numbers.remove(&seq);
        if numbers.is_empty() {
            map.remove(key);
        }
    }
}

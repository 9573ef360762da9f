//! Who gets the next message: the waiting pops of one queue, in order of arrival.
//!
//! A pure structure: no clock, no lock, no task. Keeps PTP section 9.3 (one list for all fronts, the oldest that matches
//! is served). Waiters stand by what they take, that is who asks and which source is wanted, so that a message looks only
//! at the oldest of each kind that may have it, however many others wait.

use std::{
    collections::{HashMap, VecDeque},
    task::Waker,
};

use mesh_core::NodeId;
use tokio::time::Instant;

use super::{
    involved::Involved,
    keys::Keys,
    message::{Draft, Origin, Reader},
    session::Ticket,
};

/// A pop that waits.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(super) ticket: Ticket,
    pub(super) reader: Reader,
    /// When it answers empty; past that it is served no more.
    pub(super) until: Instant,
    pub(super) waker: Waker,
}

/// The waiting pops of a queue.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    ours: Group,
    #[allow(clippy::box_collection, reason = "few queues have any, and a queue must be small")]
    partners: Option<Box<HashMap<NodeId, Group, Keys>>>,
    len: usize,
}

/// The waiting pops of one asker: all applications, or one partner.
#[derive(Debug, Default)]
struct Group {
    /// Those that take any source.
    any: VecDeque<Waiter>,
    /// Those that want one source.
    #[allow(clippy::box_collection, reason = "few queues have any, and a queue must be small")]
    of: Option<Box<HashMap<NodeId, VecDeque<Waiter>, Keys>>>,
}

impl Waiters {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn add(&mut self, waiter: Waiter) {
        self.len += 1;
        let group = match &waiter.reader.who {
            Origin::Application => &mut self.ours,
            Origin::Partner(partner) => self.partners.get_or_insert_default().entry(partner.clone()).or_default(),
        };
        group.add(waiter);
    }

    /// Takes out the oldest waiter that takes `draft`. Those it finds past their time leave: they are served no more.
    pub(super) fn take(&mut self, draft: &Draft, involved: &Involved, now: Instant) -> Option<Waiter> {
        if self.len == 0 {
            return None;
        }
        let source = draft.source.as_ref();
        let mut best = self.ours.oldest(source, now, &mut self.len).map(|ticket| (ticket, None));
        match (&draft.origin, &mut self.partners) {
            (_, None) => {}
            (Origin::Partner(pusher), Some(partners)) => {
                let theirs = partners.get_mut(pusher).and_then(|group| group.oldest(source, now, &mut self.len));
                best = older(best, theirs.map(|ticket| (ticket, Some(pusher.clone()))));
            }
            (Origin::Application, Some(partners)) => {
                for (partner, group) in partners.iter_mut().filter(|(partner, _)| involved.has(partner)) {
                    let theirs = group.oldest(source, now, &mut self.len);
                    best = older(best, theirs.map(|ticket| (ticket, Some(partner.clone()))));
                }
                partners.retain(|_, group| !group.is_empty());
            }
        }
        let (ticket, partner) = best?;
        let reader = |who| Reader { who, source: source.cloned() };
        let who = partner.map_or(Origin::Application, Origin::Partner);
        // It stands first, either among those that want this source or among those that take any.
        self.remove(&Reader { source: None, ..reader(who.clone()) }, ticket)
            .or_else(|| self.remove(&reader(who), ticket))
    }

    /// Takes out the waiter with this ticket, who reads like `reader`.
    pub(super) fn remove(&mut self, reader: &Reader, ticket: Ticket) -> Option<Waiter> {
        let group = self.group(&reader.who)?;
        let row = group.row(reader.source.as_ref())?;
        let at = row.binary_search_by_key(&ticket, |w| w.ticket).ok()?;
        let waiter = row.remove(at)?;
        group.forget_if_empty(reader.source.as_ref());
        self.len -= 1;
        self.forget_if_empty(&reader.who);
        Some(waiter)
    }

    /// The waker of the waiter with this ticket, who reads like `reader`.
    pub(super) fn waker(&mut self, reader: &Reader, ticket: Ticket) -> Option<&mut Waker> {
        let row = self.group(&reader.who)?.row(reader.source.as_ref())?;
        let at = row.binary_search_by_key(&ticket, |w| w.ticket).ok()?;
        row.get_mut(at).map(|waiter| &mut waiter.waker)
    }

    /// Whether a call of `partner` waits here.
    pub(super) fn has(&self, partner: &NodeId) -> bool {
        self.partners.as_ref().is_some_and(|partners| partners.contains_key(partner))
    }

    /// The tickets of a partner's waiting calls, oldest first, with the source that each wants.
    pub(super) fn of_partner(&self, partner: &NodeId) -> Vec<(Ticket, Option<NodeId>)> {
        let Some(group) = self.partners.as_ref().and_then(|partners| partners.get(partner)) else { return Vec::new() };
        let mut all: Vec<_> = group.iter().map(|waiter| (waiter.ticket, waiter.reader.source.clone())).collect();
        all.sort_unstable_by_key(|(ticket, _)| *ticket);
        all
    }

    /// Takes out the waiters that are `who`'s; an application's are all of them.
    pub(super) fn release(&mut self, who: &Origin) -> Self {
        let Origin::Partner(partner) = who else { return std::mem::take(self) };
        let Some(group) = self.partners.as_mut().and_then(|partners| partners.remove(partner)) else {
            return Self::default();
        };
        let mut gone = Self { len: group.iter().count(), ..Self::default() };
        self.len -= gone.len;
        gone.partners.get_or_insert_default().insert(partner.clone(), group);
        self.forget_if_empty(who);
        gone
    }

    /// Takes out any waiter.
    pub(super) fn pop(&mut self) -> Option<Waiter> {
        let mut waiter = self.ours.pop();
        while waiter.is_none() {
            let partner = self.partners.as_ref()?.keys().next()?.clone();
            let who = Origin::Partner(partner);
            waiter = self.group(&who)?.pop();
            self.forget_if_empty(&who);
        }
        self.len -= 1;
        waiter
    }

    fn group(&mut self, who: &Origin) -> Option<&mut Group> {
        match who {
            Origin::Application => Some(&mut self.ours),
            Origin::Partner(partner) => self.partners.as_mut()?.get_mut(partner),
        }
    }

    fn forget_if_empty(&mut self, who: &Origin) {
        let Origin::Partner(partner) = who else { return };
        let Some(partners) = &mut self.partners else { return };
        if partners.get(partner).is_some_and(Group::is_empty) {
            partners.remove(partner);
        }
        if partners.is_empty() {
            self.partners = None;
        }
    }

    #[cfg(test)]
    #[cfg(not(feature = "shuttle"))]
    pub(super) fn tickets(&self, now: Instant) -> Vec<Ticket> {
        let partners = self.partners.iter().flat_map(|partners| partners.values());
        let all = std::iter::once(&self.ours).chain(partners).flat_map(Group::iter);
        let mut tickets: Vec<_> = all.filter(|waiter| waiter.until > now).map(|waiter| waiter.ticket).collect();
        tickets.sort_unstable();
        tickets
    }
}

impl Group {
    fn add(&mut self, waiter: Waiter) {
        match waiter.reader.source.clone() {
            None => self.any.push_back(waiter),
            Some(source) => self.of.get_or_insert_default().entry(source).or_default().push_back(waiter),
        }
    }

    /// The ticket of the oldest that takes a message of this source. `len` shrinks by those who are past their time.
    fn oldest(&mut self, source: Option<&NodeId>, now: Instant, len: &mut usize) -> Option<Ticket> {
        let any = oldest(&mut self.any, now, len);
        let (Some(source), Some(of)) = (source, &mut self.of) else { return any };
        let Some(row) = of.get_mut(source) else { return any };
        let choosy = oldest(row, now, len);
        if row.is_empty() {
            self.forget_if_empty(Some(source));
        }
        any.into_iter().chain(choosy).min()
    }

    fn row(&mut self, source: Option<&NodeId>) -> Option<&mut VecDeque<Waiter>> {
        match source {
            None => Some(&mut self.any),
            Some(source) => self.of.as_mut()?.get_mut(source),
        }
    }

    fn forget_if_empty(&mut self, source: Option<&NodeId>) {
        let (Some(source), Some(of)) = (source, &mut self.of) else { return };
        if of.get(source).is_some_and(VecDeque::is_empty) {
            of.remove(source);
        }
        if of.is_empty() {
            self.of = None;
        }
    }

    fn pop(&mut self) -> Option<Waiter> {
        if let Some(waiter) = self.any.pop_front() {
            return Some(waiter);
        }
        let source = self.of.as_ref()?.keys().next()?.clone();
        let waiter = self.of.as_mut()?.get_mut(&source)?.pop_front();
        self.forget_if_empty(Some(&source));
        waiter
    }

    fn is_empty(&self) -> bool {
        self.any.is_empty() && self.of.is_none()
    }

    fn iter(&self) -> impl Iterator<Item = &Waiter> {
        self.any.iter().chain(self.of.iter().flat_map(|of| of.values()).flatten())
    }
}

type Standing = (Ticket, Option<NodeId>);

fn older(a: Option<Standing>, b: Option<Standing>) -> Option<Standing> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b.0 < a.0 { b } else { a }),
        (a, b) => a.or(b),
    }
}

fn oldest(row: &mut VecDeque<Waiter>, now: Instant, len: &mut usize) -> Option<Ticket> {
    while row.front().is_some_and(|waiter| waiter.until <= now) {
        row.pop_front();
        *len -= 1;
    }
    row.front().map(|waiter| waiter.ticket)
}

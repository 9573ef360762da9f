//! What goes with a request to a partner beside the request itself: what only our own kind is told, the address that it must
//! go to, and where it went (design section 6, "Across nodes").

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response};
use mesh_core::Body;
use parking_lot::Mutex;

/// Our kind names itself in this header of `/stats`.
const KIND: HeaderName = HeaderName::from_static("x-mesh-kind");
/// How the value begins, whatever its version: later ones understand what this one says.
const OURS: &str = "interconn/";

/// What answers at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Another `mesh`: it knows message ids and leases.
    Ours,
    /// Anybody else who speaks PTP/1.0.
    Other,
}

/// Which running process of our kind answers. A push is remembered, and a lease held, by a process: on which of its addresses it
/// is asked does not matter.
const INSTANCE: HeaderName = HeaderName::from_static("x-mesh-instance");
/// What is kept of a partner's word for its process.
const LONGEST_INSTANCE: usize = 128;

/// An address of a partner, as its route has it, and the process that answers there, as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    address: Arc<str>,
    instance: Option<Arc<str>>,
}

/// Where a request went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Went {
    /// The address.
    pub place: Place,
    /// What answers there.
    pub kind: Kind,
}

/// Put among the extensions of a request to a partner; whoever keeps a clone learns where the request went.
#[derive(Clone, Debug, Default)]
pub struct Slip(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Headers for our own kind.
    ours: HeaderMap,
    /// The only address that will do.
    only: Option<Place>,
    /// Whoever sends it will send it again by himself.
    is_repeated: bool,
    /// Its answer is a code and a text at most.
    is_brief: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    went: Option<Went>,
    /// What stands before the body for other kinds.
    before: Option<Before>,
}

/// Makes what stands before a body out of the request's headers; those for our own kind are not among them.
type Before = fn(&HeaderMap) -> Bytes;

impl Kind {
    /// What the answer of `/stats` says.
    pub(super) fn of_stats<B>(answer: &Response<B>) -> Self {
        let named = answer.headers().get(&KIND).and_then(|value| value.to_str().ok());
        if named.is_some_and(|named| named.starts_with(OURS)) { Self::Ours } else { Self::Other }
    }
}

/// The process that the answer of `/stats` names.
pub(super) fn instance_of<B>(answer: &Response<B>) -> Option<Arc<str>> {
    let named = answer.headers().get(&INSTANCE)?.to_str().ok()?;
    (!named.is_empty() && named.len() <= LONGEST_INSTANCE).then(|| named.into())
}

impl Place {
    /// An address as a route has it.
    #[must_use]
    pub fn new(address: &str) -> Self {
        Self { address: address.into(), instance: None }
    }

    /// The same address, with the process that answers there.
    #[must_use]
    pub fn of_instance(&self, instance: Option<Arc<str>>) -> Self {
        Self { address: Arc::clone(&self.address), instance }
    }

    /// Whether what is kept here is found there too: at the same address, or in the same process.
    #[must_use]
    pub fn leads_to(&self, other: &Self) -> bool {
        self.address == other.address || (self.instance.is_some() && self.instance == other.instance)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

impl Slip {
    /// A slip with the headers that only our own kind is to see.
    #[must_use]
    pub fn new(ours: HeaderMap) -> Self {
        Self(Arc::new(Inner { ours, ..Inner::default() }))
    }

    /// The same for a request that must go to `place` and nowhere else, and that is answered with a code and a text.
    #[must_use]
    pub fn at(ours: HeaderMap, place: Place) -> Self {
        Self(Arc::new(Inner { ours, only: Some(place), is_brief: true, ..Inner::default() }))
    }

    /// The same for a push, which its sender repeats and which is answered with a code and a text: no copy of it is kept for the case that the partner did not begin with
    /// it.
    #[must_use]
    pub fn repeated(ours: HeaderMap, only: Option<Place>) -> Self {
        Self(Arc::new(Inner { ours, only, is_repeated: true, is_brief: true, state: Mutex::default() }))
    }

    /// Whether its sender sends it again.
    pub(super) fn is_repeated(&self) -> bool {
        self.0.is_repeated
    }

    /// Whether its answer is known to be short.
    pub(super) fn is_brief(&self) -> bool {
        self.0.is_brief
    }

    /// Where the request went, if any of it may have left.
    #[must_use]
    pub fn went(&self) -> Option<Went> {
        self.0.state.lock().went.clone()
    }

    /// Whether the request may go to `place`.
    #[must_use]
    pub fn permits(&self, place: &Place) -> bool {
        self.0.only.as_ref().is_none_or(|only| only.leads_to(place))
    }

    /// What stands before the body of the request for other kinds, and our own does without.
    pub fn before_for_others(&self, before: Before) {
        self.0.state.lock().before = Some(before);
    }

    /// Called by the carrier when the request is about to leave: notes where to, and completes it.
    pub fn leaves(&self, place: &Place, kind: Kind, request: &mut Request<Body>) {
        let before = {
            let mut state = self.0.state.lock();
            state.went = Some(Went { place: place.clone(), kind });
            // Put there once: a request that came back has it already.
            if kind == Kind::Other { state.before.take() } else { None }
        };
        for (name, value) in &self.0.ours {
            let headers = request.headers_mut();
            // A request that came back from our kind may go to another kind now.
            match kind {
                Kind::Ours => drop(headers.insert(name, value.clone())),
                Kind::Other => drop(headers.remove(name)),
            }
        }
        if let Some(before) = before.map(|before| before(request.headers()))
            && let Body::Full(body) = request.body_mut()
        {
            *body = [&before[..], body].concat().into();
        }
    }

    /// Called by the carrier when the request came back whole: surely nothing of it has left.
    pub fn came_back(&self) {
        self.0.state.lock().went = None;
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_our_kind_sees_what_is_for_our_kind() {
        let ours = HeaderMap::from_iter([(HeaderName::from_static("x-ptp-message-id"), HeaderValue::from_static("1"))]);
        let slip = Slip::new(ours);
        slip.before_for_others(|headers| {
            assert!(headers.is_empty(), "nothing for our kind is among them");
            Bytes::from_static(b"for others, ")
        });
        let (place, mut request) = (Place::new("b:7304"), Request::new(Body::from("for all")));
        let body = |request: &Request<Body>| match request.body() {
            Body::Full(bytes) => bytes.clone(),
            other => panic!("{other:?}"),
        };
        slip.leaves(&place, Kind::Ours, &mut request);
        assert_eq!((&request.headers()["x-ptp-message-id"], body(&request)), (&"1".parse().unwrap(), "for all".into()));
        for _ in 0..2 {
            slip.leaves(&place, Kind::Other, &mut request);
            assert!(request.headers().is_empty());
            assert_eq!(body(&request), "for others, for all");
        }
        assert_eq!(slip.went(), Some(Went { place, kind: Kind::Other }));
        slip.came_back();
        assert_eq!(slip.went(), None);
    }

    #[test]
    fn what_is_bound_to_a_process_may_go_to_any_of_its_addresses() {
        let at = |address: &str, instance: Option<&str>| Place::new(address).of_instance(instance.map(Into::into));
        let slip = Slip::at(HeaderMap::new(), at("a", Some("one")));
        let table = [
            (at("a", None), true),
            (at("a", Some("another")), true),
            (at("b", Some("one")), true),
            (at("b", Some("two")), false),
            (at("b", None), false),
        ];
        for (place, permitted) in table {
            assert_eq!(slip.permits(&place), permitted, "{place:?}");
        }
        assert!(!Slip::at(HeaderMap::new(), at("a", None)).permits(&at("b", None)), "nothing known is not the same");
    }

    #[test]
    fn a_kind_is_known_by_the_header_of_its_stats() {
        let table = [
            (Some("interconn/1"), Kind::Ours),
            (Some("interconn/2"), Kind::Ours),
            (Some("mesh"), Kind::Other),
            (None, Kind::Other),
        ];
        for (named, kind) in table {
            let mut answer = Response::new(());
            if let Some(named) = named {
                answer.headers_mut().insert(KIND, HeaderValue::from_static(named));
            }
            assert_eq!(Kind::of_stats(&answer), kind, "{named:?}");
        }
    }
}

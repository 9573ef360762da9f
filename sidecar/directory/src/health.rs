//! Which central systems were not reached at their endpoints when somebody looked (contract section 7): searches name them last (D-9).
//!
//! In memory alone, and no part of the state: an entry says what a central system says of itself, and another replica may find
//! something else. Who looks, and how often, is not decided here.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;

/// Those that were not reached, by their folded ids, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unreached {
    ids: BTreeMap<String, String>,
    turn: u64,
}

impl Unreached {
    /// Each id and why, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.ids.iter().map(|(id, why)| (id.as_str(), why.as_str()))
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether all were reached, as far as somebody looked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    pub(crate) fn has(&self, id: &str) -> bool {
        self.ids.contains_key(id)
    }

    /// How often it became another list: what a search is ordered by holds for one of them.
    pub(crate) const fn turn(&self) -> u64 {
        self.turn
    }
}

/// The list as it is now. One task changes it, and everybody reads.
#[derive(Debug, Default)]
pub struct Health(ArcSwap<Unreached>);

impl Health {
    /// The list.
    #[must_use]
    pub fn unreached(&self) -> Arc<Unreached> {
        self.0.load_full()
    }

    /// Takes in what was found of some, by their folded ids: that they were reached, or why not.
    pub fn found(&self, found: impl IntoIterator<Item = (String, Result<(), String>)>) {
        let mut ids = self.0.load().ids.clone();
        for (id, outcome) in found {
            match outcome {
                Ok(()) => ids.remove(&id),
                Err(why) => ids.insert(id, why),
            };
        }
        self.replace(ids);
    }

    /// Forgets those that are not there any more.
    pub fn keep(&self, is_there: impl Fn(&str) -> bool) {
        let mut ids = self.0.load().ids.clone();
        ids.retain(|id, _| is_there(id));
        self.replace(ids);
    }

    fn replace(&self, ids: BTreeMap<String, String>) {
        let old = self.0.load();
        if old.ids != ids {
            let turn = old.turn.saturating_add(u64::from(!old.ids.keys().eq(ids.keys())));
            self.0.store(Arc::new(Unreached { ids, turn }));
        }
    }
}

/// Host and port of an endpoint (leniency 12); `None` for a URL that names no port and whose scheme has none that is known.
#[must_use]
pub fn target(endpoint: &str) -> Option<(&str, u16)> {
    let (scheme, rest) = endpoint.split_once("://").map_or((None, endpoint), |(scheme, rest)| (Some(scheme), rest));
    let authority = rest.split(['/', '?', '#']).next()?;
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map(|(host, rest)| (host, rest.strip_prefix(':')))?,
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        Some(port) => port.parse().ok()?,
        None => usual(scheme?)?,
    };
    Some((host, port))
}

/// The port of a scheme.
fn usual(scheme: &str) -> Option<u16> {
    match scheme.to_ascii_lowercase().as_str() {
        "http" | "ws" => Some(80),
        "https" | "wss" | "grpcs" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_leads_to_a_host_and_a_port() {
        for (endpoint, expected) in [
            ("1.2.3.4:9904", Some(("1.2.3.4", 9904))),
            ("mesh.example:7304", Some(("mesh.example", 7304))),
            ("[2001:db8::1]:7304", Some(("2001:db8::1", 7304))),
            ("https://mesh.example/datanet?x=1:2", Some(("mesh.example", 443))),
            ("HTTP://10.0.0.1", Some(("10.0.0.1", 80))),
            ("http://10.0.0.1:8080#a", Some(("10.0.0.1", 8080))),
            ("grpcs://[::1]", Some(("::1", 443))),
            ("wss://[::1]:6789/a", Some(("::1", 6789))),
            ("odps://mesh.example", None),
        ] {
            assert_eq!(target(endpoint), expected, "{endpoint}");
        }
    }

    #[test]
    fn another_list_is_another_turn_and_another_reason_is_none() {
        let health = Health::default();
        let found =
            |id: &str, outcome: Result<(), &str>| health.found([(id.to_owned(), outcome.map_err(str::to_owned))]);
        let seen = || {
            let unreached = health.unreached();
            (unreached.turn(), unreached.iter().map(|(id, why)| format!("{id} {why}")).collect::<Vec<_>>())
        };
        found("b", Ok(()));
        assert_eq!(seen(), (0, vec![]));
        found("b", Err("silent"));
        found("a", Err("refused"));
        found("b", Err("refused"));
        assert_eq!(seen(), (2, vec!["a refused".to_owned(), "b refused".to_owned()]));
        health.keep(|id| id != "a");
        found("b", Ok(()));
        assert_eq!(seen(), (4, vec![]));
    }
}

//! How a copy stands, apart from its records: whoever asks whether it may answer does not wait for a piece of the log that is just
//! taken in, and is not told by it that it may.

use std::time::{Duration, Instant};

use mesh_directory::front::Lookup;

use super::Because;

/// What is known of a copy.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// The revision of its records. None: it has none yet, or no more.
    pub(super) revision: Option<u64>,
    /// When the directory was asked last that had nothing newer then than what is here. None: the copy is not whole yet.
    pub(super) seen: Option<Instant>,
    /// Because it could not be asked since.
    pub(super) problem: Option<String>,
}

impl Standing {
    /// How old what is here may be; `None`: it is not whole, or is no more. What is written is shown after `lag` at the latest.
    pub(super) fn staleness(&self, lag: Duration) -> Option<Duration> {
        self.revision?;
        Some(self.seen?.elapsed().saturating_add(lag))
    }

    /// The same, where it may answer.
    pub(super) fn age(&self, lag: Duration, lookup: &Lookup, why: Because) -> Option<Duration> {
        let age = self.staleness(lag)?;
        let may = match (why, lookup.most_staleness()) {
            (Because::Allowed, Some(most)) => age <= most && lookup.least_revision() <= self.revision?,
            (Because::Allowed, None) => false,
            (Because::Away, most) => most.is_none_or(|most| age <= most),
        };
        may.then_some(age)
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use mesh_directory::{
        Strictness,
        directory::{ProtocolNames, Search, Status},
        front::Manners,
    };

    use super::*;

    const MANNERS: Manners = Manners {
        strictness: Strictness::Lenient,
        search: Search::Exact,
        status: Status::Mirror,
        protocol_names: ProtocolNames::AsRegistered,
    };

    const ANY_AGE: &str = "&maxStaleness=3600000";

    fn asking(more: &str) -> Lookup {
        let uri = format!("/datanet/v1/central-systems/retrieve?csid=yunqi{more}");
        let (head, ()) = Request::get(uri).body(()).unwrap().into_parts();
        Lookup::read(&head, b"", MANNERS).unwrap()
    }

    #[test]
    fn a_copy_that_is_not_whole_or_is_no_more_answers_nothing() {
        let (seen, problem) = (Some(Instant::now()), Some("away".to_owned()));
        for (revision, seen, expected) in
            [(None, None, false), (Some(3), None, false), (None, seen, false), (Some(3), seen, true)]
        {
            let standing = Standing { revision, seen, problem: problem.clone() };
            for (more, why) in [("", Because::Away), (ANY_AGE, Because::Away), (ANY_AGE, Because::Allowed)] {
                let may = standing.age(Duration::ZERO, &asking(more), why).is_some();
                assert_eq!(may, expected, "{standing:?} {more} {why:?}");
            }
        }
    }

    #[test]
    fn it_answers_where_the_caller_allows_its_age_and_where_the_directory_is_away() {
        let standing = Standing { revision: Some(3), seen: Some(Instant::now()), problem: None };
        for (more, why, lag, expected) in [
            ("", Because::Allowed, 0, false),
            ("", Because::Away, 9_000_000, true),
            (ANY_AGE, Because::Allowed, 0, true),
            (ANY_AGE, Because::Allowed, 3_600_001, false),
            (ANY_AGE, Because::Away, 3_600_001, false),
            ("&maxStaleness=0", Because::Away, 1, false),
            ("&maxStaleness=3600000&revision=3", Because::Allowed, 0, true),
            ("&maxStaleness=3600000&revision=4", Because::Allowed, 0, false),
        ] {
            let age = standing.age(Duration::from_millis(lag), &asking(more), why);
            assert_eq!(age.is_some(), expected, "{more} {why:?} {lag}");
        }
    }
}

//! Pages of long answers (D-9). A cursor is opaque, and good for the search and the revision that it was given at; who says
//! `anyRevision` gets the rest as it is today.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use crate::{Hash, error::DirectoryError, health::Unreached};

/// The most items of one page.
pub(crate) const MOST: usize = 1000;

/// Items of a page where the caller does not say.
const USUAL: usize = 100;

/// Bytes of the question's hash in a cursor: enough that no other question's fits by chance.
const MARK: usize = 8;

/// Bytes of the revision in a cursor.
const REVISION: usize = 8;

/// Records that a page of a list goes over, whether they fit its filters or not: some milliseconds.
pub(super) const WALKED: usize = 10_000;

/// Which page is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// How many items, 1 to 1000.
    pub limit: Option<u64>,
    /// Where the page before ended.
    pub cursor: Option<String>,
    /// Whether a cursor of another revision is taken: what changed meanwhile, before the place where it is, is not seen.
    pub any_revision: bool,
    /// Who comes last in a search for central systems; `None`: nobody.
    pub last: Option<Arc<Unreached>>,
}

impl Wanted {
    fn limit(&self) -> Result<usize, DirectoryError> {
        let limit = self.limit.map_or(Some(USUAL), |limit| usize::try_from(limit).ok());
        let limit = limit.filter(|limit| (1..=MOST).contains(limit));
        limit.ok_or_else(|| DirectoryError::malformed(format!("limit is 1 to {MOST}")))
    }

    /// What a cursor holds for: the revision, and who comes last.
    pub(super) fn bound(&self, revision: u64) -> u64 {
        let turn = self.last.as_ref().map_or(0, |last| last.turn());
        // They meet after some 10^12 entries.
        revision ^ turn.rotate_left(40)
    }

    /// The key behind which the page begins.
    fn after(&self, question: &str, revision: u64) -> Result<Option<String>, DirectoryError> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let read = read(cursor, question).filter(|(own, _)| self.any_revision || *own == revision);
        let wrong =
            "the cursor is not one of this search at this revision: begin with the first page, or say anyRevision";
        read.map(|(_, key)| Some(key)).ok_or_else(|| DirectoryError::malformed(wrong))
    }
}

/// A page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next begins, if there is one.
    pub cursor: Option<String>,
}

impl<T> Page<T> {
    /// The wanted page of items that are in the order of their keys.
    pub(super) fn of<'a>(
        items: impl Iterator<Item = (&'a str, T)>,
        question: &str,
        revision: u64,
        wanted: &Wanted,
    ) -> Result<Self, DirectoryError> {
        let (limit, after) = (wanted.limit()?, wanted.after(question, revision)?);
        let mut rest = items.skip_while(|(key, _)| after.as_deref().is_some_and(|after| *key <= after));
        let taken: Vec<(&str, T)> = rest.by_ref().take(limit).collect();
        let last = taken.last().map(|(key, _)| *key).filter(|_| rest.next().is_some());
        let cursor = last.map(|key| write(key, question, revision));
        Ok(Self { items: taken.into_iter().map(|(_, item)| item).collect(), cursor })
    }

    /// The wanted page of a walk over records in the order of their keys: `from` begins it behind a key, and what does not fit is
    /// `None`. It ends after [`WALKED`] records, so that a page may have few items, or none, and a cursor.
    pub(super) fn walked<'a, I: Iterator<Item = (&'a str, Option<T>)>>(
        from: impl FnOnce(Option<&str>) -> I,
        question: &str,
        revision: u64,
        wanted: &Wanted,
    ) -> Result<Self, DirectoryError> {
        let (limit, after) = (wanted.limit()?, wanted.after(question, revision)?);
        let mut walk = from(after.as_deref()).peekable();
        let (mut items, mut last) = (Vec::new(), None);
        for (key, item) in walk.by_ref().take(WALKED) {
            last = Some(key);
            items.extend(item);
            if items.len() == limit {
                break;
            }
        }
        let last = last.filter(|_| walk.peek().is_some());
        Ok(Self { items, cursor: last.map(|key| write(key, question, revision)) })
    }
}

fn mark(question: &str) -> [u8; MARK] {
    let hash = Hash::of(&[question.as_bytes()]);
    let mut mark = [0; MARK];
    mark.iter_mut().zip(hash.bytes()).for_each(|(to, from)| *to = *from);
    mark
}

fn write(key: &str, question: &str, revision: u64) -> String {
    BASE64_URL_SAFE_NO_PAD.encode([&revision.to_be_bytes()[..], &mark(question), key.as_bytes()].concat())
}

/// Revision and key of a cursor of this question.
fn read(cursor: &str, question: &str) -> Option<(u64, String)> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (revision, rest) = bytes.split_first_chunk::<REVISION>()?;
    let (own, key) = rest.split_first_chunk::<MARK>()?;
    let key = std::str::from_utf8(key).ok().filter(|_| *own == mark(question))?;
    Some((u64::from_be_bytes(*revision), key.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];

    fn page(
        limit: Option<u64>,
        cursor: Option<&str>,
        question: &str,
        revision: u64,
    ) -> Result<Page<usize>, DirectoryError> {
        let items = KEYS.iter().enumerate().map(|(n, key)| (*key, n));
        Page::of(items, question, revision, &Wanted { limit, cursor: cursor.map(str::to_owned), ..Wanted::default() })
    }

    #[test]
    fn pages_follow_each_other_without_gap_and_overlap() {
        let (mut all, mut cursor) = (Vec::new(), None);
        for _ in 0..3 {
            let next = page(Some(2), cursor.as_deref(), "q", 7).unwrap();
            all.push(next.items);
            cursor = next.cursor;
        }
        assert_eq!((all, cursor), (vec![vec![0, 1], vec![2, 3], vec![4]], None));
        assert_eq!(page(Some(5), None, "q", 7).unwrap().cursor, None);
        assert_eq!(page(None, None, "q", 7).unwrap().items.len(), 5);
    }

    #[test]
    fn limits_have_bounds() {
        for limit in [0, 1001, u64::MAX] {
            assert_eq!(page(Some(limit), None, "q", 7).unwrap_err().to_string(), "7300: limit is 1 to 1000");
        }
        assert!(page(Some(1000), None, "q", 7).is_ok());
    }

    #[test]
    fn an_old_a_foreign_and_a_broken_cursor_are_refused() {
        let cursor = page(Some(2), None, "q", 7).unwrap().cursor.unwrap();
        assert!(page(Some(2), Some(&cursor), "q", 7).is_ok());
        for (question, revision) in [("q", 8), ("q", 6), ("other", 7)] {
            assert!(page(Some(2), Some(&cursor), question, revision).is_err());
        }
        for broken in ["", "a", "!", &cursor[1..], &format!("{cursor}=")] {
            assert!(page(Some(2), Some(broken), "q", 7).is_err(), "{broken}");
        }
    }

    fn walk(limit: u64, cursor: Option<String>, revision: u64) -> Result<Page<&'static str>, DirectoryError> {
        let fits = |key: &&'static str| (*key, (*key != "b" && *key != "c").then_some(*key));
        let from = |after: Option<&str>| {
            let after = after.map(str::to_owned);
            KEYS.iter().filter(move |key| after.as_deref().is_none_or(|after| **key > after)).map(fits)
        };
        Page::walked(from, "q", revision, &Wanted { limit: Some(limit), cursor, any_revision: true, last: None })
    }

    #[test]
    fn a_walk_goes_on_behind_its_cursor_at_any_revision() {
        let first = walk(1, None, 7).unwrap();
        assert_eq!(first.items, ["a"]);
        let second = walk(1, first.cursor, 8).unwrap();
        assert_eq!(second.items, ["d"], "what does not fit is passed");
        assert_eq!(walk(1, second.cursor, 9), Ok(Page { items: vec!["e"], cursor: None }));
        assert!(walk(1, Some("AAAA".into()), 7).is_err());
    }

    #[test]
    fn a_walk_over_much_that_does_not_fit_ends_and_goes_on() {
        let keys: Vec<String> = (0..=WALKED).map(|n| format!("{n:06}")).collect();
        let page = |cursor| {
            let from = |after: Option<&str>| {
                let begin = after.map_or(0, |after| keys.partition_point(|key| key.as_str() <= after));
                keys[begin..].iter().map(|key| (key.as_str(), (key == "010000").then_some(())))
            };
            Page::walked(from, "q", 7, &Wanted { cursor, ..Wanted::default() }).unwrap()
        };
        let first = page(None);
        assert!(first.items.is_empty());
        assert_eq!(page(Some(first.cursor.unwrap())), Page { items: vec![()], cursor: None });
    }
}

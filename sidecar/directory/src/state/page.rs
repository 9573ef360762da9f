//! Pages of long answers (D-9). A cursor is opaque, and good for the search and the revision that it was given at.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use crate::{Hash, error::DirectoryError};

/// The most items of one page.
pub(crate) const MOST: usize = 1000;

/// Items of a page where the caller does not say.
const USUAL: usize = 100;

/// Bytes of the question's hash in a cursor: enough that no other question's fits by chance.
const MARK: usize = 8;

/// Which page is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// How many items, 1 to 1000.
    pub limit: Option<u64>,
    /// Where the page before ended.
    pub cursor: Option<String>,
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
        let limit = wanted.limit.map_or(Some(USUAL), |limit| usize::try_from(limit).ok());
        let limit = limit.filter(|limit| (1..=MOST).contains(limit));
        let limit = limit.ok_or_else(|| DirectoryError::malformed(format!("limit is 1 to {MOST}")))?;
        let after = wanted.cursor.as_deref().map(|cursor| read(cursor, question, revision)).transpose()?;
        let mut rest = items.skip_while(|(key, _)| after.as_deref().is_some_and(|after| *key <= after));
        let taken: Vec<(&str, T)> = rest.by_ref().take(limit).collect();
        let last = taken.last().map(|(key, _)| *key).filter(|_| rest.next().is_some());
        let cursor = last.map(|key| write(key, question, revision));
        Ok(Self { items: taken.into_iter().map(|(_, item)| item).collect(), cursor })
    }
}

fn mark(question: &str, revision: u64) -> [u8; MARK] {
    let hash = Hash::of(&[&revision.to_be_bytes(), question.as_bytes()]);
    let mut mark = [0; MARK];
    mark.iter_mut().zip(hash.bytes()).for_each(|(to, from)| *to = *from);
    mark
}

fn write(key: &str, question: &str, revision: u64) -> String {
    BASE64_URL_SAFE_NO_PAD.encode([&mark(question, revision)[..], key.as_bytes()].concat())
}

fn read(cursor: &str, question: &str, revision: u64) -> Result<String, DirectoryError> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok();
    let parts = bytes.as_deref().and_then(<[u8]>::split_first_chunk::<MARK>);
    let key =
        parts.filter(|(own, _)| **own == mark(question, revision)).and_then(|(_, key)| std::str::from_utf8(key).ok());
    let wrong = "the cursor is not one of this search at this revision: begin with the first page";
    key.map(str::to_owned).ok_or_else(|| DirectoryError::malformed(wrong))
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
        Page::of(items, question, revision, &Wanted { limit, cursor: cursor.map(str::to_owned) })
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
}

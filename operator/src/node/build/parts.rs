//! How a long list is cut into files that each fit a ConfigMap, so that one more item rewrites one file.
//!
//! An item's file follows from its name alone, as long as the number of files stays the same; that doubles when one gets full.

use sha2::{Digest, Sha256};

/// Below the 1 MiB of an object, with room for what base64, metadata and managed fields take.
const PART_MAX: usize = 700 * 1024;

/// A pod's projected volume names each part; two lists of 16 hold 2000 routes with 5 KiB each.
pub(crate) const PARTS_MAX: usize = 16;

/// Both bounds, for people.
pub(super) const LIMIT: &str = "16 parts of 700 KiB";

/// What became of a list.
pub(super) struct Split {
    /// Number and text of each file; a JSON list with an item in each line.
    pub(super) parts: Vec<(usize, String)>,
    /// The names for which there was no room.
    pub(super) left_out: Vec<String>,
}

/// Cuts a list of names and JSON texts.
pub(super) fn split(mut items: Vec<(String, String)>) -> Split {
    items.sort();
    let mut count = 1;
    loop {
        let (parts, left_out) = fill(&items, count);
        let fits = left_out.is_empty() && (count == PARTS_MAX || parts.iter().all(|part| part.own));
        if fits || count == PARTS_MAX {
            return Split { parts: parts.into_iter().enumerate().filter_map(text).collect(), left_out };
        }
        count *= 2;
    }
}

/// A file while it is filled.
#[derive(Clone)]
struct Part<'i> {
    items: Vec<&'i str>,
    size: usize,
    /// Whether it holds only items of its own.
    own: bool,
}

/// Puts each item into its file, or where that is full into the next one with room.
fn fill(items: &[(String, String)], count: usize) -> (Vec<Part<'_>>, Vec<String>) {
    let mut parts = vec![Part { items: Vec::new(), size: 4, own: true }; count];
    let mut left_out = Vec::new();
    for (name, json) in items {
        let home = home(name, count);
        let room = (0..count).map(|step| (home + step) % count).find(|n| parts[*n].size + json.len() + 2 <= PART_MAX);
        let Some(n) = room else {
            left_out.push(name.clone());
            continue;
        };
        parts[n].size += json.len() + 2;
        parts[n].own &= n == home;
        parts[n].items.push(json);
    }
    (parts, left_out)
}

fn home(name: &str, count: usize) -> usize {
    usize::from(Sha256::digest(name)[0]) % count
}

fn text((n, part): (usize, Part<'_>)) -> Option<(usize, String)> {
    (!part.items.is_empty()).then(|| (n, format!("[\n{}\n]\n", part.items.join(",\n"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(count: usize, size: usize) -> Vec<(String, String)> {
        (0..count).map(|n| (format!("route-{n}"), format!("\"{}\"", "x".repeat(size)))).collect()
    }

    #[test]
    fn a_short_list_is_one_file_and_an_empty_one_is_none() {
        assert_eq!(split(items(2, 1)).parts, [(0, "[\n\"x\",\n\"x\"\n]\n".to_owned())]);
        assert!(split(Vec::new()).parts.is_empty());
    }

    #[test]
    fn one_more_item_rewrites_one_file() {
        let many = items(801, 5000);
        let fewer = many.iter().take(800).cloned().collect();
        let before = split(fewer).parts;
        let after = split(many).parts;
        assert!(before.len() > 4, "{}", before.len());
        let rewritten = after.iter().filter(|part| !before.contains(part)).count();
        assert_eq!((before.len(), rewritten), (after.len(), 1));
    }

    #[test]
    fn every_file_fits_a_config_map_and_holds_a_list() {
        let split = split(items(2000, 5000));
        assert!(split.left_out.is_empty());
        assert!(split.parts.len() <= PARTS_MAX);
        let mut total = 0;
        for (_, text) in &split.parts {
            assert!(text.len() <= PART_MAX, "{}", text.len());
            total += serde_json::from_str::<Vec<String>>(text).unwrap().len();
        }
        assert_eq!(total, 2000);
    }

    #[test]
    fn what_no_longer_fits_is_named_and_the_rest_stays() {
        let split = split(items(3000, 5000));
        let kept: usize =
            split.parts.iter().map(|(_, text)| serde_json::from_str::<Vec<String>>(text).unwrap().len()).sum();
        assert_eq!(kept + split.left_out.len(), 3000);
        assert!(kept > 2000, "{kept}");
        assert!(!split.left_out.is_empty());
    }

    #[test]
    fn the_order_of_the_input_makes_no_difference() {
        let mut turned = items(500, 5000);
        let before = split(turned.clone()).parts;
        turned.reverse();
        assert_eq!(split(turned).parts, before);
    }
}

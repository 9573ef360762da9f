//! Retrievals and searches: what is asked of one state, with D-6 (names before labels) and D-7 (what is not found).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    State,
    page::{Page, WALKED, Wanted},
    record::{CentralSystem, Class, DataSystem, Kind, Offer, Record},
};
use crate::{
    error::{Code, DirectoryError, Why},
    lenient::{Leniency, Used},
    names::{fold, fold_name, fold_version},
};

/// Names that are suggested where one is not found.
const SUGGESTIONS: usize = 5;

/// Letters by which a suggestion may differ: a letter too many and one that is wrong.
const NEAR: usize = 2;

/// What a name or a label stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Named<'a> {
    /// No class.
    Nothing,
    /// This class.
    One(&'a Class),
    /// A label that several classes share.
    Many(Vec<&'a Class>),
}

impl<'a> Named<'a> {
    pub(super) fn classes(self) -> Vec<&'a Class> {
        match self {
            Self::Nothing => Vec::new(),
            Self::One(class) => vec![class],
            Self::Many(classes) => classes,
        }
    }
}

/// What a search has found, and what beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct Found<T> {
    /// One page of it.
    pub page: Page<T>,
    /// The leniencies that it took.
    pub used: Used,
    /// Where nothing was found: names that are near the one that was asked for.
    pub suggestions: Vec<String>,
}

impl State {
    /// A central system that is connected.
    ///
    /// # Errors
    /// 7310 when there is none of that id.
    pub fn central_system(&self, csid: &str) -> Result<&CentralSystem, DirectoryError> {
        let missing = || {
            let text = format!("no central system {csid} is connected");
            DirectoryError::new(Code::InvalidCentralSystem, Why::Missing, text)
        };
        self.systems.get(&fold(csid)).filter(|system| system.connected).ok_or_else(missing)
    }

    /// The record of a key, whatever its standing.
    #[must_use]
    pub fn record(&self, kind: Kind, key: &str) -> Option<Record> {
        let key = kind.fold(key);
        match kind {
            Kind::Csid => self.systems.get(&key).cloned().map(Record::Csid),
            Kind::Class => self.classes.get(&key).cloned().map(Record::Class),
            Kind::Address => self.addresses.get(key.as_str()).cloned().map(Record::Address),
        }
    }

    /// All records, each with its kind and its folded key.
    pub fn records(&self) -> impl Iterator<Item = (Kind, &str, Record)> {
        let systems = self.systems.iter().map(|(key, one)| (Kind::Csid, key.as_str(), Record::Csid(one.clone())));
        let classes = self.classes.iter().map(|(key, one)| (Kind::Class, key.as_str(), Record::Class(one.clone())));
        let data =
            self.addresses.iter().map(|(key, one)| (Kind::Address, key.as_ref(), Record::Address(Arc::clone(one))));
        systems.chain(classes).chain(data)
    }

    /// The central systems whose leases have ended at `now` (D-1), in milliseconds since 1970.
    #[must_use]
    pub fn ended_leases(&self, now: u64) -> Vec<String> {
        let ended = |system: &&CentralSystem| system.connected && system.lease.is_some_and(|lease| lease.until <= now);
        self.systems.values().filter(ended).map(|system| system.csid.clone()).collect()
    }

    /// The folded ids of those that are connected, and their endpoints.
    #[must_use]
    pub fn endpoints(&self) -> Vec<(String, String)> {
        let there = self.systems.iter().filter(|(_, system)| system.connected);
        there.map(|(id, system)| (id.clone(), system.endpoint.clone())).collect()
    }

    /// How many central systems are connected, how many classes are offered, and how many data systems there are.
    #[must_use]
    pub fn counts(&self) -> [usize; 3] {
        [self.systems.values().filter(|system| system.connected).count(), self.classes.len(), self.addresses.len()]
    }

    /// How many records the longest search, or page of a list, goes over.
    #[must_use]
    pub fn searched(&self) -> usize {
        let searched = self.systems.len().saturating_add(self.classes.len());
        searched.saturating_add(self.addresses.len().min(WALKED))
    }

    /// The labels of what a central system offers, sorted (leniency 5), and the names, sorted.
    #[must_use]
    pub fn offered_by(&self, system: &CentralSystem) -> (Vec<String>, Vec<String>) {
        let csid = fold(&system.csid);
        let offer = |key: &String| Some(&self.classes.get(key)?.offers.get(&csid)?.1);
        sorted(system.classes.iter().filter_map(offer))
    }

    /// Whether a class is called so, by its name or by the label of its protocol: at once, also where many share the label.
    pub(super) fn is_named(&self, text: &str) -> bool {
        self.classes.contains_key(&fold_name(text)) || self.labelled(text).next().is_some()
    }

    /// The classes of a label.
    pub(super) fn labelled(&self, label: &str) -> impl Iterator<Item = &Class> {
        let keys = self.labels.get(&fold_version(label)).into_iter().flatten();
        keys.filter_map(|key| self.classes.get(key))
    }

    /// What a class is called by: its name, or the label of its protocol (D-6).
    #[must_use]
    pub fn named(&self, text: &str) -> Named<'_> {
        if let Some(class) = self.classes.get(&fold_name(text)) {
            return Named::One(class);
        }
        let found: Vec<&Class> = self.labelled(text).collect();
        match found.as_slice() {
            [] => Named::Nothing,
            [class] => Named::One(class),
            _ => Named::Many(found),
        }
    }

    /// The class of a name or a label.
    ///
    /// # Errors
    /// 7101 when there is none, which is the normal answer of a check for uniqueness; 7300 for a label of several.
    pub fn class(&self, text: &str) -> Result<&Class, DirectoryError> {
        match self.named(text) {
            Named::One(class) => Ok(class),
            Named::Nothing => {
                Err(DirectoryError::new(Code::ClassNotFound, Why::Missing, format!("nobody offers the class {text}")))
            }
            Named::Many(classes) => {
                let (_, names) = sorted(classes.into_iter().filter_map(Class::definition));
                let text = format!("{text} is the label of several classes, ask for one of them: {}", names.join(", "));
                Err(DirectoryError::new(Code::BadRequest, Why::Conflict, text))
            }
        }
    }

    /// A data system, and whether somebody offers the class that it uses (D-5).
    ///
    /// # Errors
    /// 7001 when nobody has the address.
    pub fn data_system(&self, address: &str) -> Result<(&DataSystem, bool), DirectoryError> {
        let missing = || {
            let text = format!("no data system has the address {address}");
            DirectoryError::new(Code::AddressNotFound, Why::Missing, text)
        };
        let data = self.addresses.get(fold(address).as_str()).ok_or_else(missing)?;
        Ok((data, self.is_named(&data.adapter_class)))
    }

    /// The central systems that offer a class, by its name or label: 4.1.
    ///
    /// # Errors
    /// 7300 for a cursor that is not of this search and this revision.
    pub fn search_systems(
        &self,
        class: &str,
        near: bool,
        wanted: &Wanted,
    ) -> Result<Found<&CentralSystem>, DirectoryError> {
        let (mut used, mut suggestions) = (Used::new(), Vec::new());
        let mut classes = self.named(class).classes();
        if classes.is_empty() {
            let others = self.near(class);
            let mut closest = others.iter().take_while(|(distance, _)| *distance == 1).map(|(_, name)| *name);
            if let (true, Some(only), None) = (near, closest.next(), closest.next()) {
                used.insert(Leniency::NearName);
                classes = self.named(only).classes();
            }
            suggestions = others.into_iter().take(SUGGESTIONS).map(|(_, name)| name.to_owned()).collect();
        }
        let ids: BTreeSet<&String> = classes.iter().flat_map(|class| class.offers.keys()).collect();
        // No id begins so, and each is before it.
        let key = |id: &String| match wanted.last.as_ref().is_some_and(|last| last.has(id)) {
            true => format!("~{id}"),
            false => id.clone(),
        };
        let systems: BTreeMap<String, &CentralSystem> =
            ids.into_iter().filter_map(|id| Some((key(id), self.systems.get(id)?))).collect();
        let question = format!("systems\0{}", fold_name(class));
        let systems = systems.iter().map(|(key, system)| (key.as_str(), *system));
        let page = Page::of(systems, &question, wanted.bound(self.revision), wanted)?;
        Ok(Found { page, used, suggestions })
    }

    /// The classes of a protocol, or all: 4.2. Each as its label and its name.
    ///
    /// # Errors
    /// 7300 for a cursor that is not of this search and this revision.
    pub fn search_classes(
        &self,
        protocol: Option<&str>,
        version: Option<&str>,
        wanted: &Wanted,
    ) -> Result<Found<(String, String)>, DirectoryError> {
        let fits = |offer: &&Offer| offer.protocol.answers(protocol, version);
        let offers: Vec<&Offer> = self.classes.values().filter_map(Class::definition).filter(fits).collect();
        let differs = |asked: Option<&str>, own: fn(&Offer) -> &str| {
            asked.is_some_and(|asked| offers.iter().any(|offer| own(offer) != asked))
        };
        let used = [
            (Leniency::ProtocolCase, differs(protocol, |offer| &offer.protocol.name)),
            (Leniency::ProtocolVersion, differs(version, |offer| &offer.protocol.version)),
        ];
        let used = used.into_iter().filter(|(_, used)| *used).map(|(leniency, _)| leniency).collect();
        // One line for each class: a label may be that of several.
        let lines: BTreeSet<(String, String)> =
            offers.iter().map(|offer| (offer.protocol.label(), offer.class_name.clone())).collect();
        let keyed: Vec<(String, (String, String))> =
            lines.into_iter().map(|line| (format!("{}\0{}", line.0, line.1), line)).collect();
        let question = format!("classes\0{}\0{}", protocol.unwrap_or("\0"), version.unwrap_or("\0"));
        let items = keyed.iter().map(|(key, line)| (key.as_str(), line.clone()));
        Ok(Found { page: Page::of(items, &question, self.revision, wanted)?, used, suggestions: Vec::new() })
    }

    /// Names of classes that differ from `text` in few letters, and in how many, the nearest first.
    fn near(&self, text: &str) -> Vec<(usize, &str)> {
        let asked: Vec<char> = fold_name(text).chars().collect();
        let mut near: Vec<(usize, &str)> = self
            .classes
            .iter()
            .filter_map(|(key, class)| Some((distance(&asked, key)?, class.definition()?.class_name.as_str())))
            .collect();
        near.sort_unstable();
        near
    }
}

/// Labels and names of offers, each list sorted and without repetition.
fn sorted<'a>(offers: impl Iterator<Item = &'a Offer>) -> (Vec<String>, Vec<String>) {
    let (labels, names): (BTreeSet<String>, BTreeSet<String>) =
        offers.map(|offer| (offer.protocol.label(), offer.class_name.clone())).unzip();
    (labels.into_iter().collect(), names.into_iter().collect())
}

/// How many letters must be put in, left out or changed; `None` above [`NEAR`]. Of the table of all prefixes only what may still be near
/// is looked at, five places for each letter, and no further than to where nothing is: classes are many, and their names long.
fn distance(a: &[char], b: &str) -> Option<usize> {
    /// What is too far, and stays so.
    const FAR: usize = NEAR + 1;
    // The place `k` of a row is about `NEAR` fewer and `k` more letters of `a` than of `b`.
    let letters = |of_b: usize, k: usize| (of_b + k).checked_sub(NEAR).filter(|of_a| *of_a <= a.len());
    let first = |k| letters(0, k).map_or(FAR, |of_a| of_a.min(FAR));
    let mut row: [usize; 2 * NEAR + 1] = std::array::from_fn(first);
    let mut of_b = 0;
    for y in b.chars() {
        of_b += 1;
        let mut left = FAR;
        let above = row.into_iter().skip(1).chain([FAR]);
        let mut next = [FAR; 2 * NEAR + 1];
        for (k, ((place, diagonal), above)) in next.iter_mut().zip(row).zip(above).enumerate() {
            let Some(of_a) = letters(of_b, k) else { continue };
            let x = of_a.checked_sub(1).and_then(|before| a.get(before));
            let here = x.map_or(of_b, |x| diagonal + usize::from(*x != y)).min(above + 1).min(left + 1).min(FAR);
            (*place, left) = (here, here);
        }
        row = next;
        if row.iter().all(|far| *far == FAR) {
            return None;
        }
    }
    let last = (0..row.len()).find(|k| letters(of_b, *k) == Some(a.len()))?;
    row.get(last).copied().filter(|distance| *distance < FAR)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn far(a: &str, b: &str) -> Option<usize> {
        distance(&a.chars().collect::<Vec<_>>(), b)
    }

    #[test]
    fn distances_are_counted_in_letters() {
        assert_eq!(far("odps-adpter", "odps-adapter"), Some(1));
        assert_eq!(far("", ""), Some(0));
        assert_eq!(far("ab", "ba"), Some(2));
        assert_eq!(far("数据", "数居"), Some(1));
        assert_eq!((far("abc", "xyz"), far("a", "abcd")), (None, None));
        assert_eq!((far("", "ab"), far("ab", ""), far("", "abc")), (Some(2), Some(2), None));
    }

    /// The whole table, by its definition.
    fn of_all(a: &[char], b: &[char]) -> usize {
        let mut row: Vec<usize> = (0..=b.len()).collect();
        for (n, x) in a.iter().enumerate() {
            let mut next = vec![n + 1];
            for (m, y) in b.iter().enumerate() {
                next.push((row[m] + usize::from(x != y)).min(row[m + 1] + 1).min(next[m] + 1));
            }
            row = next;
        }
        row[b.len()]
    }

    proptest! {
        #[test]
        fn what_is_near_is_what_the_whole_table_says(a in "[abc]{0,9}", b in "[abc]{0,9}") {
            let all = of_all(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>());
            prop_assert_eq!(far(&a, &b), (all <= NEAR).then_some(all));
        }
    }
}

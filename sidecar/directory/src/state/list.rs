//! Lists: all that is held of one kind, in the order of its keys, in pages (D-9). Filters are additive.
//!
//! A page walks over a bounded number of records, so that a filter which fits nothing costs no more than one that fits all.

use std::ops::Bound::{Excluded, Included, Unbounded};

use super::{
    State,
    page::{Page, Wanted},
    record::{CentralSystem, Class, DataSystem},
};
use crate::{
    error::DirectoryError,
    names::{fold, fold_name},
};

impl State {
    /// The central systems that are connected; with `class` those that offer it.
    ///
    /// # Errors
    /// 7300 for a page that cannot be.
    pub fn list_systems(&self, class: Option<&str>, wanted: &Wanted) -> Result<Page<&CentralSystem>, DirectoryError> {
        let classes = class.map(|class| self.named(class).classes());
        let offers = |key: &String| {
            classes.as_ref().is_none_or(|classes| classes.iter().any(|class| class.offers.contains_key(key)))
        };
        let fits =
            |(key, system)| (str_of(key), Some(system).filter(|one: &&CentralSystem| one.connected && offers(key)));
        let from = |after: Option<&str>| {
            self.systems.range::<str, _>((after.map_or(Unbounded, Excluded), Unbounded)).map(fits)
        };
        Page::walked(from, &question("systems", [class.map(fold_name), None, None]), self.revision, wanted)
    }

    /// The classes; with `csid` those that it offers, with `protocol` and `version` those that speak it.
    ///
    /// # Errors
    /// 7310 for a central system that is not there; 7300 for a page that cannot be.
    pub fn list_classes(
        &self,
        csid: Option<&str>,
        [protocol, version]: [Option<&str>; 2],
        wanted: &Wanted,
    ) -> Result<Page<&Class>, DirectoryError> {
        let host = self.listed_host(csid)?;
        let fits = |class: &&Class| {
            let offered = host.as_ref().is_none_or(|host| class.offers.contains_key(host));
            offered && class.definition().is_some_and(|offer| offer.protocol.answers(protocol, version))
        };
        let from = |after: Option<&str>| {
            let classes = self.classes.range::<str, _>((after.map_or(Unbounded, Excluded), Unbounded));
            classes.map(|(key, class)| (str_of(key), Some(class).filter(fits)))
        };
        let asked = [host.clone(), protocol.map(str::to_owned), version.map(str::to_owned)];
        Page::walked(from, &question("classes", asked), self.revision, wanted)
    }

    /// The data systems, each with whether somebody offers its class; with `csid` those of one central system, with `class` those that
    /// use it, by name or by label.
    ///
    /// # Errors
    /// 7310 for a central system that is not there; 7300 for a page that cannot be.
    pub fn list_data(
        &self,
        csid: Option<&str>,
        class: Option<&str>,
        wanted: &Wanted,
    ) -> Result<Page<(&DataSystem, bool)>, DirectoryError> {
        let host = self.listed_host(csid)?;
        let prefix = host.as_ref().map_or_else(String::new, |host| format!("{host}."));
        let classes = class.map(|class| (fold_name(class), self.named(class).classes()));
        let fits = |data: &DataSystem, own: &[&Class]| {
            classes.as_ref().is_none_or(|(name, classes)| {
                let is_one = |own: &&Class| classes.iter().any(|class| std::ptr::eq(*class, *own));
                fold_name(&data.adapter_class) == *name || own.iter().any(is_one)
            })
        };
        let from = |after: Option<&str>| {
            let begin = after.filter(|after| *after > prefix.as_str()).map_or(Included(prefix.as_str()), Excluded);
            let data = self.addresses.range::<str, _>((begin, Unbounded));
            data.take_while(|(key, _)| key.starts_with(&prefix)).map(|(key, data)| {
                let own = self.named(&data.adapter_class).classes();
                (key.as_ref(), fits(data, &own).then_some((data.as_ref(), !own.is_empty())))
            })
        };
        Page::walked(from, &question("data", [host.clone(), class.map(fold_name), None]), self.revision, wanted)
    }

    /// The folded id of a central system that is named as a filter.
    fn listed_host(&self, csid: Option<&str>) -> Result<Option<String>, DirectoryError> {
        csid.map(|csid| self.central_system(csid).map(|system| fold(&system.csid))).transpose()
    }
}

fn str_of(key: &String) -> &str {
    key
}

/// What a cursor is bound to.
fn question(what: &str, asked: [Option<String>; 3]) -> String {
    let asked = asked.map(|one| one.unwrap_or_else(|| "\0".to_owned()));
    format!("list {what}\0{}", asked.join("\0"))
}

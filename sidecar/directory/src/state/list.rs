//! Lists: all that is held of one kind, in the order of its keys, in pages (D-9). Filters are additive.
//!
//! A page walks over a bounded number of records, so that a filter which fits nothing costs no more than one that fits all.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    ops::Bound::{Excluded, Included, Unbounded},
};

use super::{
    State,
    page::{Page, Wanted},
    record::{CentralSystem, Class, DataSystem},
};
use crate::{
    error::DirectoryError,
    names::{fold, fold_name, fold_version},
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
        let users = class.map(|class| Users::of(self, class));
        let from = |after: Option<&str>| {
            let begin = after.filter(|after| *after > prefix.as_str()).map_or(Included(prefix.as_str()), Excluded);
            let data = self.addresses.range::<str, _>((begin, Unbounded));
            data.take_while(|(key, _)| key.starts_with(&prefix)).map(|(key, data)| {
                let fits = users.as_ref().is_none_or(|users| users.has(data));
                (key.as_ref(), fits.then(|| (data.as_ref(), self.is_named(&data.adapter_class))))
            })
        };
        Page::walked(from, &question("data", [host.clone(), class.map(fold_name), None]), self.revision, wanted)
    }

    /// The folded id of a central system that is named as a filter.
    fn listed_host(&self, csid: Option<&str>) -> Result<Option<String>, DirectoryError> {
        csid.map(|csid| self.central_system(csid).map(|system| fold(&system.csid))).transpose()
    }
}

/// Those data systems that use a class. A label may be that of thousands of classes, and data systems name what they use by either:
/// each name and label is looked at once for all that are asked about.
struct Users<'a> {
    state: &'a State,
    name: String,
    classes: HashSet<*const Class>,
    /// Labels, and whether one of the classes has it.
    labels: RefCell<HashMap<String, bool>>,
}

impl<'a> Users<'a> {
    fn of(state: &'a State, class: &str) -> Self {
        let classes = state.named(class).classes().into_iter().map(std::ptr::from_ref).collect();
        Self { state, name: fold_name(class), classes, labels: RefCell::default() }
    }

    fn has(&self, data: &DataSystem) -> bool {
        let name = fold_name(&data.adapter_class);
        if name == self.name {
            return true;
        }
        if let Some(class) = self.state.classes.get(&name) {
            return self.classes.contains(&std::ptr::from_ref(class));
        }
        let has =
            || self.state.labelled(&data.adapter_class).any(|one| self.classes.contains(&std::ptr::from_ref(one)));
        *self.labels.borrow_mut().entry(fold_version(&data.adapter_class)).or_insert_with(has)
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

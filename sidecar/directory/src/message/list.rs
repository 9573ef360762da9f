//! Lists of ours: all of one kind that fits the filters. The seed has retrievals by key and searches by class alone; a person who
//! wants to see what there is has neither.

use serde_json::{Map, Value, json};

use super::{
    Message,
    answer::{definition, present, registration},
    fields::Fields,
};
use crate::{
    DirectoryError,
    directory::ProtocolNames,
    error::Code,
    lenient::Leniency,
    state::{CentralSystem, Class, State, Wanted},
};

/// What is listed, and by which filters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum List {
    /// Central systems.
    CentralSystems {
        /// That offer this class, by name or label.
        class: Option<String>,
    },
    /// Adapter classes.
    AdapterClasses {
        /// That this central system offers.
        csid: Option<String>,
        /// Of a protocol of this name.
        protocol: Option<String>,
        /// Of this version of it.
        version: Option<String>,
    },
    /// Data systems.
    DataSystems {
        /// Of this central system.
        csid: Option<String>,
        /// That use this class, by name or label.
        class: Option<String>,
    },
}

impl List {
    /// Reads the filters of a list.
    pub(super) fn read(message: Message, fields: &mut Fields<'_>) -> Result<Self, DirectoryError> {
        let csid = |fields: &mut Fields<'_>| fields.filter_csid().map(|csid| csid.map(str::to_owned));
        let class = |fields: &mut Fields<'_>| {
            let names = [("className", None), ("adapterClassName", Some(Leniency::ClassKey))];
            fields.text(&names).map(|class| class.map(str::to_owned))
        };
        let read = match message {
            Message::ListDataSystems => {
                let csid = csid(fields)?;
                Self::DataSystems { csid, class: class(fields.under(Code::InvalidSearch))? }
            }
            Message::ListAdapterClasses => {
                let csid = csid(fields)?;
                let mut text =
                    |name| fields.under(Code::InvalidSearch).text(&[(name, None)]).map(|text| text.map(str::to_owned));
                let (protocol, version) = (text("protocolName")?, text("protocolVersion")?);
                Self::AdapterClasses { csid, protocol, version }
            }
            _ => Self::CentralSystems { class: class(fields.under(Code::InvalidSearch))? },
        };
        fields.under(Code::BadRequest);
        Ok(read)
    }

    /// What is on the page, and where the next begins.
    pub(super) fn answer(
        &self,
        state: &State,
        wanted: &Wanted,
        names: ProtocolNames,
    ) -> Result<(Map<String, Value>, Option<String>), DirectoryError> {
        let (key, items, cursor): (_, Vec<Value>, _) = match self {
            Self::CentralSystems { class } => {
                let page = state.list_systems(class.as_deref(), wanted)?;
                ("centralsystems", page.items.into_iter().map(system).collect(), page.cursor)
            }
            Self::AdapterClasses { csid, protocol, version } => {
                let speaks = [protocol.as_deref(), version.as_deref()];
                let page = state.list_classes(csid.as_deref(), speaks, wanted)?;
                ("adapterClasses", page.items.into_iter().map(|one| class(one, names)).collect(), page.cursor)
            }
            Self::DataSystems { csid, class } => {
                let page = state.list_data(csid.as_deref(), class.as_deref(), wanted)?;
                ("dataSystems", page.items.into_iter().map(registration).collect(), page.cursor)
            }
        };
        Ok((Map::from_iter([(key.to_owned(), items.into())]), cursor))
    }
}

fn system(system: &CentralSystem) -> Value {
    let mut value = json!({ "id": system.csid, "endpoint": system.endpoint });
    present(&mut value, "desc", system.desc.clone());
    value
}

/// As it was registered first, with how many offer it; without its parameters, which may be long.
fn class(class: &Class, names: ProtocolNames) -> Value {
    let mut value = definition(class, names);
    value["offers"] = class.offers.len().into();
    value
}

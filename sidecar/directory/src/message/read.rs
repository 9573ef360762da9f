//! Bytes to a call: the nine messages of the seed, strict about what they mean and lenient about how they are written.

use serde_json::Value;

use super::{Message, fields::Fields, header::Header, list::List};
use crate::{
    error::{Code, DirectoryError, Why},
    json,
    lenient::{Leniency, Strictness, Used},
    names::{self, Form},
    state::{Act, Connect, DataSystem, Guard, NewClass, Protocol, Wanted, Which},
};

/// The longest lease in seconds: 30 days.
const LONGEST_LEASE: u64 = 30 * 24 * 3600;

/// What a caller wants.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// That something is changed.
    Write {
        /// Of which central system.
        csid: String,
        /// What.
        act: Act,
        /// Under which conditions.
        guard: Guard,
    },
    /// 3.1
    CentralSystem(String),
    /// 3.2
    AdapterClass(String),
    /// 3.3
    DataSystem(String),
    /// 4.1
    CentralSystems {
        /// By name or label.
        class: String,
        /// Which page.
        wanted: Wanted,
    },
    /// 4.2
    AdapterClasses {
        /// Of this protocol.
        protocol: Option<String>,
        /// Of this version of it.
        version: Option<String>,
        /// Which page.
        wanted: Wanted,
    },
    /// All of one kind.
    List {
        /// Of which.
        list: List,
        /// Which page.
        wanted: Wanted,
    },
}

/// A message, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Which one.
    pub message: Message,
    /// Its header.
    pub header: Header,
    /// What it asks.
    pub ask: Ask,
    /// The leniencies that it took to read it.
    pub used: Used,
    /// Its body as it came, with keys that nobody knows: what an entry signs.
    pub body: Value,
}

impl Call {
    /// Reads a message: the one of its path, or where that is for all the one that its header names.
    ///
    /// # Errors
    /// 7300 for what is no message; 7310 to 7313 for a body that cannot be; 7300 where leniencies are refused.
    pub fn read(bytes: &[u8], of_path: Option<Message>, strictness: Strictness) -> Result<Self, DirectoryError> {
        if bytes.len() > of_path.map_or(Message::SyncDataSystems.longest(), Message::longest) {
            return Err(too_large());
        }
        let room = json::Room::new(json::MOST_VALUES);
        let value = json::read_within(bytes, &room).map_err(|error| unread("the message", &room, &error))?;
        let call = Self::of(value, of_path, strictness)?;
        if bytes.len() > call.message.longest() { Err(too_large()) } else { Ok(call) }
    }

    /// The same of a document that was read, whose length was looked at.
    ///
    /// # Errors
    /// As [`Call::read`].
    pub fn of(mut value: Value, of_path: Option<Message>, strictness: Strictness) -> Result<Self, DirectoryError> {
        let mut fields = Fields::new(&value, "the message", Code::BadRequest)?;
        let (header, mut used) = Header::read(fields.any("header"))?;
        let body = fields.object("body")?;
        used.extend(fields.end());
        let message = of_path.or(header.operation);
        let message = message
            .ok_or_else(|| DirectoryError::malformed("header.operation is missing: it says which message this is"))?;
        if header.operation.is_some_and(|operation| operation != message) {
            return Err(DirectoryError::malformed("header.operation is not that of the path"));
        }
        let (ask, more) = ask(message, body)?;
        used.extend(more);
        strictness.judge(&used)?;
        let body = value.get_mut("body").map(Value::take).unwrap_or_default();
        Ok(Self { message, header, ask, used, body })
    }
}

/// The messages of a batch, and what it took to read it: its header is one like any other, and says nothing of what they do.
pub(crate) fn batch(value: &Value) -> Result<(&[Value], Used), DirectoryError> {
    let mut fields = Fields::new(value, "the batch", Code::BadRequest)?;
    let (header, mut used) = Header::read(fields.any("header"))?;
    if header.operation.is_some() {
        return Err(DirectoryError::malformed("header.operation is in each message of a batch, not in its own header"));
    }
    let mut body = Fields::new(fields.object("body")?, "body", Code::BadRequest)?;
    let list = body.list("messages")?;
    used.extend(fields.end());
    used.extend(body.end());
    Ok((list, used))
}

/// Why a document was not read.
pub(crate) fn unread(what: &str, room: &json::Room, error: &serde_json::Error) -> DirectoryError {
    if room.is_short() {
        let text = format!("{what} has more values than are taken at once: send it in parts");
        return DirectoryError::new(Code::BadRequest, Why::TooLarge, text);
    }
    DirectoryError::malformed(format!("{what} is no JSON: {error}"))
}

fn too_large() -> DirectoryError {
    DirectoryError::new(
        Code::BadRequest,
        Why::TooLarge,
        "the message is too large: 8 MiB for a sync, 64 KiB for all others",
    )
}

/// Reads the body of a message, and what that took.
pub(crate) fn ask(message: Message, body: &Value) -> Result<(Ask, Used), DirectoryError> {
    let mut fields = Fields::new(body, "body", Code::BadRequest)?;
    let ask = match message {
        Message::Connect => connect(&mut fields)?,
        Message::Disconnect => {
            let csid = fields.csid("id")?.to_owned();
            Ask::Write { csid, act: Act::Disconnect, guard: Guard::default() }
        }
        Message::SyncDataSystems => data_systems(&mut fields)?,
        Message::SyncAdapterClasses => classes(&mut fields)?,
        Message::RetrieveCentralSystem => Ask::CentralSystem(fields.csid("csid")?.to_owned()),
        Message::RetrieveAdapterClass => Ask::AdapterClass(class_name(&mut fields)?),
        Message::RetrieveDataSystem => Ask::DataSystem(address(&mut fields)?),
        Message::SearchCentralSystems => {
            fields.under(Code::InvalidSearch);
            let class = class_name(&mut fields)?;
            fields.under(Code::BadRequest);
            Ask::CentralSystems { class, wanted: wanted(&mut fields)? }
        }
        Message::SearchAdapterClasses => {
            fields.under(Code::InvalidSearch);
            let protocol = fields.text(&[("protocolName", None)])?.map(str::to_owned);
            let version = fields.text(&[("protocolVersion", None)])?.map(str::to_owned);
            fields.under(Code::BadRequest);
            Ask::AdapterClasses { protocol, version, wanted: wanted(&mut fields)? }
        }
        Message::DeltaDataSystems => data_delta(&mut fields)?,
        Message::DeltaAdapterClasses => class_delta(&mut fields)?,
        Message::ListCentralSystems | Message::ListAdapterClasses | Message::ListDataSystems => {
            let list = List::read(message, &mut fields)?;
            Ask::List { list, wanted: wanted(&mut fields)? }
        }
        Message::RotateKey | Message::RecoverKey => key(&mut fields)?,
    };
    Ok((ask, fields.end()))
}

fn connect(fields: &mut Fields<'_>) -> Result<Ask, DirectoryError> {
    let csid = fields.csid("id")?.to_owned();
    let (endpoint, desc) = (fields.endpoint()?, fields.desc()?);
    let ttl = fields.whole("ttl")?;
    if ttl.is_some_and(|ttl| !(1..=LONGEST_LEASE).contains(&ttl)) {
        return Err(fields.wrong(format!("ttl is 1 to {LONGEST_LEASE} seconds")));
    }
    let ttl = ttl.map(|seconds| seconds.saturating_mul(1000));
    Ok(Ask::Write { csid, act: Act::Connect(Connect { endpoint, desc, ttl }), guard: Guard::default() })
}

fn key(fields: &mut Fields<'_>) -> Result<Ask, DirectoryError> {
    let csid = fields.csid("csid")?.to_owned();
    let key = fields.needed(&[("key", None)])?.parse();
    let key = key.map_err(|_| fields.wrong("key is not ed25519: and a public key in base64"))?;
    Ok(Ask::Write { csid, act: Act::Key(key), guard: Guard::default() })
}

fn guard(fields: &mut Fields<'_>) -> Result<Guard, DirectoryError> {
    let base = fields.whole("baseRevision")?;
    Ok(Guard { base, force: fields.flag("force")?, pending: fields.flag("pending")? })
}

fn data_systems(fields: &mut Fields<'_>) -> Result<Ask, DirectoryError> {
    let csid = fields.csid("csid")?.to_owned();
    let guard = guard(fields)?;
    let list = fields.list("dataSystems")?.iter().map(data_system).collect::<Result<Vec<_>, _>>()?;
    let act = Act::DataSystems(gathered(fields, list));
    Ok(Ask::Write { csid, act, guard })
}

/// Neither list needs to be there: what a delta does not name stays.
fn data_delta(fields: &mut Fields<'_>) -> Result<Ask, DirectoryError> {
    let csid = fields.csid("csid")?.to_owned();
    let guard = guard(fields)?;
    let changed = fields.maybe_list("dataSystems")?.iter().map(data_system).collect::<Result<Vec<_>, _>>()?;
    let changed = gathered(fields, changed);
    fields.under(Code::InvalidDataSystem);
    let withdrawn = fields.texts("withdrawn", |text| names::address(text).is_some())?;
    Ok(Ask::Write { csid, act: Act::DataDelta(Which { changed, withdrawn }), guard })
}

fn data_system(value: &Value) -> Result<(DataSystem, Used), DirectoryError> {
    let mut fields = Fields::new(value, "an item of dataSystems", Code::InvalidDataSystem)?;
    let data_address = address(&mut fields)?.into();
    let name = fields.name(&[("name", None)])?.into();
    let endpoint = fields.endpoint()?.into();
    let class = [
        ("adapterClass", None),
        ("adpaterClass", Some(Leniency::MisspelledClass)),
        ("adapterClassName", Some(Leniency::ClassKey)),
    ];
    let adapter_class = fields.name(&class)?.into();
    let (desc, params) = (fields.desc()?.map(Into::into), fields.params()?.map(Box::new));
    Ok((DataSystem { data_address, name, endpoint, adapter_class, desc, params, revision: 0 }, fields.end()))
}

fn classes(fields: &mut Fields<'_>) -> Result<Ask, DirectoryError> {
    let csid = fields.csid("csid")?.to_owned();
    let guard = guard(fields)?;
    let list = fields.list("adapterClasses")?.iter().map(class).collect::<Result<Vec<_>, _>>()?;
    let act = Act::Classes(gathered(fields, list));
    Ok(Ask::Write { csid, act, guard })
}

fn class_delta(fields: &mut Fields<'_>) -> Result<Ask, DirectoryError> {
    let csid = fields.csid("csid")?.to_owned();
    let guard = guard(fields)?;
    let changed = fields.maybe_list("adapterClasses")?.iter().map(class).collect::<Result<Vec<_>, _>>()?;
    let changed = gathered(fields, changed);
    fields.under(Code::InvalidClass);
    let withdrawn = fields.texts("withdrawn", names::name)?;
    Ok(Ask::Write { csid, act: Act::ClassDelta(Which { changed, withdrawn }), guard })
}

fn class(value: &Value) -> Result<(NewClass, Used), DirectoryError> {
    let mut fields = Fields::new(value, "an item of adapterClasses", Code::InvalidClass)?;
    let name = class_name(&mut fields)?;
    let mut protocol = Fields::new(fields.object("protocol")?, "protocol", Code::InvalidClass)?;
    let definition = Protocol {
        name: protocol.name(&[("name", None)])?.to_owned(),
        version: protocol.name(&[("version", None)])?.to_owned(),
    };
    let (desc, params) = (fields.desc()?, fields.params()?);
    let mut used = fields.end();
    used.extend(protocol.end());
    Ok((NewClass { name, protocol: definition, desc, params }, used))
}

/// The items, and what it took to read them.
fn gathered<T>(fields: &mut Fields<'_>, list: Vec<(T, Used)>) -> Vec<T> {
    let take = |(item, used): (T, Used)| {
        used.into_iter().for_each(|leniency| fields.uses(leniency));
        item
    };
    list.into_iter().map(take).collect()
}

/// Leniency 15.
fn class_name(fields: &mut Fields<'_>) -> Result<String, DirectoryError> {
    fields.name(&[("className", None), ("adapterClassName", Some(Leniency::ClassKey))]).map(str::to_owned)
}

/// Leniency 10.
fn address(fields: &mut Fields<'_>) -> Result<String, DirectoryError> {
    fields.under(Code::InvalidDataSystem);
    let text = fields.needed(&[("dataAddress", None)])?;
    let wrong = "dataAddress is not a central system's id, a dot, and 1 to 16 letters and digits";
    let (host, form) = names::address(text).ok_or_else(|| fields.wrong(wrong))?;
    if form == Form::Lenient {
        fields.uses(Leniency::AddressDigits);
    }
    if names::csid(host) == Some(Form::Lenient) {
        fields.uses(Leniency::IdCharacters);
    }
    Ok(text.to_owned())
}

fn wanted(fields: &mut Fields<'_>) -> Result<Wanted, DirectoryError> {
    let cursor = fields.text(&[("cursor", None)])?.map(str::to_owned);
    Ok(Wanted { limit: fields.whole("limit")?, cursor, any_revision: fields.flag("anyRevision")?, last: None })
}

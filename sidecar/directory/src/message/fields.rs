//! Members of one object: which are known, under which names, of which type and how long.

use serde_json::{Map, Value};

use crate::{
    error::{Code, DirectoryError, Why},
    json,
    lenient::{Leniency, Used},
    names,
};

/// Bytes of the largest parameters, in their canonical form (leniency 14).
const LARGEST_PARAMETERS: usize = 16 << 10;

/// Levels of the deepest parameters (leniency 14).
const DEEPEST_PARAMETERS: usize = 16;

/// A name under which a member may come, and the leniency that takes.
pub(super) type Alias = (&'static str, Option<Leniency>);

/// An object that is read.
pub(super) struct Fields<'a> {
    members: &'a Map<String, Value>,
    known: Vec<&'static str>,
    code: Code,
    used: Used,
}

impl<'a> Fields<'a> {
    /// Reads `value`; what is wrong with it is refused with `code`.
    pub(super) fn new(value: &'a Value, what: &str, code: Code) -> Result<Self, DirectoryError> {
        let wrong = || DirectoryError::new(code, Why::Malformed, format!("{what} is not an object"));
        let members = value.as_object().ok_or_else(wrong)?;
        Ok(Self { members, known: Vec::new(), code, used: Used::new() })
    }

    /// Refuses with another code from here on.
    pub(super) const fn under(&mut self, code: Code) -> &mut Self {
        self.code = code;
        self
    }

    pub(super) fn wrong(&self, text: impl Into<String>) -> DirectoryError {
        DirectoryError::new(self.code, Why::Malformed, text)
    }

    /// A member, under any of its names; those that are there must be equal.
    fn member(&mut self, aliases: &[Alias]) -> Result<Option<&'a Value>, DirectoryError> {
        let mut found: Option<(&str, &'a Value)> = None;
        for (name, leniency) in aliases {
            self.known.push(name);
            let Some(value) = self.members.get(*name) else { continue };
            if let Some((other, _)) = found.filter(|(_, other)| *other != value) {
                return Err(self.wrong(format!("{other} and {name} are both there and differ")));
            }
            self.used.extend(*leniency);
            found = found.or(Some((name, value)));
        }
        Ok(found.map(|(_, value)| value))
    }

    /// A text that is not blank.
    pub(super) fn text(&mut self, aliases: &[Alias]) -> Result<Option<&'a str>, DirectoryError> {
        let Some(value) = self.member(aliases)? else { return Ok(None) };
        let name = first(aliases);
        let text = value.as_str().ok_or_else(|| self.wrong(format!("{name} is not a string")))?;
        if text.trim().is_empty() { Err(self.wrong(format!("{name} is empty"))) } else { Ok(Some(text)) }
    }

    /// A text that must be there.
    pub(super) fn needed(&mut self, aliases: &[Alias]) -> Result<&'a str, DirectoryError> {
        let text = self.text(aliases)?;
        text.ok_or_else(|| self.wrong(format!("{} is missing", first(aliases))))
    }

    /// A text that must be there, and a name.
    pub(super) fn name(&mut self, aliases: &[Alias]) -> Result<&'a str, DirectoryError> {
        let text = self.needed(aliases)?;
        if names::name(text) {
            return Ok(text);
        }
        let bound = names::LONGEST_NAME;
        Err(self.wrong(format!(
            "{} is no name: 1 to {bound} bytes, no control characters, no space around it",
            first(aliases)
        )))
    }

    /// `id` or `csid`, whichever the message has (leniencies 3 and 9).
    pub(super) fn csid(&mut self, own: &'static str) -> Result<&'a str, DirectoryError> {
        let other = if own == "id" { "csid" } else { "id" };
        self.under(Code::InvalidCentralSystem);
        let both = self.members.contains_key("id") && self.members.contains_key("csid");
        if both && self.members.get("id") != self.members.get("csid") {
            return Err(DirectoryError::malformed("id and csid are both there and differ"));
        }
        let text = self.needed(&[(own, None), (other, Some(Leniency::IdKey))])?;
        let form = names::csid(text);
        let form = form.ok_or_else(|| {
            self.wrong(format!("{own} is no id: letters, digits, - and _, at most 32, no - or _ first"))
        })?;
        self.used.extend((form == names::Form::Lenient).then_some(Leniency::IdCharacters));
        self.under(Code::BadRequest);
        Ok(text)
    }

    /// An endpoint that must be there (leniency 12).
    pub(super) fn endpoint(&mut self) -> Result<String, DirectoryError> {
        let text = self.needed(&[("endpoint", None)])?;
        if !names::endpoint(text) {
            return Err(self.wrong("endpoint is neither host:port, [v6]:port nor a URL"));
        }
        self.used.extend(text.contains("://").then_some(Leniency::EndpointUrl));
        Ok(text.to_owned())
    }

    /// A description. An empty one is none.
    pub(super) fn desc(&mut self) -> Result<Option<String>, DirectoryError> {
        let Some(value) = self.member(&[("desc", None)])? else { return Ok(None) };
        let text = value.as_str().ok_or_else(|| self.wrong("desc is not a string"))?;
        let printable = text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\t'));
        if text.len() > names::LONGEST_TEXT || !printable {
            return Err(self.wrong(format!("desc has more than {} bytes or control characters", names::LONGEST_TEXT)));
        }
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }

    /// Parameters, kept as they came (leniency 14).
    pub(super) fn params(&mut self) -> Result<Option<Value>, DirectoryError> {
        let value = self.member(&[("params", None), ("paramsDef", Some(Leniency::Parameters))])?;
        let Some(value) = value else { return Ok(None) };
        if !value.is_object() && !value.is_array() {
            return Err(self.wrong("params is neither an object nor a list"));
        }
        self.used.extend(value.is_array().then_some(Leniency::Parameters));
        let size = json::canonical(value).map_or(usize::MAX, |bytes| bytes.len());
        if size > LARGEST_PARAMETERS || json::depth(value) > DEEPEST_PARAMETERS {
            return Err(self.wrong("params has more than 16 KiB or 16 levels"));
        }
        Ok(Some(value.clone()))
    }

    /// A list that must be there; an empty one means "I have none" (leniency 4).
    pub(super) fn list(&mut self, name: &'static str) -> Result<&'a [Value], DirectoryError> {
        let value = self.member(&[(name, None)])?.ok_or_else(|| self.wrong(format!("{name} is missing")))?;
        value.as_array().map(Vec::as_slice).ok_or_else(|| self.wrong(format!("{name} is not a list")))
    }

    /// A list that need not be there.
    pub(super) fn maybe_list(&mut self, name: &'static str) -> Result<&'a [Value], DirectoryError> {
        if self.members.contains_key(name) { self.list(name) } else { Ok(&[]) }
    }

    /// Texts that are what they should be; the list need not be there.
    pub(super) fn texts(
        &mut self,
        name: &'static str,
        fits: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>, DirectoryError> {
        let list = self.maybe_list(name)?;
        let texts = list.iter().map(|text| text.as_str().filter(|text| fits(text)).map(str::to_owned));
        let texts = texts.collect::<Option<Vec<_>>>();
        texts.ok_or_else(|| self.wrong(format!("{name} has something that is the key of nothing that could be there")))
    }

    /// The id of a central system by which a list is filtered.
    pub(super) fn filter_csid(&mut self) -> Result<Option<&'a str>, DirectoryError> {
        let is_there = self.members.contains_key("csid") || self.members.contains_key("id");
        if is_there { self.csid("csid").map(Some) } else { Ok(None) }
    }

    /// An object that must be there.
    pub(super) fn object(&mut self, name: &'static str) -> Result<&'a Value, DirectoryError> {
        self.member(&[(name, None)])?.ok_or_else(|| self.wrong(format!("{name} is missing")))
    }

    /// Any value.
    pub(super) fn any(&mut self, name: &'static str) -> Option<&'a Value> {
        self.known.push(name);
        self.members.get(name)
    }

    /// A whole number.
    pub(super) fn whole(&mut self, name: &'static str) -> Result<Option<u64>, DirectoryError> {
        let value = self.any(name);
        let read = |value: &Value| value.as_u64().filter(|number| *number <= json::LARGEST_WHOLE);
        value.map(|value| read(value).ok_or_else(|| self.wrong(format!("{name} is not a whole number")))).transpose()
    }

    /// A yes or no; no where nothing is said.
    pub(super) fn flag(&mut self, name: &'static str) -> Result<bool, DirectoryError> {
        let value = self.any(name);
        value.map_or(Some(false), Value::as_bool).ok_or_else(|| self.wrong(format!("{name} is not true or false")))
    }

    /// Notes a leniency.
    pub(super) fn uses(&mut self, leniency: Leniency) {
        self.used.insert(leniency);
    }

    /// What it took to read it; keys that nobody asked for are ignored (leniency 20).
    pub(super) fn end(mut self) -> Used {
        let unknown = self.members.keys().any(|key| !self.known.contains(&key.as_str()));
        self.used.extend(unknown.then_some(Leniency::UnknownKeys));
        self.used
    }
}

fn first(aliases: &[Alias]) -> &'static str {
    aliases.first().map_or("", |(name, _)| name)
}

//! Arguments that stand in a query or a form: `topic`, `timeout` and `payload`, lower case or upper-initial (PTP section
//! 3.2). Unknown names are ignored.

use std::borrow::Cow;

/// The arguments that were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) topic: Option<String>,
    pub(crate) timeout: Option<String>,
    /// Base64.
    pub(crate) payload: Option<String>,
    any: bool,
}

impl Query {
    /// Reads a query, or the body of a form.
    pub(crate) fn read(text: &[u8]) -> Self {
        let mut query = Self { any: !text.is_empty(), ..Self::default() };
        if text.is_empty() {
            return query;
        }
        for (name, value) in form_urlencoded::parse(text) {
            query.take(&name, value);
        }
        query
    }

    /// Whether there was nothing at all, known or unknown.
    pub(crate) fn is_empty(&self) -> bool {
        !self.any
    }

    fn take(&mut self, name: &str, value: Cow<'_, str>) {
        match name {
            "topic" | "Topic" => self.topic = Some(value.into_owned()),
            "timeout" | "Timeout" => self.timeout = Some(value.into_owned()),
            // A plus sign that nobody escaped was read as a blank, which base64 does not have.
            "payload" | "Payload" => self.payload = Some(value.replace(' ', "+")),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_count_and_unknown_names_are_ignored() {
        for text in ["topic=a%20b&timeout=700&x=1", "Topic=a+b&Timeout=700"] {
            let query = Query::read(text.as_bytes());
            assert_eq!((query.topic.as_deref(), query.timeout.as_deref()), (Some("a b"), Some("700")), "{text}");
        }
        assert!(Query::read(b"").is_empty() && !Query::read(b"x=1").is_empty());
    }

    #[test]
    fn an_unescaped_plus_in_base64_stays_one() {
        assert_eq!(Query::read(b"payload=+/+=").payload.as_deref(), Some("+/+="));
        assert_eq!(Query::read(b"payload=%2B/%2B%3D").payload.as_deref(), Some("+/+="));
    }
}

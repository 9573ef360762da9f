//! Lookups that a verified copy of the directory answers (contract section 7): which requests are such, and the answers, as the
//! directory itself gives them, with their age beside them.
//!
//! When a copy may answer is left to whoever keeps it, but for what the caller itself says of that (D-8).

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderValue, Method, Response,
    header::{AGE, CONTENT_ENCODING},
    request::Parts,
};

use super::{
    answer,
    call::{QUICK, gone_over, looked_up},
    get, packed,
    paths::{self, Room},
};
use crate::{
    Strictness,
    directory::{ProtocolNames, Search, Status},
    message::{self, Ask, Call},
    state::State,
};

/// How lookups are read and answered, as the directory's configuration says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manners {
    /// What becomes of leniencies.
    pub strictness: Strictness,
    /// What a search tries.
    pub search: Search,
    /// What HTTP says.
    pub status: Status,
    /// How protocols are written.
    pub protocol_names: ProtocolNames,
}

/// A retrieval, a search or a list.
#[derive(Debug)]
pub struct Lookup {
    call: Call,
    head: Parts,
    manners: Manners,
}

impl Lookup {
    /// Bytes of the longest one.
    pub const LONGEST: usize = paths::SHORT;

    /// Whether a request may be one, by its head: whoever asks reads its body then.
    #[must_use]
    pub fn may_be(head: &Parts) -> bool {
        // Of HEAD nobody sees whose answer it is.
        let is_lookup = match Room::of(head.uri.path()).filter(|_| head.method != Method::HEAD) {
            Some(room @ Room::Message(message)) => !message.writes() && room.takes(&head.method).is_ok(),
            Some(Room::About) => head.method == Method::POST,
            _ => false,
        };
        is_lookup && !head.headers.contains_key(CONTENT_ENCODING)
    }

    /// Reads a request that may be one. `None`: it is none, or says of itself what cannot be; the directory has the words for that.
    #[must_use]
    pub fn read(head: &Parts, body: &[u8], manners: Manners) -> Option<Self> {
        let message = match Room::of(head.uri.path())? {
            Room::Message(message) => Some(message),
            _ => None,
        };
        let read = if head.method == Method::POST {
            Call::read(body, message, manners.strictness)
        } else {
            let text = get::as_message(head.uri.query().unwrap_or_default()).ok()?.to_string();
            Call::read(text.as_bytes(), message, manners.strictness)
        };
        let call = read.ok().filter(|call| !matches!(call.ask, Ask::Write { .. }))?;
        Some(Self { call, head: head.clone(), manners })
    }

    /// How old the answer may be, where the caller says so (D-8).
    #[must_use]
    pub fn most_staleness(&self) -> Option<Duration> {
        self.call.header.max_staleness.map(Duration::from_millis)
    }

    /// The revision that the answer must not be older than (D-8).
    #[must_use]
    pub fn least_revision(&self) -> u64 {
        self.call.header.revision.unwrap_or_default()
    }

    /// Whether it is answered in less time than another thread takes to begin.
    #[must_use]
    pub fn is_quick(&self, state: &State) -> bool {
        gone_over(state, &self.call.ask) <= QUICK
    }

    /// The answer of a copy that is so old.
    #[must_use]
    pub fn answer(&self, state: &State, age: Duration) -> Response<Bytes> {
        let Manners { status, .. } = self.manners;
        // Never younger than it is.
        let age = u64::try_from(age.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        let mut used = self.call.used.clone();
        let mut answer = match looked_up(state, &self.call, &self.call.ask, &mut used, &self.manners) {
            Ok(mut found) => {
                found["staleness"] = age.into();
                if self.head.method == Method::POST {
                    answer::found(&found, status)
                } else {
                    get::cached(&found, &self.head.headers, status)
                }
            }
            Err(error) => {
                let mut body = message::refused(&error, state.revision());
                body["staleness"] = age.into();
                answer::refused(&error, &body, status)
            }
        };
        answer.headers_mut().insert(AGE, HeaderValue::from(age.div_ceil(1000)));
        answer
    }

    /// The answer as the caller takes it.
    pub async fn packed(&self, answer: Response<Bytes>) -> Response<Bytes> {
        packed(&self.head, answer).await
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, StatusCode};
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        ledger::{
            By,
            tests::{history, ledger, write},
        },
        message::Message,
    };

    const LENIENT: Manners = Manners {
        strictness: Strictness::Lenient,
        search: Search::Exact,
        status: Status::Mirror,
        protocol_names: ProtocolNames::AsRegistered,
    };

    fn asked(method: &str, path: &str) -> Parts {
        Request::builder().method(method).uri(format!("/datanet/v1{path}")).body(()).unwrap().into_parts().0
    }

    fn message(header: &Value, body: &Value) -> String {
        let mut message = json!({"header": {"version": "datanet 1.0"}, "body": body});
        message["header"].as_object_mut().unwrap().extend(header.as_object().cloned().unwrap());
        message.to_string()
    }

    #[test]
    fn retrievals_searches_and_lists_are_lookups_and_nothing_else_is() {
        for (method, path, expected) in [
            ("POST", "/central-systems/retrieve", true),
            ("GET", "/data-systems/retrieve?dataAddress=a.1", true),
            ("HEAD", "/data-systems/retrieve?dataAddress=a.1", false),
            ("POST", "/adapter-classes/search", true),
            ("POST", "/data-systems/list", true),
            ("POST", "", true),
            ("GET", "/adapter-classes/search", false),
            ("PUT", "/central-systems/retrieve", false),
            ("GET", "", false),
            ("POST", "/central-systems/connect", false),
            ("POST", "/data-systems/sync", false),
            ("POST", "/batch", false),
            ("GET", "/watch", false),
            ("GET", "/log/checkpoint", false),
            ("GET", "/proof/state", false),
            ("POST", "/nothing", false),
        ] {
            assert_eq!(Lookup::may_be(&asked(method, path)), expected, "{method} {path}");
        }
        let mut coded = asked("POST", "/central-systems/retrieve");
        coded.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert!(!Lookup::may_be(&coded), "what is packed the directory unpacks");
        let read = |path: &str, text: &str| Lookup::read(&asked("POST", path), text.as_bytes(), LENIENT).is_some();
        let of = |operation: &str, body: &Value| message(&json!({"operation": operation}), body);
        assert!(read("", &of("retrieveCentralSystem", &json!({"csid": "yunqi"}))));
        assert!(!read("", &of("disconnect", &json!({"id": "yunqi"}))), "a write");
        assert!(!read("", "{}") && !read("/central-systems/retrieve", "garbage"));
        let twice = asked("GET", "/central-systems/retrieve?csid=a&csid=b");
        assert!(Lookup::read(&twice, b"", LENIENT).is_none());
    }

    #[test]
    fn a_copy_answers_as_the_directory_does_and_says_how_old_it_is() {
        let mut original = ledger();
        history(&mut original);
        let state = original.state();
        let answered = |head: &Parts, text: &str, manners| {
            let lookup = Lookup::read(head, text.as_bytes(), manners).unwrap();
            let answer = lookup.answer(state, Duration::from_micros(1_500_001));
            assert_eq!(answer.headers()[AGE], "2", "rounded up");
            let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
            (answer.status(), body, answer.headers().get("etag").cloned())
        };
        let retrieve = asked("POST", "/central-systems/retrieve");
        let (status, body, _) =
            answered(&retrieve, &message(&json!({"proof": true}), &json!({"csid": "own"})), LENIENT);
        assert_eq!((status, &body["code"], &body["staleness"]), (StatusCode::OK, &json!(200), &json!(1501)));
        assert_eq!(body["centralsystem"]["endpoint"], "c:3");
        assert_eq!(
            (&body["revision"], &body["proof"]["root"]),
            (&json!(state.revision()), &json!(state.root().base64()))
        );
        let missing = message(&json!({}), &json!({"csid": "nobody"}));
        let (status, body, _) = answered(&retrieve, &missing, LENIENT);
        assert_eq!((status, &body["code"], &body["staleness"]), (StatusCode::NOT_FOUND, &json!(7310), &json!(1501)));
        let always = Manners { status: Status::AlwaysOk, ..LENIENT };
        assert_eq!(answered(&retrieve, &missing, always).0, StatusCode::OK);
        let newer = message(&json!({"revision": state.revision() + 1}), &json!({"csid": "own"}));
        assert_eq!(answered(&retrieve, &newer, LENIENT).0, StatusCode::SERVICE_UNAVAILABLE);

        let mut get = asked("GET", "/central-systems/retrieve?csid=own&maxStaleness=2000");
        let (status, _, tag) = answered(&get, "", LENIENT);
        assert_eq!(status, StatusCode::OK);
        get.headers.insert("if-none-match", tag.unwrap());
        assert_eq!(answered(&get, "", LENIENT).0, StatusCode::NOT_MODIFIED);
        let lookup = Lookup::read(&get, b"", LENIENT).unwrap();
        assert_eq!((lookup.most_staleness(), lookup.least_revision()), (Some(Duration::from_secs(2)), 0));
    }

    /// Leniency 6, its option.
    #[test]
    fn a_copy_writes_protocols_as_the_directory_does() {
        let mut original = ledger();
        let class = json!({"className": "c", "protocol": {"name": "ODPS", "version": "1"}});
        for (message, body) in [
            (Message::Connect, json!({"id": "yunqi", "endpoint": "a:1"})),
            (Message::SyncAdapterClasses, json!({"csid": "yunqi", "adapterClasses": [class]})),
        ] {
            original.submit(&write(message, body, By::Token), 1).unwrap().unwrap();
        }
        let (head, text) =
            (asked("POST", "/adapter-classes/retrieve"), message(&json!({}), &json!({"className": "c"})));
        for (protocol_names, name) in [(ProtocolNames::AsRegistered, "ODPS"), (ProtocolNames::LowerCase, "odps")] {
            let lookup = Lookup::read(&head, text.as_bytes(), Manners { protocol_names, ..LENIENT }).unwrap();
            let answer = lookup.answer(original.state(), Duration::ZERO);
            let body: Value = serde_json::from_slice(answer.body()).unwrap();
            assert_eq!(body["adapterClass"]["protocol"]["name"], name, "{body}");
        }
    }

    /// Who pages across an outage asks a copy that may be at another revision.
    #[test]
    fn a_cursor_of_another_revision_is_refused_by_a_copy_and_says_how_to_go_on() {
        let mut original = ledger();
        let mut connect = |id: &str| {
            original.submit(&write(Message::Connect, json!({"id": id, "endpoint": "a:1"}), By::Token), 1).unwrap();
            original.state().clone()
        };
        let states = ["a", "b", "c"].map(&mut connect);
        let [_, copy, newest] = &states;
        let listed = |state: &State, more: Value| {
            let mut body = json!({"limit": 1});
            body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
            let head = asked("POST", "/central-systems/list");
            let lookup = Lookup::read(&head, message(&json!({}), &body).as_bytes(), LENIENT).unwrap();
            let answer: Value = serde_json::from_slice(lookup.answer(state, Duration::ZERO).body()).unwrap();
            answer
        };
        let cursor = listed(newest, json!({}))["cursor"].clone();
        let second = listed(newest, json!({"cursor": cursor}));
        assert_eq!(
            (&second["code"], &second["centralsystems"][0]["id"]),
            (&json!(200), &json!("b")),
            "the same revision"
        );
        let refused = listed(copy, json!({"cursor": cursor}));
        assert_eq!(refused["code"], 7300);
        let words = refused["message"].as_str().unwrap();
        assert!(words.ends_with("begin with the first page, or say anyRevision"), "{words}");
        let second = listed(copy, json!({"cursor": cursor, "anyRevision": true}));
        assert_eq!((&second["code"], &second["centralsystems"][0]["id"]), (&json!(200), &json!("b")));
    }
}

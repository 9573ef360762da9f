//! What the headers of a call say, in one form for four generations of clients (PTP section 4.1).
//!
//! Names are normalised once, here: `x-ptp-` or `mesh-` is stripped, `from-` becomes `source-`, case is ignored and `_`
//! equals `-`. Where both families are present and differ, `x-ptp-` wins.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{InstId, NodeId, SessionId, Topic};

/// The longest header value that is taken as an id, a session or a topic. Real ones have 15 to 60 characters; a queue
/// key stays in memory for as long as its queue, so it is bounded.
const LONGEST_NAME: usize = 1024;

/// Values of `mesh-mdc`: ten instances in a circle, each of which the loop guard lets a call pass six times, and a few more.
const MOST_PASSES: usize = 64;

/// What the headers of a call say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallContext {
    /// `x-ptp-version`.
    pub version: Option<String>,
    /// `x-ptp-tech-provider-code`: `FATE` marks the OSX dialect.
    pub provider: Option<String>,
    /// `x-ptp-trace-id`.
    pub trace_id: Option<String>,
    /// `x-ptp-token`.
    pub token: Option<String>,
    /// `x-ptp-source-node-id`; the SDKs' placeholder counts as absent.
    pub source_node: Option<NodeId>,
    /// `x-ptp-source-inst-id`.
    pub source_inst: Option<InstId>,
    /// `x-ptp-target-node-id`.
    pub target_node: Option<NodeId>,
    /// `x-ptp-target-inst-id`.
    pub target_inst: Option<InstId>,
    /// `x-ptp-session-id`; absent is the empty session.
    pub session: SessionId,
    /// Whether a session header was there at all.
    pub has_session: bool,
    /// `x-ptp-topic`.
    pub topic: Option<Topic>,
    /// `x-ptp-timeout`: decimal milliseconds above 0.
    pub timeout: Option<Duration>,
    /// `x-ptp-uri`: the inner operation of invoke and transport; only its path counts.
    pub uri: Option<String>,
    /// `mesh-urn`.
    pub urn: Option<String>,
    /// `mesh-subset`.
    pub subset: Option<String>,
    /// `mesh-outgoing-host`: the instance of a service that earlier calls went to, as `name@host:port` (PTP section 10.4).
    pub outgoing_host: Option<String>,
    /// `x-ptp-message-id`: lets our kind retry a push without doubling it.
    pub message_id: Option<String>,
    /// `x-ptp-lease`: the name under which our kind settles what it pops.
    pub lease: Option<String>,
    /// `x-ptp-here`: a sidecar's word for its gateway that a call ends there whatever its targets say; `*`, or the source whose
    /// messages alone are read (PTP section 5.3).
    pub here: Option<String>,
    /// `x-ptp-for`: another gateway's word for the partner on whose behalf it passes a call on to the owner of its session.
    pub behalf: Option<NodeId>,
    /// The values of `mesh-mdc`, in order: the instances that passed the call on (PTP section 11.5).
    pub mdc: Vec<String>,
}

/// A header that cannot be used; `E0000000400`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderProblem {
    /// Not UTF-8.
    #[error("header {0} is not UTF-8 text")]
    NotText(String),
    /// Longer than 1024 bytes.
    #[error("header {0} is longer than {LONGEST_NAME} bytes")]
    TooLong(String),
    /// More than a call can have come by.
    #[error(
        "header mesh-mdc stands there more than {MOST_PASSES} times: the call goes in circles, or was made to look so"
    )]
    TooOften,
    /// Not a number of milliseconds.
    #[error("header {0} is not a number of milliseconds")]
    NotMilliseconds(String),
}

/// The two families of names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    Mesh,
    Ptp,
}

impl CallContext {
    /// Reads the headers (or gRPC metadata) of a call.
    ///
    /// # Errors
    /// A header of ours whose value is no text, is too long, or is no number where it must be one.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, HeaderProblem> {
        let mut context = Self::default();
        let mut seen = Seen::default();
        for (name, value) in headers {
            if let Some((family, key)) = family_of(name) {
                context.take(&mut seen, family, &key, name, value)?;
            }
        }
        // Read last: what a better name replaces is not looked at, wherever it stands.
        context.timeout = seen.timeout.map(|(name, value)| milliseconds(name, value)).transpose()?.flatten();
        Ok(context)
    }

    fn take<'h>(
        &mut self,
        seen: &mut Seen<'h>,
        family: Family,
        key: &str,
        name: &'h HeaderName,
        value: &'h HeaderValue,
    ) -> Result<(), HeaderProblem> {
        if key == "mdc" && family == Family::Mesh {
            // Whoever passes a message on may join the values of one name (RFC 9110 section 5.3).
            for pass in text(name, value)?.split(',').map(str::trim).filter(|pass| !pass.is_empty()) {
                if self.mdc.len() >= MOST_PASSES {
                    return Err(HeaderProblem::TooOften);
                }
                self.mdc.push(pass.to_owned());
            }
            return Ok(());
        }
        let Some(slot) = Slot::of(key) else { return Ok(()) };
        let value = text(name, value)?;
        if value.is_empty() || !seen.is_better(slot, family) {
            return Ok(());
        }
        match slot {
            Slot::Version => self.version = Some(value.to_owned()),
            Slot::Provider => self.provider = Some(value.to_owned()),
            Slot::TraceId => self.trace_id = Some(value.to_owned()),
            Slot::Token => self.token = Some(value.to_owned()),
            Slot::SourceNode => self.source_node = NodeId::given(value),
            Slot::SourceInst => self.source_inst = InstId::given(value),
            Slot::TargetNode => self.target_node = NodeId::given(value),
            Slot::TargetInst => self.target_inst = InstId::given(value),
            Slot::Session => {
                self.session = SessionId::new(value);
                self.has_session = true;
            }
            Slot::Topic => self.topic = Some(Topic::new(value)),
            Slot::Timeout => seen.timeout = Some((name, value)),
            Slot::Uri => self.uri = Some(value.to_owned()),
            Slot::Urn => self.urn = Some(value.to_owned()),
            Slot::Subset => self.subset = Some(value.to_owned()),
            Slot::OutgoingHost => self.outgoing_host = Some(value.to_owned()),
            Slot::MessageId => self.message_id = Some(value.to_owned()),
            Slot::Lease => self.lease = Some(value.to_owned()),
            Slot::Here => self.here = Some(value.to_owned()),
            Slot::Behalf => self.behalf = NodeId::given(value),
        }
        Ok(())
    }
}

/// The members that a header may fill.
#[derive(Clone, Copy)]
enum Slot {
    Version,
    Provider,
    TraceId,
    Token,
    SourceNode,
    SourceInst,
    TargetNode,
    TargetInst,
    Session,
    Topic,
    Timeout,
    Uri,
    Urn,
    Subset,
    OutgoingHost,
    MessageId,
    Lease,
    Here,
    Behalf,
}

impl Slot {
    /// Its place is the last: there is one for each.
    const LAST: Self = Self::Behalf;

    fn of(key: &str) -> Option<Self> {
        Some(match key {
            "version" => Self::Version,
            "tech-provider-code" => Self::Provider,
            "trace-id" => Self::TraceId,
            "token" => Self::Token,
            "source-node-id" | "from-node-id" => Self::SourceNode,
            "source-inst-id" | "from-inst-id" => Self::SourceInst,
            "target-node-id" => Self::TargetNode,
            "target-inst-id" => Self::TargetInst,
            "session-id" => Self::Session,
            "topic" => Self::Topic,
            "timeout" => Self::Timeout,
            "uri" => Self::Uri,
            "urn" => Self::Urn,
            "subset" => Self::Subset,
            "outgoing-host" => Self::OutgoingHost,
            "message-id" => Self::MessageId,
            "lease" => Self::Lease,
            "here" => Self::Here,
            "for" => Self::Behalf,
            _ => return None,
        })
    }
}

/// Which family filled a slot; the better one may overwrite it.
#[derive(Default)]
struct Seen<'h> {
    families: [Option<Family>; Slot::LAST as usize + 1],
    /// The timeout that counts, as it stands there.
    timeout: Option<(&'h HeaderName, &'h str)>,
}

impl Seen<'_> {
    fn is_better(&mut self, slot: Slot, family: Family) -> bool {
        let known = &mut self.families[slot as usize];
        let better = known.is_none_or(|old| family > old);
        if better {
            *known = Some(family);
        }
        better
    }
}

/// The family and the normalised rest of a header name of ours. `http` has lower-cased it already.
fn family_of(name: &HeaderName) -> Option<(Family, std::borrow::Cow<'_, str>)> {
    let name = name.as_str();
    // The first byte decides for nearly every header of a browser or a proxy.
    if !matches!(name.as_bytes().first(), Some(b'x' | b'm')) {
        return None;
    }
    let name: std::borrow::Cow<'_, str> = if name.contains('_') { name.replace('_', "-").into() } else { name.into() };
    let (family, prefix) = if name.starts_with("x-ptp-") { (Family::Ptp, "x-ptp-") } else { (Family::Mesh, "mesh-") };
    match name {
        std::borrow::Cow::Borrowed(name) => Some((family, name.strip_prefix(prefix)?.into())),
        std::borrow::Cow::Owned(name) => Some((family, name.strip_prefix(prefix)?.to_owned().into())),
    }
}

fn text<'v>(name: &HeaderName, value: &'v HeaderValue) -> Result<&'v str, HeaderProblem> {
    if value.len() > LONGEST_NAME {
        return Err(HeaderProblem::TooLong(name.to_string()));
    }
    std::str::from_utf8(value.as_bytes()).map_err(|_| HeaderProblem::NotText(name.to_string()))
}

/// 0 or less means "no timeout named", as it does in a body.
fn milliseconds(name: &HeaderName, value: &str) -> Result<Option<Duration>, HeaderProblem> {
    let number: i64 = value.trim().parse().map_err(|_| HeaderProblem::NotMilliseconds(name.to_string()))?;
    Ok(u64::try_from(number).ok().filter(|number| *number > 0).map(Duration::from_millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(headers: &[(&str, &str)]) -> CallContext {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        CallContext::from_headers(&map).unwrap()
    }

    #[test]
    fn four_generations_of_names_mean_the_same() {
        for source in ["x-ptp-source-node-id", "x-ptp-from-node-id", "mesh-from-node-id", "mesh-source-node-id"] {
            assert_eq!(context(&[(source, "LX1")]).source_node, Some(NodeId::new("lx1")), "{source}");
        }
        for source in ["x-ptp-source-inst-id", "x-ptp-from-inst-id", "mesh-from-inst-id", "mesh-source-inst-id"] {
            assert_eq!(context(&[(source, "JG1")]).source_inst, Some(InstId::new("jg1")), "{source}");
        }
        for session in ["x-ptp-session-id", "mesh-session-id", "X_PTP_Session_Id", "MESH_SESSION_ID"] {
            assert_eq!(context(&[(session, "s1")]).session, SessionId::new("s1"), "{session}");
        }
    }

    #[test]
    fn the_ptp_family_wins_in_either_order() {
        let pair = [("mesh-session-id", "old"), ("x-ptp-session-id", "new")];
        assert_eq!(context(&pair).session, SessionId::new("new"));
        assert_eq!(context(&[pair[1], pair[0]]).session, SessionId::new("new"));
    }

    #[test]
    fn a_timeout_that_a_better_name_replaces_is_not_read() {
        let pair = [("mesh-timeout", "soon"), ("x-ptp-timeout", "50")];
        for headers in [pair, [pair[1], pair[0]]] {
            assert_eq!(context(&headers).timeout, Some(Duration::from_millis(50)), "{headers:?}");
        }
    }

    /// A name without a place would be a panic that any caller can cause.
    #[test]
    fn every_name_has_its_place() {
        let names = "version tech-provider-code trace-id token source-node-id source-inst-id target-node-id target-inst-id \
            session-id topic timeout uri urn subset outgoing-host message-id lease here";
        for name in names.split_whitespace() {
            for family in ["x-ptp", "mesh"] {
                assert!(Slot::of(name).is_some_and(|slot| slot as usize <= Slot::LAST as usize), "{name}");
                context(&[(&format!("{family}-{name}"), "1")]);
            }
        }
    }

    #[test]
    fn a_timeout_of_nothing_or_less_is_none() {
        for (text, expected) in [("0", None), ("-1", None), (" 7 ", Some(7))] {
            assert_eq!(context(&[("x-ptp-timeout", text)]).timeout, expected.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn placeholders_count_as_absent() {
        let sdk =
            context(&[("x-ptp-source-node-id", "LX0000000000000"), ("x-ptp-target-inst-id", "JG0000000000000000")]);
        assert_eq!((sdk.source_node, sdk.target_inst), (None, None));
    }

    #[test]
    fn a_missing_session_is_the_empty_one() {
        let none = context(&[("accept", "*/*")]);
        assert!(none.session.is_empty() && !none.has_session);
    }

    #[test]
    fn the_loop_guards_values_are_kept_in_order() {
        assert_eq!(context(&[("mesh-mdc", "a"), ("mesh-mdc", "b")]).mdc, ["a", "b"]);
        assert_eq!(context(&[("mesh-mdc", "a, b,,c"), ("mesh-mdc", " d")]).mdc, ["a", "b", "c", "d"], "joined");
    }

    #[test]
    fn a_call_that_came_by_more_instances_than_any_circle_has_is_refused() {
        let passed = |times: usize| {
            let mut map = HeaderMap::new();
            (0..times).for_each(|_| {
                map.append("mesh-mdc", HeaderValue::from_static("a"));
            });
            CallContext::from_headers(&map).map(|context| context.mdc.len())
        };
        assert_eq!((passed(MOST_PASSES), passed(MOST_PASSES + 1)), (Ok(MOST_PASSES), Err(HeaderProblem::TooOften)));
        let mut joined = HeaderMap::new();
        joined.insert("mesh-mdc", HeaderValue::from_str(&vec!["a"; MOST_PASSES + 1].join(", ")).unwrap());
        assert_eq!(CallContext::from_headers(&joined), Err(HeaderProblem::TooOften), "in one line");
    }

    #[test]
    fn a_timeout_that_is_no_number_is_refused() {
        let mut map = HeaderMap::new();
        map.insert("x-ptp-timeout", HeaderValue::from_static("soon"));
        assert!(matches!(CallContext::from_headers(&map), Err(HeaderProblem::NotMilliseconds(_))));
    }
}

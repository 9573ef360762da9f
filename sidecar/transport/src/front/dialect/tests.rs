//! PTP section 5.4, line by line.

use http::{HeaderName, HeaderValue};
use mesh_core::CallContext;

use super::*;

/// Operation, query, headers and body of a POST.
fn dialect(op: Op, query: &str, headers: &[(&str, &str)], body: &str) -> Dialect {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    let (context, query) = (CallContext::from_headers(&map).unwrap(), Query::read(query.as_bytes()));
    let names_source = context.source_node.is_some();
    let told_by =
        |body| Signs { op, post: true, names_source, headers: &map, context: &context, query: &query, body }.dialect();
    let told = told_by(Seen::Whole(body.as_bytes()));
    // What no rule looks into is told as well before it is read.
    if body.is_empty() || matches!(told, Dialect::Json | Dialect::Osx | Dialect::Protobuf) {
        assert_eq!(told_by(Seen::Announced(!body.is_empty())), told, "before the body is here");
    }
    told
}

const JSON: (&str, &str) = ("content-type", "application/json");
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const PROTO: (&str, &str) = ("content-type", "application/proto");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const TOPIC: (&str, &str) = ("x-ptp-topic", "t");
const SOURCE: (&str, &str) = ("x-ptp-source-node-id", "alice");
const TARGET: (&str, &str) = ("x-ptp-target-node-id", "bob");
const SESSION: (&str, &str) = ("x-ptp-session-id", "s");
const URI: (&str, &str) = ("x-ptp-uri", "/v1/interconn/chan/push");

/// Rule, operation, query, headers, body, dialect.
type Line<'a> = (&'a str, Op, &'a str, &'a [(&'a str, &'a str)], &'a str, Dialect);

#[test]
fn the_first_rule_that_matches_decides() {
    use Dialect::*;
    let table: &[Line<'_>] = &[
        ("2", Op::Invoke, "", &[TOPIC], "raw", Kuscia),
        ("2 whatever the type", Op::Transport, "", &[TOPIC, JSON], "{}", Kuscia),
        ("2 not with a uri", Op::Invoke, "", &[TOPIC, URI, JSON], "{}", Json),
        ("2 before 3", Op::Invoke, "", &[TOPIC, PROTOBUF], "x", Kuscia),
        ("3", Op::Push, "", &[PROTOBUF], "x", Protobuf),
        ("3 before 4", Op::Pop, "", &[PROTOBUF, ("accept", "application/json")], "", Protobuf),
        ("4 before 5", Op::Peek, "", &[PROTO, ("accept", "application/json")], "{}", Json),
        ("4 before 6", Op::Push, "timeout=5", &[JSON, TOPIC, SOURCE], "{}", Json),
        ("4 before 7", Op::Pop, "", &[JSON, TOPIC, TARGET], "", Bare),
        ("4 before 8", Op::Release, "", &[("accept", "application/json"), SESSION], "", Bare),
        ("5 before 9", Op::Push, "", &[PROTO], "{}", Kuscia),
        ("3 with an empty body", Op::Pop, "", &[PROTOBUF], "", Protobuf),
        ("3 with parameters", Op::Pop, "", &[("content-type", "Application/X-Protobuf; v=1")], "", Protobuf),
        ("4", Op::Push, "", &[JSON], "{}", Json),
        ("4 with a charset", Op::Push, "", &[("content-type", "application/json; charset=utf-8")], "{}", Json),
        ("4 by accept", Op::Push, "", &[("accept", "text/html, application/json;q=0.9")], "{}", Json),
        ("4 not by any accept", Op::Push, "", &[("accept", "*/*")], "raw", Unknown),
        ("4 FATE by provider", Op::Pop, "", &[JSON, ("x-ptp-tech-provider-code", "Fate")], "{}", Osx),
        ("4 FATE by header", Op::Pop, "", &[JSON, ("fate-message-flag", "1")], "{}", Osx),
        ("5", Op::Push, "", &[PROTO], "raw", Kuscia),
        ("5 by accept", Op::Pop, "", &[("accept", "application/proto")], "", Kuscia),
        ("6 by a query timeout", Op::Push, "timeout=5", &[TOPIC, SOURCE], "{}", Kuscia),
        ("6 by a body that is no object", Op::Push, "", &[TOPIC, SOURCE, FORM], "raw", Kuscia),
        ("6 needs a source", Op::Push, "timeout=5", &[TOPIC], "{}", Json),
        ("6 needs a topic", Op::Push, "timeout=5", &[SOURCE], "{}", Json),
        ("7", Op::Pop, "timeout=5", &[TOPIC, TARGET], "", Kuscia),
        ("7 peek", Op::Peek, "", &[TOPIC, TARGET], "", Kuscia),
        ("7 not with a topic in the query", Op::Pop, "topic=t", &[TOPIC, TARGET], "", Bare),
        ("7 not with a body", Op::Pop, "", &[TOPIC, TARGET], "{}", Json),
        ("7 not without a target", Op::Pop, "", &[TOPIC], "", Bare),
        ("8", Op::Release, "", &[SESSION], "", Kuscia),
        ("8 not with a query", Op::Release, "x=1", &[SESSION], "", Bare),
        ("8 not without a session", Op::Release, "", &[], "", Bare),
        ("9 curl -d", Op::Push, "", &[FORM], " \n{}", Json),
        ("9 without a type", Op::Push, "", &[], "{}", Json),
        ("9 FATE", Op::Push, "", &[("fate-queue-type", "x")], "{}", Osx),
        ("10", Op::Pop, "topic=t", &[], "", Bare),
        ("11", Op::Push, "", &[FORM], "topic=t", Form),
        ("12", Op::Push, "", &[("content-type", "application/xml")], "<x/>", Unknown),
        ("12 bytes", Op::Push, "", &[], "raw", Unknown),
    ];
    for (rule, op, query, headers, body, expected) in table {
        assert_eq!(dialect(*op, query, headers, body), *expected, "rule {rule}");
    }
}

#[test]
fn a_release_by_get_is_not_kuscias() {
    let headers = HeaderMap::new();
    let context = CallContext { has_session: true, ..CallContext::default() };
    let query = Query::default();
    let (context, query, headers) = (&context, &query, &headers);
    let signs =
        Signs { op: Op::Release, post: false, names_source: false, headers, context, query, body: Seen::Whole(b"") };
    assert_eq!(signs.dialect(), Dialect::Bare);
}

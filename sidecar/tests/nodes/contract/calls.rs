//! What is asked and what it brings, in plain words (PTP sections 2, 9 and 15): each row runs over every way that there is.

use bytes::Bytes;

use super::{
    OK,
    stage::{DISABLED, EXPIRED, MAX_BODY, Stage, UNREACHABLE},
    ways::{Form, Got, SENDER, WAYS, Want},
    wire::{Transport, Wire},
};
use crate::harness::A;

/// An operation on a topic, and what must come of it.
struct Step {
    want: Want,
    topic: &'static str,
    headers: &'static [(&'static str, &'static str)],
    code: &'static str,
    gives: Option<&'static [u8]>,
}

/// Whom a row is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    Everybody,
    /// A partner is told something else.
    Applications,
    /// Kuscia has no word for it, or another meaning.
    AllButKuscia,
    /// Neither of the two.
    ApplicationsButKuscia,
}

struct Row {
    name: &'static str,
    who: For,
    steps: Vec<Step>,
}

const BYTES: &[u8] = b"hello-\x00\xff";
static TOO_LARGE: [u8; MAX_BODY + 1] = [7; MAX_BODY + 1];
/// A session has room for three of them; and one fits into a body with base64 in base64.
static THIRD: [u8; 30_000] = [7; 30_000];

fn step(want: Want, code: &'static str, gives: Option<&'static [u8]>) -> Step {
    Step { want, topic: "t", headers: &[], code, gives }
}

fn push(payload: &'static [u8]) -> Step {
    step(Want::Push(payload), OK, None)
}

fn pop(gives: Option<&'static [u8]>) -> Step {
    step(Want::Pop(if gives.is_some() { 2000 } else { 60 }), OK, gives)
}

fn peek(gives: Option<&'static [u8]>) -> Step {
    step(Want::Peek, OK, gives)
}

fn release() -> Step {
    step(Want::Release, OK, None)
}

impl Step {
    fn of(self, topic: &'static str) -> Self {
        Self { topic, ..self }
    }

    fn with(self, headers: &'static [(&'static str, &'static str)]) -> Self {
        Self { headers, ..self }
    }

    fn refused(self, code: &'static str) -> Self {
        Self { code, ..self }
    }
}

fn rows() -> Vec<Row> {
    use For::{AllButKuscia, Applications, ApplicationsButKuscia, Everybody};
    const UNKNOWN: &[(&str, &str)] = &[("x-ptp-target-node-id", "LX9999999999999")];
    let row = |name, who, steps| Row { name, who, steps };
    vec![
        row("bytes come back as they are", Everybody, vec![push(BYTES), pop(Some(BYTES)), pop(None)]),
        row("first in, first out", Everybody, vec![push(b"1"), push(b"2"), pop(Some(b"1")), pop(Some(b"2"))]),
        row(
            "a peek leaves the message",
            Everybody,
            vec![push(b"1"), peek(Some(b"1")), peek(Some(b"1")), pop(Some(b"1"))],
        ),
        row("a peek of nothing", Everybody, vec![peek(None)]),
        // A Kuscia push must not be empty.
        row("an empty message is one", AllButKuscia, vec![push(b""), pop(Some(b"")), pop(None)]),
        row("topics are apart", Everybody, vec![push(b"1").of("a"), pop(None).of("b"), pop(Some(b"1")).of("a")]),
        row(
            "a release of a topic frees its split packets too, and no other",
            Everybody,
            vec![
                push(b"1"),
                push(b"2").of("t-mesh-split-0"),
                push(b"3").of("t-mesh"),
                release(),
                peek(None),
                peek(None).of("t-mesh-split-0"),
                pop(Some(b"3")).of("t-mesh"),
            ],
        ),
        row(
            "a released session is over",
            Applications,
            vec![
                push(b"1"),
                release().of(""),
                pop(None).refused("E0000000608"),
                push(b"1").refused("E0000000608"),
                peek(None).refused("E0000000608"),
                release().of(""),
                release(),
            ],
        ),
        row("a partner's release frees what is its own", Everybody, vec![push(b"1"), release(), release(), peek(None)]),
        row("a body above the limit", Everybody, vec![push(&TOO_LARGE).refused("E0000000413"), pop(None)]),
        row(
            "no room in time",
            Everybody,
            vec![
                push(&THIRD),
                push(&THIRD),
                push(&THIRD),
                push(&THIRD).with(&[("x-ptp-timeout", "60")]).refused("E0000000700"),
                pop(Some(&THIRD)),
                push(&THIRD),
            ],
        ),
        row("an own id is local", AllButKuscia, vec![push(b"1").with(&[("x-ptp-target-node-id", A)]), pop(Some(b"1"))]),
        row(
            "ids compare without regard to case",
            AllButKuscia,
            vec![push(b"1").with(&[("mesh_target_node_id", "lx0000010000280")]), pop(Some(b"1"))],
        ),
        row(
            "the placeholder of SDKs is no target",
            AllButKuscia,
            vec![
                push(b"1").with(&[("x-ptp-target-node-id", "LX0000000000000")]),
                pop(Some(b"1")).with(&[("x-ptp-target-inst-id", "JG0000000000000000")]),
            ],
        ),
        row(
            "a target that nobody knows",
            AllButKuscia,
            vec![
                push(b"1").with(UNKNOWN).refused("E0000000618"),
                pop(None).with(UNKNOWN).refused("E0000000618"),
                peek(None).with(UNKNOWN).refused("E0000000618"),
                release().with(UNKNOWN).refused("E0000000618"),
            ],
        ),
        row("a push to nobody", Everybody, vec![push(b"1").with(UNKNOWN).refused("E0000000618"), pop(None)]),
        row(
            "an id of the same sequence is another's",
            Everybody,
            vec![push(b"1").with(&[("x-ptp-target-node-id", "ZZ9999990000280")]).refused("E0000000618")],
        ),
        row(
            "a node id decides alone",
            Everybody,
            vec![
                push(b"1")
                    .with(&[
                        ("x-ptp-target-node-id", "LX9999999999999"),
                        ("x-ptp-target-inst-id", "JG0100002700000000"),
                    ])
                    .refused("E0000000618"),
            ],
        ),
        row(
            "routes that carry nothing",
            Everybody,
            vec![
                push(b"1").with(&[("x-ptp-target-node-id", DISABLED)]).refused("E0000000606"),
                push(b"1").with(&[("x-ptp-target-node-id", EXPIRED)]).refused("E0000000605"),
            ],
        ),
        row(
            "a partner that is not there",
            Applications,
            vec![
                push(b"1")
                    .with(&[("x-ptp-target-node-id", UNREACHABLE), ("x-ptp-timeout", "500")])
                    .refused("E0000000607"),
            ],
        ),
        row(
            "the header's topic wins over the body's",
            ApplicationsButKuscia,
            vec![push(b"1").with(&[("mesh-topic", "h")]), pop(None), pop(Some(b"1")).of("h")],
        ),
        row(
            "the header's timeout wins over the body's",
            ApplicationsButKuscia,
            vec![Step { want: Want::Pop(3_000_000), ..pop(None) }.with(&[("x-ptp-timeout", "60")])],
        ),
    ]
}

/// What the way makes of an expectation: protobuf cannot tell an empty message from none, and OSX names an empty pop.
fn expected(form: Form, step: &Step) -> Got {
    let empty_pop = matches!(step.want, Want::Pop(_)) && step.code == OK && step.gives.is_none();
    let code = if form == Form::Osx && empty_pop { "E0000000601" } else { step.code };
    let gives = step.gives.filter(|payload| form.tells_empty() || !payload.is_empty());
    Got { code: code.to_owned(), payload: gives.map(Bytes::from_static) }
}

fn concerns(row: &Row, (transport, form): (Transport, Form)) -> bool {
    let (application, kuscia) = (transport != Transport::TlsH2, form == Form::Kuscia);
    // A query is no place for a large payload, and with a topic among the headers it is Kuscia's (PTP section 5.4).
    let is_large = |step: &Step| matches!(step.want, Want::Push(payload) if payload.len() > 1000);
    let says_topic = |step: &Step| step.headers.iter().any(|(name, _)| name.ends_with("-topic"));
    if form == Form::Query && row.steps.iter().any(|step| is_large(step) || says_topic(step)) {
        return false;
    }
    match row.who {
        For::Everybody => true,
        For::Applications => application,
        For::AllButKuscia => !kuscia,
        For::ApplicationsButKuscia => application && !kuscia,
    }
}

/// Runs one row in a session of its own.
async fn run(stage: &Stage, wire: &mut Wire, (transport, form): (Transport, Form), row: &Row) {
    let session = format!("{transport:?} {form:?} {}", row.name.replace(' ', "-"));
    for (at, step) in row.steps.iter().enumerate() {
        // Kuscia's readers ask by the sender; what a partner claims to be is refused unless it is so.
        let source = [("x-ptp-source-node-id", SENDER)];
        let source = if transport == Transport::TlsH2 { &[][..] } else { &source[..] };
        let ask = form.request(step.want, &session, step.topic, &[step.headers, source].concat());
        let got = form.read(&wire.send(stage.node.data, ask.clone()).await);
        assert_eq!(got, expected(form, step), "{session}, step {at}: {ask:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_means_the_same_on_every_way() {
    Box::pin(every_call_means_the_same_on_every_way_at(&Stage::set().await)).await;
}

pub(super) async fn every_call_means_the_same_on_every_way_at(stage: &Stage) {
    let rows = rows();
    // All ways at a time, each on a wire of its own: most of it is waiting for nothing to come.
    let over = async |way: (Transport, Form)| {
        let mut wire = stage.wire(way.0).await;
        for row in rows.iter().filter(|row| concerns(row, way)) {
            run(stage, &mut wire, way, row).await;
        }
    };
    futures::future::join_all(WAYS.into_iter().map(over)).await;
}

/// PTP section 15: a push in each dialect, popped in each other.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_on_one_way_is_popped_on_every_other() {
    what_is_pushed_on_one_way_is_popped_on_every_other_at(&Stage::set().await).await;
}

pub(super) async fn what_is_pushed_on_one_way_is_popped_on_every_other_at(stage: &Stage) {
    let (mut http1, mut h2c) = (stage.wire(Transport::Http1).await, stage.wire(Transport::H2c).await);
    let applications: Vec<_> = WAYS.into_iter().filter(|(transport, _)| *transport != Transport::TlsH2).collect();
    for (from, pushes) in &applications {
        for (to, pops) in &applications {
            let source = [("x-ptp-source-node-id", SENDER)];
            let pushed = pushes.request(Want::Push(BYTES), "mixed", "t", &source);
            let popped = pops.request(Want::Pop(2000), "mixed", "t", &[]);
            let mut send = async |transport: &Transport, ask| match transport {
                Transport::Http1 => http1.send(stage.node.data, ask).await,
                _ => h2c.send(stage.node.data, ask).await,
            };
            let pushed = pushes.read(&send(from, pushed).await);
            assert_eq!(pushed, Got { code: OK.to_owned(), payload: None }, "{pushes:?}");
            let popped = pops.read(&send(to, popped).await);
            let expected = Got { code: OK.to_owned(), payload: Some(Bytes::from_static(BYTES)) };
            assert_eq!(popped, expected, "pushed by {from:?} {pushes:?}, popped by {to:?} {pops:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plain_operations_are_closed_to_partners_in_every_encoding() {
    let stage = Stage::set().await;
    let mut wire = stage.wire(Transport::TlsH2).await;
    for form in [Form::Json, Form::Protobuf, Form::Osx, Form::Query, Form::Kuscia, Form::Grpc] {
        for want in [Want::Push(b"1"), Want::Pop(60), Want::Peek, Want::Release] {
            let got = form.read(&wire.send(stage.node.data, form.request(want, "s", "t", &[])).await);
            assert_eq!(got, Got { code: "E0000000614".into(), payload: None }, "{form:?} {want:?}");
        }
    }
}

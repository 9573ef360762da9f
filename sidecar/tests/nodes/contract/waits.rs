//! Calls that wait, on every way at once: whoever they came by, they stand in one line (PTP sections 9.2, 9.3 and 9.5).

use std::time::Duration;

use super::{
    OK,
    stage::Stage,
    ways::{Form, Got, SENDER, WAYS, Want},
    wire::{Ask, Heard, Transport, Wire},
};
use crate::harness::until;

/// Long enough for all of the line to come, on a busy machine.
const PATIENT: Want = Want::Pop(100_000);
/// A message for each way.
static NAMES: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";
/// A session has room for three of them.
static THIRD: [u8; 30_000] = [7; 30_000];

/// The ways of applications.
fn ways() -> Vec<(Transport, Form)> {
    WAYS.into_iter().filter(|(transport, _)| *transport != Transport::TlsH2).collect()
}

/// The answer, and the connection that it came on: one that ends at once may make its message come again, to the next in line
/// (design section 6).
type Waiting = tokio::task::JoinHandle<(Heard, Wire)>;

/// Asks on a connection of its own.
async fn asks(stage: &Stage, transport: Transport, ask: Ask) -> Waiting {
    let (mut wire, to) = (stage.wire(transport).await, stage.node.data);
    tokio::spawn(async move { (wire.exchange(to, ask).await, wire) })
}

/// A waiting pop on each way, one behind the other.
async fn line(stage: &Stage, session: &str) -> Vec<(Form, Waiting)> {
    let mut line = Vec::new();
    for (transport, form) in ways() {
        let pop = form.request(PATIENT, session, "t", &[]);
        line.push((form, asks(stage, transport, pop).await));
        let waits = line.len() as f64;
        let is_in_line = async || stage.waiting("pops").await >= waits;
        until("the next pop to wait", Duration::from_secs(90), is_in_line).await;
    }
    line
}

async fn heard(waiting: Waiting) -> (Heard, Wire) {
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("an answer").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn pops_of_all_ways_are_served_in_the_order_in_which_they_came() {
    pops_of_all_ways_are_served_in_the_order_in_which_they_came_at(&Stage::set().await).await;
}

pub(super) async fn pops_of_all_ways_are_served_in_the_order_in_which_they_came_at(stage: &Stage) {
    let line = line(stage, "line").await;
    let mut wire = stage.wire(Transport::Http1).await;
    for name in NAMES.chunks(1).take(line.len()) {
        let push = Form::Kuscia.request(Want::Push(name), "line", "t", &[("x-ptp-source-node-id", SENDER)]);
        assert_eq!(Form::Kuscia.read(&wire.send(stage.node.data, push).await).code, OK);
    }
    let mut open = Vec::new();
    for ((form, waiting), name) in line.into_iter().zip(NAMES.chunks(1)) {
        let (heard, wire) = heard(waiting).await;
        open.push(wire);
        let got = form.read(&heard);
        assert_eq!(got, Got { code: OK.into(), payload: Some(name.into()) }, "{form:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_wakes_the_pops_and_the_pushes_of_all_ways() {
    a_release_wakes_the_pops_and_the_pushes_of_all_ways_at(&Stage::set().await).await;
}

pub(super) async fn a_release_wakes_the_pops_and_the_pushes_of_all_ways_at(stage: &Stage) {
    let pops = line(stage, "released").await;
    for _ in 0..3 {
        let push = Form::Json.request(Want::Push(&THIRD), "released", "full", &[]);
        assert_eq!(Form::Json.read(&stage.ask(push).await).code, OK);
    }
    let mut pushes = Vec::new();
    for (transport, form) in ways().into_iter().filter(|(_, form)| *form != Form::Query) {
        let source = [("x-ptp-source-node-id", SENDER), ("x-ptp-timeout", "100000")];
        let push = form.request(Want::Push(&THIRD), "released", "full", &source);
        pushes.push((form, asks(stage, transport, push).await));
    }
    let wait = pushes.len() as f64;
    // Some have a body that is read once there is room for it.
    let all_wait = async || stage.waiting("pushes").await + stage.waiting("bodies").await >= wait;
    until("all pushes to wait", Duration::from_secs(90), all_wait).await;
    let release = Form::Json.request(Want::Release, "released", "", &[]);
    assert_eq!(Form::Json.read(&stage.ask(release).await).code, OK);
    for (form, waiting) in pops.into_iter().chain(pushes) {
        let got = form.read(&heard(waiting).await.0);
        assert_eq!(got, Got { code: "E0000000608".into(), payload: None }, "{form:?}");
    }
}

/// PTP section 9.2: how long a push waits for room says the header, else gRPC's deadline, else Kuscia's query.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_waits_for_room_as_long_as_its_way_says() {
    a_push_waits_for_room_as_long_as_its_way_says_at(&Stage::set().await).await;
}

pub(super) async fn a_push_waits_for_room_as_long_as_its_way_says_at(stage: &Stage) {
    for _ in 0..3 {
        let push = Form::Json.request(Want::Push(&THIRD), "full", "t", &[]);
        assert_eq!(Form::Json.read(&stage.ask(push).await).code, OK);
    }
    let source = [("x-ptp-source-node-id", SENDER)];
    let of = |form: Form, headers: &[(&str, &str)]| {
        form.request(Want::Push(&THIRD), "full", "t", &[&source[..], headers].concat())
    };
    for (transport, form, ask) in [
        (Transport::H2c, Form::Grpc, of(Form::Grpc, &[("grpc-timeout", "200m")])),
        (Transport::H2c, Form::GenericGrpc, of(Form::GenericGrpc, &[("grpc-timeout", "200m")])),
        (Transport::H2c, Form::Grpc, of(Form::Grpc, &[("grpc-timeout", "1H"), ("x-ptp-timeout", "50")])),
        (
            Transport::Http1,
            Form::Kuscia,
            Ask { path: "/v1/interconn/chan/push?timeout=1".into(), ..of(Form::Kuscia, &[]) },
        ),
        (
            Transport::Http1,
            Form::Kuscia,
            Ask { path: "/v1/interconn/chan/push?timeout=300".into(), ..of(Form::Kuscia, &[("x-ptp-timeout", "50")]) },
        ),
    ] {
        let got = form.read(&heard(asks(stage, transport, ask).await).await.0);
        assert_eq!(got, Got { code: "E0000000700".into(), payload: None }, "{form:?}");
    }
}

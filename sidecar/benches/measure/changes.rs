//! Registrations that change while calls go on: among ten thousand, fifty changes a second delay no call.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use serde_json::{Value, json};

use super::partners::post;
use crate::{
    Effort,
    client::{Expect, Sequence},
    load::{Load, Pace, pause},
    peer::ORIGIN_SIZE,
    process::{Probe, Server},
    report::{Goal, Line, Report, Unit},
    stats::{P50, P99, P999, Rounds, median},
    work::folder,
};

const REGISTRATIONS: usize = 10_000;
/// As many as one call may hold.
const AT_ONCE: usize = 1000;
const CONNECTIONS: usize = 16;
const PACE: f64 = 2000.0;
/// No request is delayed: by no more than two rounds without changes differ from each other.
const AS_WITHOUT: Goal = Goal::RatioAtMost(1.1);
/// Between two changes.
const PAUSE: Duration = Duration::from_millis(20);

const GET: &[u8] = b"GET /serving/x HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";

pub(super) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let service = Server::own("origin", &[], Probe::Get("/stats"))?;
    let ours = Server::mesh(&folder("mesh")?, None)?;
    let at = service.address.to_string();
    put(&ours, &[registration("/serving", &at, &at)])?;
    // All at one address: what is measured is the registry, and not who is asked whether it is there.
    for from in (0..REGISTRATIONS).step_by(AT_ONCE) {
        put(&ours, &(from..from + AT_ONCE).map(|n| numbered(n, &at)).collect::<Vec<_>>())?;
    }
    let open = |_: usize| Sequence::open(ours.address, vec![(GET.to_vec(), Expect::AtLeast(ORIGIN_SIZE))]);
    let load = Load { connections: CONNECTIONS, open: &open };
    let mut changes = Vec::new();
    let rounds = Rounds::take(
        effort.rounds,
        || {
            let (round, took) = changing(&ours, &at, || load.round(&[&ours], Pace::Open(PACE), effort.round))?;
            changes.extend(took);
            anyhow::Ok(round)
        },
        || load.round(&[&ours], Pace::Open(PACE), effort.round),
    )?;
    let measure = "calls while registrations change";
    rounds.show(measure, "without changes");
    // One call in a thousand meets whatever the machine does beside.
    for (what, figure, goal) in
        [("p50", P50 as fn(&_) -> f64, AS_WITHOUT), ("p99", P99, AS_WITHOUT), ("p99.9", P999, Goal::None)]
    {
        rounds.line(report, (format!("{measure}: {what}"), "without changes"), Unit::Micros, figure, goal);
    }
    report.line(Line {
        measure: format!("a change among {REGISTRATIONS} registrations, asked for and in force"),
        unit: Unit::Micros,
        ours: median(changes),
        peer: None,
        goal: Goal::AtMost(1000.0),
    });
    Ok(())
}

/// What `work` finds while one registration after another is changed, and how long each change took, in microseconds.
fn changing<T>(ours: &Server, at: &str, work: impl FnOnce() -> Result<T>) -> Result<(T, Vec<f64>)> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let changer = scope.spawn(|| -> Result<Vec<f64>> {
            let mut took = Vec::new();
            for n in 0.. {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let mut changed = numbered(n % REGISTRATIONS, at);
                changed["attachments"] = json!({"n": n.to_string()});
                let begun = Instant::now();
                put(ours, &[changed])?;
                took.push(begun.elapsed().as_secs_f64() * 1e6);
                pause(PAUSE);
            }
            Ok(took)
        });
        let found = work();
        over.store(true, Ordering::Relaxed);
        let took = changer.join().map_err(|_| anyhow!("the changer panicked"))??;
        Ok((found?, took))
    })
}

fn put(ours: &Server, registrations: &[Value]) -> Result<()> {
    post(ours, "/mesh/invoke", "mesh-urn: mesh.registry.puts\r\n", &json!({ "registrations": registrations }))
        .map(|_| ())
}

fn numbered(n: usize, at: &str) -> Value {
    registration(&format!("/org{}/service{n}", n % 100), &format!("instance{n}"), at)
}

fn registration(urn: &str, instance: &str, at: &str) -> Value {
    json!({
        "instance_id": instance, "name": urn, "kind": "complex", "address": at, "timestamp": 1_500_000,
        "content": {"services": [{"urn": urn, "kind": "Restful", "proto": "http"}]},
    })
}

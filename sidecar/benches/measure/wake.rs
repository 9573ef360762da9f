//! A waiting pop: from the moment a push is sent until the pop that waited for it is answered, against Redis LPUSH to a
//! blocked BLPOP.

use std::{
    sync::mpsc::sync_channel,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};

use crate::{
    Effort,
    client::{Body, Expect, Http, Redis, pop, push},
    load::pause,
    peer::redis,
    process::{Probe, Server},
    report::{Goal, Report, Unit},
    stats::{P50, P99, Round, Rounds, percentile},
    work::folder,
};

const SIZE: usize = 1024;

/// After this a pop that was sent surely waits in the server.
const SETTLE: Duration = Duration::from_micros(400);

pub(super) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let ours = Server::mesh(&folder("mesh")?, None)?;
    let floor = Server::own("floor", &[], Probe::Get("/stats"))?;
    compare(effort, report, ("floor", Goal::None, Goal::None), || http(&ours, effort), || http(&floor, effort))?;
    let redis = match redis(false) {
        Ok(redis) => redis,
        Err(why) => {
            report.left_out("waiting pop against Redis", &why);
            return Ok(());
        }
    };
    let goal = Goal::RatioAtMost(1.0);
    compare(effort, report, ("Redis", goal, goal), || http(&ours, effort), || blpop(&redis, effort))
}

fn compare(
    effort: Effort,
    report: &mut Report,
    (peer, p50, p99): (&'static str, Goal, Goal),
    ours: impl FnMut() -> Result<Round>,
    theirs: impl FnMut() -> Result<Round>,
) -> Result<()> {
    let rounds = Rounds::take(effort.rounds, ours, theirs)?;
    rounds.show("waiting pop 1 KiB", peer);
    rounds.line(report, ("waiting pop 1 KiB: p50".to_owned(), peer), Unit::Micros, P50, p50);
    rounds.line(report, ("waiting pop 1 KiB: p99".to_owned(), peer), Unit::Micros, P99, p99);
    Ok(())
}

fn http(server: &Server, effort: Effort) -> Result<Round> {
    let (mut popper, mut pusher) = (Http::open(server.address)?, Http::open(server.address)?);
    let (wait, hand) = (pop(Body::Protobuf, "wake", ""), push(Body::Protobuf, "wake", "", SIZE));
    round(
        effort,
        server,
        move || Expect::AtLeast(SIZE).check(popper.exchange(&wait)?),
        move || Expect::Success.check(pusher.exchange(&hand)?),
    )
}

fn blpop(server: &Server, effort: Effort) -> Result<Round> {
    let (mut popper, mut pusher) = (Redis::open(server.address)?, Redis::open(server.address)?);
    let wait = Redis::command(&[b"BLPOP", b"wake", b"5"]);
    let hand = Redis::command(&[b"LPUSH", b"wake", &[b'x'; SIZE]]);
    round(
        effort,
        server,
        move || {
            popper.send(&wait)?;
            anyhow::ensure!(popper.answer()? >= SIZE, "the value did not come back");
            Ok(())
        },
        move || {
            pusher.send(&hand)?;
            pusher.answer().map(|_| ())
        },
    )
}

/// One thread waits over and over and tells when it was answered; this one pushes when it surely waits.
fn round(
    effort: Effort,
    server: &Server,
    mut wait: impl FnMut() -> Result<()> + Send,
    mut push: impl FnMut() -> Result<()>,
) -> Result<Round> {
    let cpu = server.cpu()?;
    let (begun, mut latencies) = (Instant::now(), Vec::new());
    thread::scope(|scope| {
        let (go, gone) = sync_channel::<()>(1);
        let (answered, answers) = sync_channel(1);
        let waiter = scope.spawn(move || -> Result<()> {
            for () in gone {
                wait()?;
                answered.send(Instant::now())?;
            }
            Ok(())
        });
        let mut pushes = || -> Result<()> {
            while begun.elapsed() < effort.round {
                go.send(()).context("the waiter has ended")?;
                pause(SETTLE);
                let sent = Instant::now();
                push()?;
                latencies.push(answers.recv().context("the waiter has ended")?.saturating_duration_since(sent));
            }
            Ok(())
        };
        let pushed = pushes();
        drop(go);
        waiter.join().map_err(|_| anyhow!("the waiter panicked"))?.and(pushed)
    })?;
    let count = latencies.len();
    latencies.sort_unstable();
    Ok(Round {
        rate: count as f64 / effort.round.as_secs_f64(),
        p50: percentile(&latencies, 0.5),
        p99: percentile(&latencies, 0.99),
        p999: percentile(&latencies, 0.999),
        cpu: (server.cpu()? - cpu).div_f64(count.max(1) as f64),
        client: 0.0,
    })
}

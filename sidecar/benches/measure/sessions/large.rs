//! 64 MiB pushed at one gateway and popped at another; against what an object store of NATS does with it: chunks of 128 KiB that are all
//! confirmed, and their sum by SHA-256 at both ends.

use std::time::Instant;

use anyhow::{Result, ensure};
use sha2::{Digest, Sha256};

use super::Gateways;
use crate::{
    Effort,
    client::{Body, Expect, Http, Nats, find, pop, push, release},
    peer::{OBJECT, nats_for_objects},
    process::Server,
    report::{Goal, Line, Report, Unit},
    stats::median,
};

const SIZE: usize = 64 << 20;
/// As the clients of NATS cut objects.
const CHUNK: usize = 128 << 10;
const SESSION: &str = "large";
/// Confirmations that a client of NATS leaves open: its chunks go at once, and are waited for then.
const OPEN: usize = 64;

pub(super) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let gateways = Gateways::start(2, "Disk")?;
    let bare = nats_for_objects()?;
    let request = push(Body::Protobuf, SESSION, "x-ptp-timeout: 60000\r\n", SIZE);
    let bytes = vec![b'x'; SIZE];
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    // One more than counts: the first opens connections and the session.
    for n in 0..=effort.rounds {
        let (a, b) = (across(&gateways, &request)?, object(&bare, &bytes)?);
        if n > 0 {
            ours.push(a);
            theirs.push(b);
        }
    }
    let ratio = median(ours.iter().zip(&theirs).map(|(a, b)| a / b).collect());
    report.line(Line {
        measure: "64 MiB pushed at one gateway, popped at another, confirmed".to_owned(),
        unit: Unit::MegaBytesPerSecond,
        ours: median(ours),
        peer: Some(("NATS, as an object", median(theirs), ratio)),
        goal: Goal::RatioAtLeast(1.0),
    });
    Ok(())
}

fn across(gateways: &Gateways, request: &[u8]) -> Result<f64> {
    let (mut one, mut other) = (Http::open(gateways.all[0].address)?, Http::open(gateways.all[1].address)?);
    let begun = Instant::now();
    Expect::Success.check(one.exchange(request)?)?;
    Expect::AtLeast(SIZE).check(other.exchange(&pop(Body::Protobuf, SESSION, ""))?)?;
    let rate = SIZE as f64 / 1e6 / begun.elapsed().as_secs_f64();
    Expect::Success.check(one.exchange(&release(SESSION))?)?;
    Ok(rate)
}

fn object(bare: &Server, bytes: &[u8]) -> Result<f64> {
    let mut nats = Nats::open(bare.address, 1)?;
    let begun = Instant::now();
    let mut sum = Sha256::new();
    let mut open = 0;
    for chunk in bytes.chunks(CHUNK) {
        sum.update(chunk);
        nats.send(&nats.publication(OBJECT, chunk))?;
        open += 1;
        if open == OPEN {
            confirmed(&mut nats)?;
            open -= 1;
        }
    }
    (0..open).try_for_each(|_| confirmed(&mut nats))?;
    let put = sum.finalize();
    let deliver = "got.object";
    nats.subscribe(deliver)?;
    let consumer = format!(
        r#"{{"stream_name":"{OBJECT}","config":{{"deliver_subject":"{deliver}","ack_policy":"none","deliver_policy":"all","replay_policy":"instant"}}}}"#
    );
    let made = nats.publication(&format!("$JS.API.CONSUMER.CREATE.{OBJECT}"), consumer.as_bytes());
    nats.send(&made)?;
    let (mut sum, mut have) = (Sha256::new(), 0);
    while have < SIZE {
        let (subject, payload) = nats.next()?;
        // The answer that the consumer was made may come between its messages.
        if subject == OBJECT {
            sum.update(&payload);
            have += payload.len();
        }
    }
    ensure!(sum.finalize() == put, "the object is another one");
    let rate = SIZE as f64 / 1e6 / begun.elapsed().as_secs_f64();
    let purge = nats.publication(&format!("$JS.API.STREAM.PURGE.{OBJECT}"), b"");
    nats.exchange(&purge)?;
    Ok(rate)
}

fn confirmed(nats: &mut Nats) -> Result<()> {
    let answer = nats.confirmation()?;
    ensure!(find(&answer, b"\"seq\"").is_some(), "NATS said {}", String::from_utf8_lossy(&answer));
    Ok(())
}

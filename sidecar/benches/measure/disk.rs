//! A push that is on disk before it is answered, 1 KiB over 16 connections: `store: Disk` against Redis with `appendfsync
//! always`, NATS JetStream with `sync_interval: always`, and grouped fdatasync on a preallocated file.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};

use crate::{
    Effort,
    client::{Body, Expect, Http, Nats, Redis, Sequence, find, pop, push, release},
    load::{Exchange, Load, Pace},
    peer::{SUBJECT, nats, redis},
    process::{Probe, Server},
    report::{Goal, Report, Unit},
    stats::{CPU, P99, RATE, Rounds},
    work::folder,
};

const SIZE: usize = 1024;
const CONNECTIONS: usize = 16;

const DURABLE: &str = "transport: {store: Disk}\n";

type Open = dyn Fn(usize) -> Result<Box<dyn Exchange>> + Sync;

pub(super) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let ours = durable()?;
    let to = ours.address;
    let our_push = move |n: usize| http(to, n);
    let ours = (&ours, &our_push as &Open);

    let file = folder("grouped")?.join("log");
    let grouped = Server::own("grouped", &[&file.display().to_string()], Probe::Get("/stats"))?;
    let to = grouped.address;
    let grouped_push = move |n: usize| http(to, n);
    compare(effort, report, ours, ("grouped fdatasync", &grouped, &grouped_push), 0.9)?;
    drop(grouped);

    match redis(true) {
        Err(why) => report.left_out("durable push against Redis", &why),
        Ok(redis) => {
            let to = redis.address;
            let push = move |n: usize| -> Result<Box<dyn Exchange>> {
                let key = format!("bench-{n}");
                let command = Redis::command(&[b"RPUSH", key.as_bytes(), &[b'x'; SIZE]]);
                Ok(Box::new(RedisPush { connection: Redis::open(to)?, command }))
            };
            compare(effort, report, ours, ("Redis", &redis, &push), 1.2)?;
        }
    }
    match nats() {
        Err(why) => report.left_out("durable push against NATS JetStream", &why),
        Ok(nats) => {
            let to = nats.address;
            let push = move |n: usize| -> Result<Box<dyn Exchange>> {
                let connection = Nats::open(to, n)?;
                let publication = connection.publication(SUBJECT, &[b'x'; SIZE]);
                Ok(Box::new(NatsPush { connection, publication }))
            };
            compare(effort, report, ours, ("NATS JetStream", &nats, &push), 1.2)?;
        }
    }
    Ok(())
}

/// A node that keeps messages on disk, and proof that it does: one comes back after `kill -9`.
fn durable() -> Result<Server> {
    let home = folder("mesh")?;
    let node = Server::mesh(&home, Some(DURABLE))?;
    let mut control = Http::open(node.address)?;
    Expect::Success.check(control.exchange(&push(Body::Protobuf, "proof", "", SIZE))?)?;
    node.kill()?;
    let node = Server::mesh(&home, Some(DURABLE))?;
    let mut control = Http::open(node.address)?;
    let answer = control.exchange(&pop(Body::Protobuf, "proof", ""))?;
    Expect::AtLeast(SIZE)
        .check(answer)
        .context("a message of `store: Disk` did not survive kill -9: nothing to measure")?;
    Ok(node)
}

fn compare(
    effort: Effort,
    report: &mut Report,
    (ours, our_push): (&Server, &Open),
    (name, peer, their_push): (&'static str, &Server, &Open),
    least: f64,
) -> Result<()> {
    let our_load = Load { connections: CONNECTIONS, open: our_push };
    let their_load = Load { connections: CONNECTIONS, open: their_push };
    let our_round = || {
        let round = our_load.round(&[ours], Pace::Closed, effort.round)?;
        // What was pushed is not popped; it must not fill the node over the rounds.
        let mut control = Http::open(ours.address)?;
        for n in 0..CONNECTIONS {
            Expect::Success.check(control.exchange(&release(&session(n)))?)?;
        }
        anyhow::Ok(round)
    };
    let rounds = Rounds::take(effort.rounds, our_round, || their_load.round(&[peer], Pace::Closed, effort.round))?;
    let measure = "push on disk 1 KiB x16";
    rounds.show(measure, name);
    let mut line = |what, unit, figure, goal| {
        rounds.line(report, (format!("{measure}: {what}"), name), unit, figure, goal);
    };
    line("rate", Unit::PerSecond, RATE, Goal::RatioAtLeast(least));
    line("p99", Unit::Micros, P99, Goal::None);
    line("server CPU", Unit::Micros, CPU, Goal::None);
    Ok(())
}

fn session(n: usize) -> String {
    format!("disk-{n}")
}

fn http(to: SocketAddr, n: usize) -> Result<Box<dyn Exchange>> {
    Sequence::open(to, vec![(push(Body::Protobuf, &session(n), "", SIZE), Expect::Success)])
}

struct RedisPush {
    connection: Redis,
    command: Vec<u8>,
}

impl Exchange for RedisPush {
    fn once(&mut self) -> Result<()> {
        self.connection.send(&self.command)?;
        self.connection.answer().map(|_| ())
    }
}

struct NatsPush {
    connection: Nats,
    publication: Vec<u8>,
}

impl Exchange for NatsPush {
    fn once(&mut self) -> Result<()> {
        let answer = self.connection.exchange(&self.publication)?;
        ensure!(find(&answer, b"\"seq\"").is_some(), "NATS said {}", String::from_utf8_lossy(&answer));
        Ok(())
    }
}

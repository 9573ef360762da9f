//! Pushes to a partner whose first address is killed, or begins to swallow everything: how many fail, and how long the slowest of
//! them takes. Both addresses lead to one node.

use std::{
    fs,
    net::SocketAddr,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;

use super::partners::{Partners, TO_B};
use crate::{
    Effort,
    client::{Body, Expect, Http, push, release},
    load::pause,
    process::{Probe, Server},
    report::{Goal, Line, Report, Unit},
    stats::median,
};

/// Applications that push at once, and what each waits between two pushes.
const PUSHERS: usize = 8;
const PAUSE: Duration = Duration::from_millis(5);
/// Before and after the first address goes.
const AROUND: Duration = Duration::from_millis(700);
/// It goes for so long: longer than the goal, so that nobody is saved by its coming back.
const AWAY: Duration = Duration::from_secs(5);
/// Both addresses are known to work within this; a rest is 12 s at the longest.
const PATIENCE: Duration = Duration::from_secs(40);
/// Each round waits for the addresses to recover; more of them would take minutes.
const MOST_ROUNDS: usize = 3;

/// How the first address goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gone {
    Killed,
    Swallowing,
}

/// What one round came to.
#[derive(Default)]
struct Found {
    pushed: usize,
    failed: Vec<String>,
    longest: Duration,
}

pub(super) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let mut first = None;
    let nodes = Partners::start_at(|b| {
        let to = b.to_string();
        let (one, two) = (Server::own("pipe", &[&to], Probe::Accepts)?, Server::own("pipe", &[&to], Probe::Accepts)?);
        let list = format!("{},{}", one.address, two.address);
        first = Some((one, two));
        Ok(list)
    })?;
    let (mut first, _second) = first.context("no ways")?;
    for (gone, name) in [(Gone::Killed, "killed"), (Gone::Swallowing, "black-holed")] {
        let (mut all, mut longest) = (Found::default(), Vec::new());
        for _ in 0..effort.rounds.min(MOST_ROUNDS) {
            until_both_work(&nodes.a)?;
            let found;
            (found, first) = match round(&nodes, first, gone) {
                Err(why) if gone == Gone::Swallowing => {
                    report.left_out("failover: black-holed", &why);
                    return Ok(());
                }
                other => other?,
            };
            longest.push(found.longest.as_secs_f64() * 1e3);
            all.pushed += found.pushed;
            all.failed.extend(found.failed);
        }
        println!(
            "- first address {name}: {} pushes, {} failed, the slowest of each round {longest:.0?} ms",
            all.pushed,
            all.failed.len()
        );
        if let Some(text) = all.failed.first() {
            println!("  the first that failed: {text}");
        }
        let mut line = |what, unit, ours, most| {
            let measure = format!("first address {name}: {what}");
            report.line(Line { measure, unit, ours, peer: None, goal: Goal::AtMost(most) });
        };
        line("failed pushes", Unit::Count, all.failed.len() as f64, 0.0);
        line("the slowest push", Unit::Millis, median(longest), 3000.0);
    }
    Ok(())
}

/// Pushes go on while the first address goes and comes back.
fn round(nodes: &Partners, first: Server, gone: Gone) -> Result<(Found, Server)> {
    let over = AtomicBool::new(false);
    let entry = nodes.a.address;
    let done = thread::scope(|scope| {
        let pushers: Vec<_> = (0..PUSHERS)
            .map(|n| {
                scope.spawn({
                    let over = &over;
                    move || pushes(entry, n, over)
                })
            })
            .collect();
        pause(AROUND);
        let first = away(first, nodes.b.address, gone);
        pause(AROUND);
        over.store(true, Ordering::Relaxed);
        let mut all = Found::default();
        for pusher in pushers {
            let found = pusher.join().map_err(|_| anyhow!("a pusher panicked"))??;
            all.pushed += found.pushed;
            all.failed.extend(found.failed);
            all.longest = all.longest.max(found.longest);
        }
        anyhow::Ok((all, first?))
    })?;
    let mut queues = Http::open(nodes.b.address)?;
    (0..PUSHERS).try_for_each(|n| Expect::Success.check(queues.exchange(&release(&session(n)))?))?;
    Ok(done)
}

fn away(first: Server, to: SocketAddr, gone: Gone) -> Result<Server> {
    match gone {
        Gone::Killed => {
            let port = first.address.port();
            first.kill()?;
            pause(AWAY);
            Server::own_at(port, "pipe", &[&to.to_string()], Probe::Accepts)
        }
        Gone::Swallowing => {
            let hole = Hole::dig(first.address)?;
            pause(AWAY);
            drop(hole);
            Ok(first)
        }
    }
}

fn session(n: usize) -> String {
    format!("failover-{n}")
}

fn pushes(entry: SocketAddr, n: usize, over: &AtomicBool) -> Result<Found> {
    let push = push(Body::Protobuf, &session(n), &format!("{TO_B}x-ptp-timeout: 20000\r\n"), 1 << 10);
    let (mut connection, mut found) = (Http::open(entry)?, Found::default());
    while !over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let answer = connection.exchange(&push)?;
        found.longest = found.longest.max(begun.elapsed());
        found.pushed += 1;
        found.failed.extend(Expect::Success.check(answer).err().map(|e| e.to_string()));
        pause(PAUSE);
    }
    Ok(found)
}

/// Until the node says of both addresses that they are reached.
fn until_both_work(a: &Server) -> Result<()> {
    let (admin, token) = a.admin.as_ref().context("no admin port")?;
    let token = fs::read_to_string(token)?;
    let request = format!("GET /status HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {token}\r\n\r\n");
    let limit = Instant::now() + PATIENCE;
    loop {
        let status: Value = serde_json::from_slice(Http::open(*admin)?.exchange(request.as_bytes())?)?;
        let reached = status["routes"][0]["reached"].as_array().cloned().unwrap_or_default();
        if reached.len() == 2 && reached.iter().all(|one| one["state"] == "reachable") {
            return Ok(());
        }
        ensure!(Instant::now() < limit, "the addresses do not recover: {reached:?}");
        pause(Duration::from_millis(100));
    }
}

/// Packets to an address of loopback that vanish. Let through again when dropped.
struct Hole(Vec<String>);

impl Hole {
    fn dig(to: SocketAddr) -> Result<Self> {
        let line = format!("INPUT -i lo -p tcp -d {} --dport {} -j DROP", to.ip(), to.port());
        let hole = Self(line.split(' ').map(str::to_owned).collect());
        ensure!(hole.run("-I"), "a black hole needs root and iptables");
        Ok(hole)
    }

    fn run(&self, what: &str) -> bool {
        Command::new("iptables").arg(what).args(&self.0).status().is_ok_and(|status| status.success())
    }
}

impl Drop for Hole {
    fn drop(&mut self) {
        self.run("-D");
    }
}

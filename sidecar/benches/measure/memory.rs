//! Resident memory: idle, with idle connections, with sessions that nobody came back to, and with every byte of the budget used.

use std::thread;

use anyhow::{Result, anyhow, bail};

use super::fill;
use crate::{
    Effort,
    client::{Body, Http, find, pop, push},
    process::{Server, open_files},
    report::{Goal, Line, Report, Unit},
    stats::median,
    work::folder,
};

/// Fewer where a process may not open so many; the client's own ends count in another process.
const CONNECTIONS: u64 = 5_000;
const SESSIONS: usize = 100_000;
/// Mebibytes of the budget that is filled.
const BUDGET: f64 = 512.0;
/// Memory is steadier than time.
const MOST: usize = 3;
/// How many push at once until there is no room.
const PUSHERS: usize = 8;

pub(super) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let mut line = |measure: &str, unit, rounds: Vec<f64>, most| {
        let measure = measure.to_owned();
        report.line(Line { measure, unit, ours: median(rounds), peer: None, goal: Goal::AtMost(most) });
    };
    let times =
        |what: &dyn Fn() -> Result<f64>| (0..effort.rounds.min(MOST)).map(|_| what()).collect::<Result<Vec<_>>>();
    line("memory: idle node", Unit::MiB, times(&idle)?, 8.0);
    line("memory: idle keep-alive connection", Unit::KiB, times(&connections)?, 4.0);
    line("memory: abandoned session", Unit::Bytes, times(&sessions)?, 300.0);
    for (name, size) in [("1 KiB", 1 << 10), ("1 MiB", 1 << 20)] {
        let measure = format!("memory: {BUDGET} MiB budget full of {name}");
        line(&measure, Unit::MiB, times(&|| budget(size))?, BUDGET * 1.15 + 64.0);
    }
    Ok(())
}

fn node(file: Option<&str>) -> Result<Server> {
    Server::mesh(&folder("mesh")?, file)
}

fn idle() -> Result<f64> {
    Ok(node(None)?.rss()? as f64 / 1024.0)
}

fn connections() -> Result<f64> {
    let (node, count) = (node(None)?, CONNECTIONS.min(open_files()? - 500));
    let idle = node.rss()?;
    let mut open = Vec::new();
    for _ in 0..count {
        let mut connection = Http::open(node.address)?;
        connection.exchange(b"GET /stats HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")?;
        open.push(connection.into_socket());
    }
    Ok((node.rss()? - idle) as f64 / count as f64)
}

/// Each is pushed into once and popped from once.
fn sessions() -> Result<f64> {
    let node = node(None)?;
    let visit = |n: usize| {
        let session = format!("session-{n:06}");
        vec![push(Body::Protobuf, &session, "", 64), pop(Body::Protobuf, &session, "")]
    };
    // The connections and what they need are there before.
    fill::send(node.address, 1000, |n| visit(SESSIONS + n))?;
    let before = node.rss()?;
    fill::send(node.address, SESSIONS, visit)?;
    Ok((node.rss()? - before) as f64 * 1024.0 / SESSIONS as f64)
}

/// Pushes until there is no room, with some pushes still waiting for it.
fn budget(size: usize) -> Result<f64> {
    let node = node(Some("transport: {maxBodyBytes: 64Mi, sessionBytes: 512Mi, totalBytes: 512Mi}\n"))?;
    let to = node.address;
    thread::scope(|scope| {
        let pushers: Vec<_> = (0..PUSHERS)
            .map(|n| {
                scope.spawn(move || -> Result<()> {
                    let mut connection = Http::open(to)?;
                    let request = push(Body::Protobuf, &format!("full-{n}"), "x-ptp-timeout: 300\r\n", size);
                    loop {
                        let answer = connection.exchange(&request)?;
                        if find(answer, b"E0000000700").is_some() {
                            return Ok(());
                        }
                        if find(answer, b"E0000000000").is_none() {
                            bail!("not refused for lack of room: {}", String::from_utf8_lossy(answer));
                        }
                    }
                })
            })
            .collect();
        pushers.into_iter().try_for_each(|p| p.join().map_err(|_| anyhow!("a pusher panicked"))?)
    })?;
    Ok(node.rss()? as f64 / 1024.0)
}

//! A push from one node to another over mutual TLS, against the same push through two nginx to the floor, and for large
//! messages also against two bare rustls relays to the floor.

use std::net::SocketAddr;

use anyhow::Result;

use super::partners::{Partners, TO_B};
use crate::{
    Effort,
    client::{Body, Expect, Http, push, release},
    load::{Exchange, Load, Pace},
    peer::{Nginx, pair},
    process::{Probe, Server},
    report::{Goal, Report, Unit},
    stats::{CPU, P99, RATE, Rounds},
};

/// A size, how many connections push it, and after how many pushes each frees its queue.
#[derive(Clone, Copy)]
struct Size {
    name: &'static str,
    connections: usize,
    bytes: usize,
    keep: usize,
}

const SMALL: Size = Size { name: "1 KiB x16", connections: 16, bytes: 1 << 10, keep: 4096 };
const LARGE: Size = Size { name: "1 MiB x8", connections: 8, bytes: 1 << 20, keep: 8 };

/// A way from a client to a queue: where pushes go in, where the queue is, and the servers in between and at the end.
struct Way<'w> {
    entry: SocketAddr,
    queue: SocketAddr,
    servers: Vec<&'w Server>,
}

pub(super) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let nodes = Partners::start(Ok)?;
    let ours = Way { entry: nodes.a.address, queue: nodes.b.address, servers: vec![&nodes.a, &nodes.b] };
    let floor = Server::own("floor", &[], Probe::Get("/stats"))?;
    let pair = pair()?;
    for (size, buffers, least) in [(SMALL, true, 2.0), (LARGE, false, 1.2)] {
        let inward = Nginx { to: floor.address, tls_in: true, tls_out: false, buffers, pair: Some(&pair) };
        let both = inward.start().and_then(|second| {
            let outward = Nginx { to: second.address, tls_in: false, tls_out: true, buffers, pair: Some(&pair) };
            Ok((outward.start()?, second))
        });
        match both {
            Err(why) => report.left_out(&format!("cross-node push {} against nginx", size.name), &why),
            Ok((first, second)) => {
                let servers = vec![&first, &second, &floor];
                let way = Way { entry: first.address, queue: floor.address, servers };
                compare(effort, report, size, &ours, ("two nginx", &way), least)?;
            }
        }
    }
    let folder = pair.display().to_string();
    let second = Server::own("relay", &["in", &floor.address.to_string(), &folder], Probe::Accepts)?;
    let first = Server::own("relay", &["out", &second.address.to_string(), &folder], Probe::Get("/stats"))?;
    let way = Way { entry: first.address, queue: floor.address, servers: vec![&first, &second, &floor] };
    compare(effort, report, LARGE, &ours, ("two rustls relays", &way), 0.9)
}

fn compare(
    effort: Effort,
    report: &mut Report,
    size: Size,
    ours: &Way<'_>,
    (name, theirs): (&'static str, &Way<'_>),
    least: f64,
) -> Result<()> {
    let load = |way: &Way<'_>| {
        let (entry, queue) = (way.entry, way.queue);
        move |n: usize| PushAcross::open(entry, queue, &format!("across-{n}"), size)
    };
    let (our_push, their_push) = (load(ours), load(theirs));
    let rounds: Rounds = effort.rounds(
        (&Load { connections: size.connections, open: &our_push }, &ours.servers),
        (&Load { connections: size.connections, open: &their_push }, &theirs.servers),
        Pace::Closed,
    )?;
    let measure = format!("cross-node push {}", size.name);
    rounds.show(&measure, name);
    let mut line = |what, unit, figure, goal| {
        rounds.line(report, (format!("{measure}: {what}"), name), unit, figure, goal);
    };
    line("rate", Unit::PerSecond, RATE, Goal::RatioAtLeast(least));
    line("p99", Unit::Micros, P99, Goal::None);
    line("CPU of all in between", Unit::Micros, CPU, Goal::None);
    Ok(())
}

/// Pushes in at one address; now and then frees the queue where it is, so that it does not fill.
struct PushAcross {
    entry: Http,
    queue: Http,
    push: Vec<u8>,
    release: Vec<u8>,
    keep: usize,
    pushed: usize,
}

impl PushAcross {
    fn open(entry: SocketAddr, queue: SocketAddr, session: &str, size: Size) -> Result<Box<dyn Exchange>> {
        Ok(Box::new(Self {
            entry: Http::open(entry)?,
            queue: Http::open(queue)?,
            push: push(Body::Protobuf, session, TO_B, size.bytes),
            release: release(session),
            keep: size.keep,
            pushed: 0,
        }))
    }
}

impl Exchange for PushAcross {
    fn once(&mut self) -> Result<()> {
        Expect::Success.check(self.entry.exchange(&self.push)?)?;
        self.pushed += 1;
        if self.pushed.is_multiple_of(self.keep) {
            Expect::Success.check(self.queue.exchange(&self.release)?)?;
        }
        Ok(())
    }
}

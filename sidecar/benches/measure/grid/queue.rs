//! A client's frame until a consumer has it and has acknowledged it, against NATS JetStream in memory with explicit acknowledgements:
//! 32 pairs of a client and a consumer, each with a topic of its own.

use anyhow::{Context, Result, ensure};

use super::{SIZE, from};
use crate::{
    Effort,
    client::{Http, Nats, WebSocket},
    load::{Exchange, Load, Pace},
    peer::{Hub, nats_in_memory, ours},
    process::Server,
    report::{Goal, Report, Unit},
    stats::{RATE, Round, Rounds},
};

const PAIRS: usize = 32;

pub(in crate::measure) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let rules: Vec<String> = (0..PAIRS).map(|n| format!("{{match: {{subprotocol: s{n}}}, topic: t{n}}}")).collect();
    let ours = ours(&format!(", rules: [{}]", rules.join(", ")), None)?;
    let nats = match nats_in_memory(PAIRS) {
        Ok(nats) => nats,
        Err(why) => {
            report.left_out("queues, against NATS JetStream", &why);
            return Ok(());
        }
    };
    let rounds = Rounds::take(effort.rounds, || of_ours(&ours, effort), || of_nats(&nats, effort))?;
    rounds.show("queue with acknowledgements 128 B x32", "NATS");
    let what = ("grid: frame to event and ack 128 B x32: rate".to_owned(), "NATS");
    rounds.line(report, what, Unit::PerSecond, RATE, Goal::RatioAtLeast(1.0));
    Ok(())
}

fn of_ours(hub: &Hub, effort: Effort) -> Result<Round> {
    let open = |n| Pair::open(hub, n).map(|pair| Box::new(pair) as Box<dyn Exchange>);
    Load { connections: PAIRS, open: &open }.round(&[&hub.server], Pace::Closed, effort.round)
}

fn of_nats(server: &Server, effort: Effort) -> Result<Round> {
    let open = |n: usize| {
        let mut nats = Nats::open(server.address, n)?;
        nats.subscribe(&format!("got.{n}"))?;
        Ok(Box::new(Worker { nats, n }) as Box<dyn Exchange>)
    };
    Load { connections: PAIRS, open: &open }.round(&[server], Pace::Closed, effort.round)
}

struct Pair {
    client: WebSocket,
    consumer: WebSocket,
    frame: Vec<u8>,
}

impl Pair {
    fn open(hub: &Hub, n: usize) -> Result<Self> {
        let protocol = format!("sec-websocket-protocol: s{n}\r\n");
        let client = WebSocket::over(Http::open_from(from(n), hub.clients)?.into_socket(), "/", &protocol)?;
        let mut consumer = WebSocket::over(Http::open(hub.backends)?.into_socket(), "/ws/v1", "")?;
        consumer.text(&format!(r#"{{"m":"queue.pop","p":{{"t":["t{n}"],"a":true,"w":16}},"i":1}}"#))?;
        consumer.read()?;
        Ok(Self { client, consumer, frame: WebSocket::frame(1, &[b'x'; SIZE])? })
    }
}

impl Exchange for Pair {
    fn once(&mut self) -> Result<()> {
        self.client.write(&self.frame)?;
        let event = self.consumer.read()?;
        // The tag is the last member of `p`.
        let text = std::str::from_utf8(&event)?;
        let (_, tag) = text.rsplit_once(r#""k":"#).context("an event without a tag")?;
        let tag: String = tag.chars().take_while(char::is_ascii_digit).collect();
        self.consumer.text(&format!(r#"{{"m":"queue.ack","p":{{"k":{tag}}},"i":2}}"#))?;
        let answer = self.consumer.read()?;
        ensure!(answer.starts_with(br#"{"E":null"#), "{}", String::from_utf8_lossy(&answer));
        Ok(())
    }
}

struct Worker {
    nats: Nats,
    n: usize,
}

impl Exchange for Worker {
    fn once(&mut self) -> Result<()> {
        self.nats.publish(&format!("work.{}", self.n), &[b'x'; SIZE])?;
        let reply = self.nats.message()?;
        self.nats.publish(&reply, b"+ACK")
    }
}

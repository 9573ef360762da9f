//! NATS with JetStream on file, synced at every message.

use std::fs;

use anyhow::{Result, ensure};

use super::install::nats_server;
use crate::{
    client::Nats,
    process::{Probe, Server, free_port},
    work::folder,
};

/// The subject of the stream.
pub(crate) const SUBJECT: &str = "bench.push";

/// The stream of a work queue.
pub(crate) const WORK: &str = "work";

/// The stream and the subject of an object.
pub(crate) const OBJECT: &str = "object";

/// Starts a NATS server with a work queue in memory for each of `workers`, whose consumer acknowledges: what is published to
/// `work.N` comes to `got.N`.
pub(crate) fn nats_in_memory(workers: usize) -> Result<Server> {
    let server = nats_for_gateways()?;
    work_queue(&server, "memory", workers, |n| format!(r#""deliver_subject":"got.{n}","#))?;
    Ok(server)
}

/// Starts one as gateways have it, with a work queue on file for each of `workers`, whose messages are asked for at its consumer `cN`.
pub(crate) fn nats_to_fetch(workers: usize) -> Result<Server> {
    let server = nats_for_gateways()?;
    work_queue(&server, "file", workers, |_| String::new())?;
    Ok(server)
}

/// Starts one as gateways have it, with a stream on file for the chunks of an object.
pub(crate) fn nats_for_objects() -> Result<Server> {
    let server = nats_for_gateways()?;
    let stream = format!(
        r#"{{"name":"{OBJECT}","subjects":["{OBJECT}"],"storage":"file","retention":"limits","discard":"new","num_replicas":1}}"#
    );
    make(&mut Nats::open(server.address, 999)?, &format!("$JS.API.STREAM.CREATE.{OBJECT}"), &stream)?;
    Ok(server)
}

fn work_queue(server: &Server, storage: &str, workers: usize, deliver: impl Fn(usize) -> String) -> Result<()> {
    let mut client = Nats::open(server.address, 999)?;
    let stream = format!(
        r#"{{"name":"{WORK}","subjects":["{WORK}.*"],"storage":"{storage}","retention":"workqueue","num_replicas":1}}"#
    );
    make(&mut client, &format!("$JS.API.STREAM.CREATE.{WORK}"), &stream)?;
    for n in 0..workers {
        let consumer = format!(
            r#"{{"stream_name":"{WORK}","config":{{"durable_name":"c{n}","filter_subject":"{WORK}.{n}",{}"ack_policy":"explicit","deliver_policy":"all","replay_policy":"instant"}}}}"#,
            deliver(n)
        );
        make(&mut client, &format!("$JS.API.CONSUMER.DURABLE.CREATE.{WORK}.c{n}"), &consumer)?;
    }
    Ok(())
}

fn make(client: &mut Nats, subject: &str, what: &str) -> Result<()> {
    let made = client.publication(subject, what.as_bytes());
    let answer = client.exchange(&made)?;
    let answer = String::from_utf8_lossy(&answer);
    ensure!(!answer.contains("\"error\""), "not made: {answer}");
    Ok(())
}

/// Starts a NATS server that joins gateways, or has a fan.
pub(crate) fn nats_for_gateways() -> Result<Server> {
    let (program, home, port) = (nats_server()?, folder("nats")?, free_port()?);
    let config = home.join("nats.conf");
    // An object of 64 MiB is read without a word in between, which is more than what may wait for a client by default.
    let text =
        format!("listen: 127.0.0.1:{port}\nmax_pending: 256MB\njetstream {{ store_dir: \"{}\" }}\n", home.display());
    fs::write(&config, text)?;
    let set = |command: &mut std::process::Command| {
        command.arg("-c").arg(&config).arg("-l").arg(home.join("log"));
    };
    Server::start(&program, set, port, Probe::Accepts)
}

/// Starts a NATS server with one stream that keeps the last of what it is sent.
pub(crate) fn nats() -> Result<Server> {
    let stream = format!(
        r#"{{"name":"bench","subjects":["{SUBJECT}"],"storage":"file","retention":"limits","discard":"old","max_bytes":1073741824,"num_replicas":1}}"#
    );
    on_file("bench", &stream)
}

/// Starts a NATS server with a bucket of keys, each at `$KV.bench.KEY`, as `nats kv add` makes it.
pub(crate) fn nats_bucket() -> Result<Server> {
    on_file(
        "KV_bench",
        r#"{"name":"KV_bench","subjects":["$KV.bench.>"],"storage":"file","retention":"limits","discard":"new","max_msgs_per_subject":1,"allow_direct":true,"allow_rollup_hdrs":true,"deny_delete":true,"num_replicas":1}"#,
    )
}

/// One with a stream that is synced at every message.
fn on_file(name: &str, stream: &str) -> Result<Server> {
    let (program, home, port) = (nats_server()?, folder("nats")?, free_port()?);
    let config = home.join("nats.conf");
    let store = home.display();
    fs::write(
        &config,
        format!("listen: 127.0.0.1:{port}\njetstream {{ store_dir: \"{store}\", sync_interval: always }}\n"),
    )?;
    let set = |command: &mut std::process::Command| {
        // What it logs goes to its folder.
        command.arg("-c").arg(&config).arg("-l").arg(home.join("log"));
    };
    let server = Server::start(&program, set, port, Probe::Accepts)?;
    make(&mut Nats::open(server.address, 999)?, &format!("$JS.API.STREAM.CREATE.{name}"), stream)?;
    Ok(server)
}

//! The forward path: a registered service behind 7304, against nginx as reverse proxy of the same service.

use anyhow::Result;
use serde_json::json;

use super::partners::post;
use crate::{
    Effort,
    client::{Expect, Sequence},
    load::{Load, Pace},
    peer::{Nginx, ORIGIN_SIZE},
    process::{Probe, Server},
    report::{Goal, Report, Unit},
    stats::{CPU, P99, RATE, middle},
    work::folder,
};

const CONNECTIONS: usize = 32;

const GET: &[u8] = b"GET /serving/x HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";

pub(super) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let service = Server::own("origin", &[], Probe::Get("/stats"))?;
    let ours = Server::mesh(&folder("mesh")?, None)?;
    register(&ours, &service)?;
    let to = Nginx { to: service.address, tls_in: false, tls_out: false, buffers: true, pair: None };
    let nginx = match to.start() {
        Ok(nginx) => nginx,
        Err(why) => {
            report.left_out("forward path against nginx", &why);
            return Ok(());
        }
    };
    let load = |to: &Server| {
        let to = to.address;
        move |_: usize| Sequence::open(to, vec![(GET.to_vec(), Expect::AtLeast(ORIGIN_SIZE))])
    };
    let (to_ours, to_nginx) = (load(&ours), load(&nginx));
    let ours = (&Load { connections: CONNECTIONS, open: &to_ours }, &[&ours][..]);
    let nginx = (&Load { connections: CONNECTIONS, open: &to_nginx }, &[&nginx][..]);
    let closed = effort.rounds(ours, nginx, Pace::Closed)?;
    let measure = "forward 1 KiB x32";
    closed.show(measure, "nginx");
    let mut line = |what, unit, figure| {
        closed.line(report, (format!("{measure}: {what}"), "nginx"), unit, figure, Goal::None);
    };
    line("rate", Unit::PerSecond, RATE);
    line("p99", Unit::Micros, P99);
    line("server CPU", Unit::Micros, CPU);
    let pace = middle(&closed.ours, RATE).min(middle(&closed.peer, RATE)) / 2.0;
    let open = effort.rounds(ours, nginx, Pace::Open(pace))?;
    let measure = format!("forward 1 KiB x32 at {pace:.0} /s");
    open.show(&measure, "nginx");
    open.line(report, (format!("{measure}: p99"), "nginx"), Unit::Micros, P99, Goal::None);
    Ok(())
}

/// For 25 minutes: from 1 800 000 on, a number is a point in time (PTP section 10.3).
fn register(ours: &Server, service: &Server) -> Result<()> {
    let at = service.address.to_string();
    let registration = json!({
        "instance_id": at, "name": "origin", "kind": "complex", "address": at, "timestamp": 1_500_000,
        "content": {"services": [{"urn": "/serving", "kind": "Restful", "proto": "http"}]},
    });
    post(ours, "/v1/interconn/registry/register", "", &registration).map(|_| ())
}

//! Push and pop of 1 KiB as gRPC unary calls, against a bare tonic server that answers the same and keeps nothing.

use anyhow::Result;

use crate::{
    Effort,
    client::{Expect, Grpc, POP_MESSAGE, TOPIC, push_message},
    load::{Exchange, Load, Pace},
    process::{Probe, Server},
    report::{Goal, Report, Unit},
    stats::{CPU, P99, RATE},
    work::folder,
};

const SIZE: usize = 1024;
const CONNECTIONS: usize = 16;

pub(super) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let ours = Server::mesh(&folder("mesh")?, None)?;
    let echo = Server::own("echo", &[], Probe::Accepts)?;
    let load = |to: &Server| {
        let to = to.address;
        move |n: usize| -> Result<Box<dyn Exchange>> {
            let calls = [
                ("/org.ppc.ptp.PrivateTransferTransport/push", push_message(TOPIC, SIZE), Expect::Success),
                ("/org.ppc.ptp.PrivateTransferTransport/pop", POP_MESSAGE.to_vec(), Expect::AtLeast(SIZE)),
            ];
            Ok(Box::new(Grpc::open(to, &format!("bench-{n}"), &calls)?))
        }
    };
    let rounds = effort.rounds(
        (&Load { connections: CONNECTIONS, open: &load(&ours) }, &[&ours]),
        (&Load { connections: CONNECTIONS, open: &load(&echo) }, &[&echo]),
        Pace::Closed,
    )?;
    let measure = "pairs gRPC unary 1 KiB x16";
    rounds.show(measure, "tonic echo");
    let mut line = |what, unit, figure, goal| {
        rounds.line(report, (format!("{measure}: {what}"), "tonic echo"), unit, figure, goal);
    };
    line("rate", Unit::PerSecond, RATE, Goal::RatioAtLeast(0.95));
    line("p99", Unit::Micros, P99, Goal::None);
    line("server CPU", Unit::Micros, CPU, Goal::None);
    Ok(())
}

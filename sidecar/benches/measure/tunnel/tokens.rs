//! GetToken, 16 at a time: a node's token and two certificates with their keys.

use std::net::SocketAddr;

use anyhow::Result;

use super::hubs::{CALLS, Ours, caller};
use crate::{
    Effort,
    client::Grpc,
    load::{Exchange, Load, Pace},
    peer::go_tokens,
    process::Server,
    report::{Goal, Report, Unit},
    stats::{CPU, P99, RATE, Rounds},
};

const CALLERS: usize = 16;

pub(super) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let ours = Ours::start()?;
    let peer = match go_tokens() {
        Ok(peer) => peer,
        Err(why) => {
            report.left_out("tunnel: GetToken against grpc-go", &why);
            return Ok(());
        }
    };
    let round = |server: &Server, to: SocketAddr, token: &str| {
        let open = |_| {
            let grpc = caller(to, token)?;
            Ok(Box::new(Caller { to, token: token.to_owned(), grpc, left: CALLS - 1 }) as Box<dyn Exchange>)
        };
        Load { connections: CALLERS, open: &open }.round(&[server], Pace::Closed, effort.round)
    };
    let rounds = Rounds::take(
        effort.rounds,
        || round(&ours.server, ours.bootstrap, &ours.token),
        || round(&peer, peer.address, &ours.token),
    )?;
    let (measure, name) = ("tunnel: GetToken x16", "grpc-go, in memory");
    rounds.show(measure, name);
    for (what, unit, figure, goal) in [
        ("rate", Unit::PerSecond, RATE, Goal::RatioAtLeast(1.5)),
        ("p99", Unit::Micros, P99, Goal::None),
        ("server CPU", Unit::Micros, CPU, Goal::None),
    ] {
        rounds.line(report, (format!("{measure}: {what}"), name), unit, figure, goal);
    }
    Ok(())
}

/// One who joins as often as its source may, and then comes from another.
struct Caller {
    to: SocketAddr,
    token: String,
    grpc: Grpc,
    left: usize,
}

impl Exchange for Caller {
    fn once(&mut self) -> Result<()> {
        if self.left == 0 {
            (self.grpc, self.left) = (caller(self.to, &self.token)?, CALLS);
        }
        self.left -= 1;
        self.grpc.turn()
    }
}

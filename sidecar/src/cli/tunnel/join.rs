//! `mesh tunnel join`: this machine as an edge node, until it is asked to end.

use std::{path::Path, sync::Arc};

use mesh_core::{
    config::{Environment, Settings},
    telemetry,
};
use mesh_tunnel::{
    join::{self, Confines, JoinError, Member, Ticket, Ways},
    tun,
};
use tokio::signal::unix::{SignalKind, signal};

use super::{block_on, legacy};
use crate::{args::TunnelJoin, exit::Exit};

/// In `MESH_HOME`, where no folder is named.
const FOLDER: &str = "edge";

/// Joins, unless the folder holds a node, and keeps the tunnel open.
pub(super) fn join(args: &TunnelJoin) -> Result<(), Exit> {
    let refused = |e: &dyn std::fmt::Display| Exit::Refused(e.to_string());
    let settings = Settings::read(&Environment::of_process()).map_err(|e| refused(&e))?;
    telemetry::init(settings.log.as_deref(), settings.log_format).map_err(|e| refused(&e))?;
    let folder = args.folder.clone().unwrap_or_else(|| settings.home.join(FOLDER));
    block_on(async {
        // Before a token is used up: a port that is taken is found out now.
        let ways = Ways::open(&args.forwards, args.exposed.clone(), args.routes.clone()).await?;
        let ways = if args.tun { by_device(ways, args.tun_public)? } else { ways };
        let member = member(args, &folder).await?;
        let stop = async {
            let listen = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
            let (Ok(mut terminate), Ok(mut interrupt)) = listen else { return std::future::pending().await };
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        join::run(Arc::new(member), &folder, ways, stop).await.map_err(Exit::from)
    })
}

/// The machine itself, where it lets a device be made.
fn by_device(ways: Ways, public: bool) -> Result<Ways, Exit> {
    tun::try_out().map_err(|e| Exit::Local(e.to_string()))?;
    Ok(ways.by_device(if public { Confines::Public } else { Confines::Private }))
}

/// The node of the folder, or a new one.
async fn member(args: &TunnelJoin, folder: &Path) -> Result<Member, Exit> {
    if let Some(member) = Member::load(folder)? {
        if args.token.is_some() || args.legacy.is_some() {
            tracing::info!("{} holds a node: what else was given is not used", folder.display());
        }
        return Ok(member);
    }
    if let Some(path) = &args.legacy {
        let member = legacy::node(path)?;
        member.keep(folder)?;
        tracing::info!("goes on as the node of {}, kept in {}", path.display(), folder.display());
        return Ok(member);
    }
    let Some(token) = &args.token else {
        let text = format!("{} holds no node: give a token of `mesh tunnel token create`", folder.display());
        return Err(Exit::Refused(text));
    };
    let unfit = |e: join::NotATicket| Exit::Refused(e.to_string());
    let mut ticket: Ticket = token.parse().map_err(unfit)?;
    if let Some(server) = &args.server {
        ticket = ticket.at(server).map_err(unfit)?;
    }
    let member = join::enrol(&ticket).await?;
    member.keep(folder)?;
    tracing::info!("joined as {}; what it was given is kept in {}", member.name(), folder.display());
    Ok(member)
}

impl From<JoinError> for Exit {
    fn from(error: JoinError) -> Self {
        let text = error.to_string();
        match error {
            JoinError::Refused(_) => Self::Refused(text),
            JoinError::Unreachable(_) => Self::Unreachable(text),
            JoinError::Kept(_) | JoinError::Local(_) => Self::Local(text),
        }
    }
}

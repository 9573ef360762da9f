//! Sessions that several gateways share, over a real NATS.
//!
//! ```text
//! allowed.rs  with no more permissions than the guide's, and over TLS
//! claims.rs   which gateway owns a session
//! estates.rs  what a gateway leaves to the others
//! logs.rs     what the next owner finds of it
//! full.rs     a stream that is full
//! faults.rs   servers that are killed, and owners that are not heard
//! rounds.rs   both at random, and what is kept throughout
//! ```

mod allowed;
mod claims;
mod estates;
mod faults;
mod full;
mod logs;
mod rounds;

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use async_nats::jetstream::stream::Stream;
use bytes::Bytes;
use mesh_backplane::{BackplaneError, Hold, Log, Nats, Owner, Place, SessionError, Sessions, Settings};
use tokio::{sync::oneshot, time::timeout};

use crate::room::{PATIENCE, Room};

const NODE: &str = "LX0000010000280";
/// No record of these tests is larger.
const MOST: u64 = 64 << 20;

/// A gateway with its sessions.
struct Gateway {
    nats: Arc<Nats>,
    sessions: Sessions,
    _room: Arc<Room>,
}

async fn gateway(url: String, name: &str) -> Result<Gateway> {
    gateway_of(url, 1, name).await
}

/// A gateway whose sessions are kept by so many servers. Those that were just started have no leader yet.
async fn gateway_of(url: String, replicas: usize, name: &str) -> Result<Gateway> {
    let start = std::time::Instant::now();
    let settings = Settings { url, replicas, address: format!("{name}:7304"), ..Settings::default() };
    loop {
        match join(&settings, name).await {
            Ok(gateway) => return Ok(gateway),
            Err(e) if !e.may_pass() || start.elapsed() > PATIENCE => return Err(e.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

async fn join(settings: &Settings, name: &str) -> Result<Gateway, BackplaneError> {
    let nats = Nats::join(settings, NODE, name).await?;
    let _room = Room::of(&*nats);
    let sessions = Sessions::open(&nats).await?;
    Ok(Gateway { nats, sessions, _room })
}

impl Gateway {
    /// Uses a session until it is this gateway's.
    async fn owns(&self, session: &str) -> Result<Hold> {
        let start = std::time::Instant::now();
        loop {
            match self.sessions.owner(session).await {
                Ok(Owner::Here(hold)) => return Ok(hold),
                Ok(Owner::There(peer)) => self.sessions.refused(session, &peer),
                Err(SessionError::Away(_)) => {}
                Err(why) => bail!("{why}"),
            }
            ensure!(start.elapsed() < PATIENCE, "{session} stays another's");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Opens the log of a session of its own, however often servers are away meanwhile.
    async fn opens(&self, hold: &Hold) -> Result<(Log, Vec<(Place, Bytes)>)> {
        let start = std::time::Instant::now();
        loop {
            match timeout(PATIENCE, self.sessions.log(hold, MOST)).await? {
                Err(SessionError::Away(why)) => ensure!(start.elapsed() < PATIENCE, "{why}"),
                opened => return Ok(opened?),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Uses a session until it is this gateway's, and opens its log.
    async fn takes(&self, session: &str) -> Result<(Hold, Log, Vec<(Place, Bytes)>)> {
        let hold = self.owns(session).await?;
        let (log, unread) = self.opens(&hold).await?;
        Ok((hold, log, unread))
    }
}

/// Appends a record; answers where it stands.
async fn append(log: &Log, record: impl Into<Bytes>) -> Result<Result<Place, SessionError>> {
    let (tell, told) = oneshot::channel();
    log.append(record.into(), Box::new(|| true), Box::new(move |landed| drop(tell.send(landed))));
    timeout(PATIENCE, told).await?.context("nobody says what became of a record")
}

fn bodies(unread: &[(Place, Bytes)]) -> Vec<&[u8]> {
    unread.iter().map(|(_, body)| &**body).collect()
}

fn places(unread: &[(Place, Bytes)]) -> Vec<Place> {
    unread.iter().map(|(place, _)| *place).collect()
}

/// The stream with the logs.
async fn logs(url: String) -> Result<Stream> {
    let jetstream = async_nats::jetstream::new(async_nats::connect(url.split(',').collect::<Vec<_>>()).await?);
    Ok(jetstream.get_stream(format!("interconn-v1-{NODE}-logs")).await?)
}

/// How many messages the stream with the logs has.
async fn kept(url: String) -> Result<u64> {
    Ok(logs(url).await?.get_info().await?.state.messages)
}

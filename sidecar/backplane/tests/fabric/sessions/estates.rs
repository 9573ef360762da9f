//! Estates: what a gateway leaves to the others.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use async_nats::jetstream;
use mesh_backplane::{Hold, Log, SessionError};
use tokio::time::timeout;

use super::{Gateway, MOST, NODE, append, bodies, gateway, kept, logs, places};
use crate::{cut::Link, room::PATIENCE, server::Server};

/// Claims an estate that is nobody's, in which there is nothing.
async fn takes(gateway: &Gateway, estate: u16) -> Result<(Hold, Log)> {
    let hold = gateway.sessions.claim_estate(estate).await?.context("another gateway has it")?;
    let (log, left) = gateway.sessions.open_estate(&hold, MOST).await?;
    ensure!(left.is_empty(), "{:?} is in it", bodies(&left));
    Ok((hold, log))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_estate_is_one_gateways_until_it_goes_and_then_anothers_with_all_that_is_not_settled() -> Result<()> {
    let server = Server::start("")?;
    let link = Link::to(server.port).await?;
    let (a, b) = (gateway(server.url(), "a").await?, gateway(link.url(), "b").await?);
    let [estate, empty] = b.sessions.estates()[..2] else { anyhow::bail!("there are many") };
    ensure!(!b.sessions.has_estate(estate).await?);
    let (hold, log) = takes(&b, estate).await?;
    append(&log, "left").await??;
    let settled = append(&log, "settled").await??;
    log.consume(&[settled]).await?;
    ensure!(a.sessions.has_estate(estate).await? && !a.sessions.has_estate(empty).await?);
    ensure!(a.sessions.claim_estate(estate).await?.is_none() && b.sessions.is_ours(&hold).await?);

    link.cut();
    let start = Instant::now();
    let taken = loop {
        if let Some(taken) = a.sessions.claim_estate(estate).await? {
            break taken;
        }
        ensure!(start.elapsed() < PATIENCE, "it stays another's");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let (new, left) = a.sessions.open_estate(&taken, MOST).await?;
    ensure!(bodies(&left) == [b"left"], "{:?}", bodies(&left));
    link.mend();
    timeout(PATIENCE, log.moved()).await?;
    ensure!(!b.sessions.is_ours(&hold).await? && a.sessions.is_ours(&taken).await?);

    new.consume(&places(&left)).await?;
    drop(taken);
    ensure!(a.sessions.give_estate_back(estate, new).await?);
    ensure!(!a.sessions.has_estate(estate).await? && kept(server.url()).await? == 0);
    takes(&b, estate).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_estate_that_a_person_purged_or_whose_stream_was_made_anew_is_its_owners_still() -> Result<()> {
    let server = Server::start("")?;
    let (a, b) = (gateway(server.url(), "a").await?, gateway(server.url(), "b").await?);
    let estate = a.sessions.estates()[0];
    let (mut hold, mut log) = takes(&a, estate).await?;
    for is_made_anew in [false, true] {
        append(&log, "kept").await??;
        log.verify().await?;
        ensure!(!log.has_moved());
        let stream = logs(server.url()).await?;
        if is_made_anew {
            let context = jetstream::new(async_nats::connect(server.url()).await?);
            let config = stream.get_info().await?.config;
            context.delete_stream(format!("interconn-v1-{NODE}-logs")).await?;
            context.create_stream(config).await?;
        } else {
            stream.purge().await?;
        }
        let looked = timeout(PATIENCE, log.verify()).await?;
        ensure!(looked == Err(SessionError::Moved) && log.has_moved(), "{looked:?}");
        ensure!(a.sessions.is_ours(&hold).await? && b.sessions.claim_estate(estate).await?.is_none());
        (hold, log) = takes(&a, estate).await?;
    }
    append(&log, "again").await??;
    log.verify().await?;
    Ok(())
}

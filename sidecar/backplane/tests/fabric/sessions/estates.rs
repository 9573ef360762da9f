//! Estates: what a gateway leaves to the others.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use async_nats::jetstream;
use bytes::Bytes;
use mesh_backplane::{Hold, Log, Place, SessionError};
use tokio::time::timeout;

use super::{Gateway, MOST, NODE, append, bodies, gateway, kept, logs};
use crate::{cut::Link, room::PATIENCE, server::Server};

/// Claims an estate that is nobody's, in which there is nothing.
async fn takes(gateway: &Gateway, estate: u16) -> Result<(Hold, Log)> {
    let hold = gateway.sessions.claim_estate(estate).await?.context("another gateway has it")?;
    let (log, left) = gateway.sessions.open_estate(&hold).await?;
    ensure!(left.is_empty(), "{left:?} is in it");
    Ok((hold, log))
}

fn places(left: &[(Place, u64)]) -> Vec<Place> {
    left.iter().map(|(place, _)| *place).collect()
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
    let (new, left) = a.sessions.open_estate(&taken).await?;
    let found = new.fetch(&places(&left), MOST).await?;
    ensure!(bodies(&found) == [b"left"], "{:?}", bodies(&found));
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_left_is_read_by_its_places_in_parts_wherever_it_was_moved_meanwhile() -> Result<()> {
    let server = Server::start("")?;
    let (a, b) = (gateway(server.url(), "a").await?, gateway(server.url(), "b").await?);
    let estate = a.sessions.estates()[0];
    let (hold, log) = takes(&a, estate).await?;
    let large: Bytes = (0..700_000_u32).flat_map(u32::to_le_bytes).collect();
    for record in ["first".into(), large.clone(), "last".into()] {
        append(&log, record).await??;
    }
    // Another opens it while this one does not know it yet.
    let (log, left) = b.sessions.open_estate(&hold).await?;
    let [first, second, last] = places(&left)[..] else { anyhow::bail!("{left:?}") };
    ensure!(left[1].1 == large.len() as u64, "{left:?}");
    ensure!(log.fetch(&[second], MOST).await? == [(second, large.clone())]);
    ensure!(bodies(&log.fetch(&[first, second, last], 1000).await?) == [&b"first"[..], b"last"], "one is too large");

    // So much is written and read that they are moved behind it, and where they stood is purged.
    let filler = Bytes::from(vec![b'x'; 512 << 10]);
    for _ in 0..40 {
        let place = append(&log, filler.clone()).await??;
        log.consume(&[place]).await?;
    }
    let stream = logs(server.url()).await?;
    let start = Instant::now();
    while stream.get_raw_message(last.sequence).await.is_ok() {
        ensure!(start.elapsed() < PATIENCE, "they are not moved");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    log.consume(&[first]).await?;
    ensure!(log.fetch(&[first, second, last], MOST).await? == [(second, large), (last, "last".into())]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_log_has_in_a_stream_that_was_made_anew_is_not_taken_for_what_was_left() -> Result<()> {
    let server = Server::start("")?;
    let a = gateway(server.url(), "a").await?;
    let (_hold, log) = takes(&a, a.sessions.estates()[0]).await?;
    let place = append(&log, "left").await??;
    let stream = logs(server.url()).await?;
    let (name, stood) = (stream.cached_info().config.name.clone(), stream.get_raw_message(place.sequence).await?);
    let context = jetstream::new(async_nats::connect(server.url()).await?);
    context.delete_stream(&name).await?;
    context.create_stream(stream.cached_info().config.clone()).await?;
    ensure!(matches!(log.fetch(&[place], MOST).await, Err(SessionError::Away(_))));
    for _ in 0..place.sequence {
        context.publish(format!("interconn.v1.{NODE}.session.another"), stood.payload.clone()).await?.await?;
    }
    let found = log.fetch(&[place], MOST).await;
    ensure!(matches!(found, Err(SessionError::Away(_))), "{found:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_left_in_many_messages_is_read_in_order_as_far_as_it_counts() -> Result<()> {
    let server = Server::start("")?;
    let (a, b) = (gateway(server.url(), "a").await?, gateway(server.url(), "b").await?);
    let (hold, log) = takes(&a, a.sessions.estates()[0]).await?;
    let large: Bytes = vec![b'x'; 2 << 20].into();
    let mut all = Vec::new();
    for n in 0..60 {
        let record = if n == 31 { large.clone() } else { n.to_string().into() };
        all.push((append(&log, record.clone()).await??, record));
        if n % 4 == 1 {
            log.consume(&[all.remove(all.len() - 2).0]).await?;
        }
    }
    let (log, left) = b.sessions.open_estate(&hold).await?;
    ensure!(places(&left).iter().eq(all.iter().map(|(place, _)| place)), "{left:?}");
    append(&log, "behind them").await??;
    ensure!(log.fetch(&places(&left), MOST).await? == all);
    log.consume(&places(&left)[..5]).await?;
    ensure!(log.fetch(&places(&left)[..30], MOST).await? == all[5..30]);
    Ok(())
}

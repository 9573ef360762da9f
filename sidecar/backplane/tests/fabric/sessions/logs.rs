//! What the next owner of a session finds of it.

use std::time::Instant;

use anyhow::{Result, ensure};
use bytes::Bytes;
use futures::future::join_all;
use mesh_backplane::{Place, SessionError};

use super::{NODE, append, bodies, gateway, kept, logs};
use crate::{
    held::Held,
    room::{PATIENCE, until},
    server::Server,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_owner_finds_what_is_unread_in_order_and_the_one_before_appends_nothing_more() -> Result<()> {
    let server = Server::start("")?;
    let (a, b) = (gateway(server.url(), "a").await?, gateway(server.url(), "b").await?);
    let (hold, old, unread) = a.takes("s").await?;
    ensure!(unread.is_empty());
    // At the same time: they go in groups, in the order of the calls.
    let places = join_all((0..1000).map(|n| append(&old, format!("m{n}")))).await;
    let places: Vec<Result<Place, SessionError>> = places.into_iter().collect::<Result<_>>()?;
    let places: Vec<Place> = places.into_iter().collect::<Result<_, _>>()?;
    ensure!(places.is_sorted() && kept(server.url()).await? < 200, "{} batches", kept(server.url()).await?);
    // Read is every second one, and of the rest nothing.
    let read = places.iter().skip(1).step_by(2).map(|place| old.consume(&[*place]));
    join_all(read).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    // Another opens the log while this one does not know it yet.
    let (new, unread) = b.opens(&hold).await?;
    let wanted: Vec<String> = (0..1000).step_by(2).map(|n| format!("m{n}")).collect();
    ensure!(bodies(&unread) == wanted.iter().map(String::as_bytes).collect::<Vec<_>>());
    ensure!(append(&old, "too late").await? == Err(SessionError::Moved));
    ensure!(old.consume(&[places[0]]).await == Err(SessionError::Moved) && old.has_moved());
    drop(new);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_is_purged_and_a_session_that_is_given_back_leaves_nothing() -> Result<()> {
    let server = Server::start("")?;
    let a = gateway(server.url(), "a").await?;
    let (hold, log, _) = a.takes("s").await?;
    for n in 0..200 {
        let place = append(&log, format!("m{n}")).await??;
        log.consume(&[place]).await?;
    }
    let start = Instant::now();
    while kept(server.url()).await? > 1 {
        ensure!(start.elapsed() < PATIENCE, "{} messages are left", kept(server.url()).await?);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    drop(hold);
    ensure!(a.sessions.give_back("s", Some(log)).await?);
    ensure!(kept(server.url()).await? == 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_old_record_that_nobody_reads_keeps_little_beside_it() -> Result<()> {
    let server = Server::start("")?;
    let (a, b) = (gateway(server.url(), "a").await?, gateway(server.url(), "b").await?);
    let (hold, log, _) = a.takes("s").await?;
    append(&log, "old").await??;
    for _ in 0..40 {
        let place = append(&log, Bytes::from(vec![b'x'; 512 << 10])).await??;
        log.consume(&[place]).await?;
    }
    let start = Instant::now();
    while kept(server.url()).await? > 30 {
        ensure!(start.elapsed() < PATIENCE, "{} messages are kept for one", kept(server.url()).await?);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let (_, unread) = b.opens(&hold).await?;
    ensure!(bodies(&unread) == [b"old"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_larger_than_a_message_of_nats_is_kept_whole_and_goes_whole() -> Result<()> {
    let server = Server::start("")?;
    let (a, b) = (gateway(server.url(), "a").await?, gateway(server.url(), "b").await?);
    let (hold, log, _) = a.takes("s").await?;
    let large: Bytes = (0..5_000_000_u32).flat_map(u32::to_le_bytes).collect();
    append(&log, "before").await??;
    let place = append(&log, large.clone()).await??;
    append(&log, "after").await??;
    let (log, unread) = b.opens(&hold).await?;
    ensure!(unread.len() == 3 && unread[1] == (place, large), "other bytes were found");
    let (_, short) = b.sessions.log(&hold, 1000).await?;
    ensure!(bodies(&short) == [&b"before"[..], b"after"], "one that is damaged keeps no others from anybody");
    drop(log);
    let (log, _) = a.opens(&hold).await?;
    log.consume(&[place]).await?;
    let start = Instant::now();
    // Its twenty pieces go; batches stay, as one before it is unread.
    while kept(server.url()).await? > 10 {
        ensure!(start.elapsed() < PATIENCE, "{} messages are left", kept(server.url()).await?);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    ensure!(bodies(&b.opens(&hold).await?.1) == [&b"before"[..], b"after"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_whose_log_the_next_one_has_read_and_emptied_says_nothing_is_kept() -> Result<()> {
    let server = Server::start("")?;
    let (a, b) = (gateway(server.url(), "a").await?, gateway(server.url(), "b").await?);
    for is_append in [true, false] {
        let (hold, old, _) = a.takes(if is_append { "append" } else { "consume" }).await?;
        let place = append(&old, "read by the next").await??;
        let (new, unread) = b.opens(&hold).await?;
        new.consume(&super::places(&unread)).await?;
        new.purge().await?;
        let late = if is_append { append(&old, "too late").await?.map(drop) } else { old.consume(&[place]).await };
        ensure!(late == Err(SessionError::Moved) && old.has_moved(), "{late:?}");
    }
    ensure!(kept(server.url()).await? == 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_that_no_record_names_are_purged_at_the_next_opening_and_none_of_its_own() -> Result<()> {
    let server = Server::start("")?;
    let link = Held::to(server.port).await?;
    let (a, b) = (gateway(server.url(), "a").await?, gateway(link.url(), "b").await?);
    let client = async_nats::connect(server.url()).await?;
    let plant = async |session: &str, count: u64| {
        for n in 0..count {
            client.request(pieces(session, n), vec![0; 4].into()).await?;
        }
        anyhow::Ok(())
    };
    // Where nothing else is kept of a session too.
    plant("empty", 1).await?;
    let empty = a.takes("empty").await?;
    goes(&server, 1).await?;
    drop(empty);

    let hold = a.owns("s").await?;
    plant("s", 20).await?;
    link.hold("STREAM.INFO");
    let (log, _) = b.opens(&hold).await?;
    let large: Bytes = vec![b'x'; 3 << 20].into();
    let place = append(&log, large.clone()).await??;
    until("the pieces to be looked for", || link.holds()).await?;
    link.free();
    // Two fences, the pieces of the record, and its batch.
    goes(&server, 2 + 4 + 1).await?;
    ensure!(a.opens(&hold).await?.1 == [(place, large)]);
    Ok(())
}

/// Waits until all that is left in the stream is so many messages.
async fn goes(server: &Server, count: u64) -> Result<()> {
    let start = Instant::now();
    while kept(server.url()).await? > count {
        ensure!(start.elapsed() < PATIENCE, "{} messages are left", kept(server.url()).await?);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Where pieces of a session stand.
fn pieces(session: &str, name: u64) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, session.as_bytes());
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("interconn.v1.{NODE}.session.{hash}.pieces.{name:016x}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_records_than_one_message_names_are_consumed_at_once() -> Result<()> {
    let server = Server::start("")?;
    let (a, b) = (gateway(server.url(), "a").await?, gateway(server.url(), "b").await?);
    let (hold, log, _) = a.takes("s").await?;
    let (first, last) = (append(&log, "first").await??, append(&log, "last").await??);
    let many = [vec![first; 100_000], vec![last; 100_000]].concat();
    tokio::time::timeout(PATIENCE, log.consume(&many)).await??;
    ensure!(b.opens(&hold).await?.1.is_empty());
    Ok(())
}

/// Tries, of which one is not held up for longer than what was read waits for company.
const OFTEN: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_goes_with_what_comes_next_or_by_itself_a_moment_later() -> Result<()> {
    let server = Server::start("")?;
    let a = gateway(server.url(), "a").await?;
    let (_hold, log, _) = a.takes("s").await?;
    let mut last = append(&log, "read").await??;
    let mut is_together = false;
    for _ in 0..OFTEN {
        drop(log.consume(&[last]));
        // What somebody waits for is under way by then, and goes alone.
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        last = append(&log, "next").await??;
        is_together |= last.index == 1;
    }
    ensure!(is_together, "a batch has room for both");
    let before = logs(server.url()).await?.get_info().await?.state.last_sequence;
    drop(log.consume(&[last]));
    let start = Instant::now();
    while logs(server.url()).await?.get_info().await?.state.last_sequence == before {
        ensure!(start.elapsed() < PATIENCE, "nobody writes it");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    Ok(())
}

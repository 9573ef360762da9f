//! A stream that is full: records are refused, and what makes room is not.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use mesh_backplane::{Nats, Place, SessionError, Sessions, Settings};
use tokio::{sync::mpsc, time::timeout};

use super::{NODE, append, bodies, kept, logs};
use crate::{
    cut::Link,
    room::{PATIENCE, Room},
    server::Server,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_stream_takes_what_is_read_and_the_next_owner_and_is_filled_again_when_it_was_read() -> Result<()> {
    let server = Server::start("")?;
    let a = super::join(&bounded(&server, Some(4 << 20)), "a").await?;
    let b = super::join(&bounded(&server, Some(4 << 20)), "b").await?;
    let (hold, log, _) = a.takes("s").await?;
    let mut places: Vec<Place> = Vec::new();
    // To the last byte: what is refused is not only what is large.
    for size in [64 << 10, 4 << 10, 128, 1] {
        let refused = loop {
            match append(&log, vec![b'x'; size]).await? {
                Ok(place) => places.push(place),
                Err(why) => break why,
            }
            ensure!(places.len() < 4096, "4 MiB hold more than that");
        };
        ensure!(matches!(refused, SessionError::Full(_)) && places.len() > 40, "{refused:?} after {}", places.len());
    }
    let large = append(&log, vec![b'x'; 5 << 20]).await?;
    ensure!(matches!(large, Err(SessionError::Full(_))), "{large:?}");
    // Many gateways open many logs, and each record is read for itself: that all has room.
    for place in &places[..20] {
        log.consume(&[*place]).await?;
    }
    let (log, unread) = b.opens(&hold).await?;
    ensure!(unread.len() == places.len() - 20, "{} are unread", unread.len());
    log.consume(&places[20..]).await?;
    let start = Instant::now();
    while let Err(why) = append(&log, vec![b'x'; 64 << 10]).await? {
        ensure!(start.elapsed() < PATIENCE && matches!(why, SessionError::Full(_)), "{why}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_there_gets_the_bound_that_the_settings_say_but_none_below_what_it_holds() -> Result<()> {
    let server = Server::start("")?;
    let a = super::join(&bounded(&server, None), "a").await?;
    let bound = async || anyhow::Ok(logs(server.url()).await?.get_info().await?.config.max_bytes);
    ensure!(bound().await? == -1);
    let nats = Nats::join(&bounded(&server, Some(8 << 20)), NODE, "b").await?;
    let _room = Room::of(&*nats);
    Sessions::open(&nats).await?;
    ensure!(bound().await? == 8 << 20);
    let (hold, log, _) = a.takes("s").await?;
    for _ in 0..4 {
        append(&log, vec![b'x'; 512 << 10]).await??;
    }
    let c = super::join(&bounded(&server, Some(1 << 20)), "c").await?;
    ensure!(bound().await? > 2 << 20, "servers above their bound take nothing at all");
    let (log, unread) = c.opens(&hold).await?;
    ensure!(bodies(&unread).len() == 4);
    let refused = append(&log, "one more").await?;
    ensure!(matches!(refused, Err(SessionError::Full(_))), "{refused:?}");
    log.consume(&super::places(&unread)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_of_a_record_that_does_not_land_are_purged() -> Result<()> {
    let server = Server::start("")?;
    let (a, b) = (super::gateway(server.url(), "a").await?, super::gateway(server.url(), "b").await?);
    let (hold, old, _) = a.takes("s").await?;
    let (_log, _) = b.opens(&hold).await?;
    // It does not know yet that another has the log: the pieces stand before it learns of it.
    ensure!(append(&old, vec![b'x'; 3 << 20]).await? == Err(SessionError::Moved));
    let start = Instant::now();
    while kept(server.url()).await? > 2 {
        ensure!(start.elapsed() < PATIENCE, "{} messages are left beside two fences", kept(server.url()).await?);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_are_refused_as_too_many_wait_take_no_room_of_the_stream() -> Result<()> {
    let server = Server::start("")?;
    let link = Link::to(server.port).await?;
    let settings = Settings { url: link.url(), ..bounded(&server, Some(32 << 20)) };
    let a = super::join(&settings, "a").await?;
    let ((_s, log, _), (_t, other, _)) = (a.takes("s").await?, a.takes("t").await?);
    link.cut();
    let (tell, mut told) = mpsc::unbounded_channel();
    let record: Bytes = vec![b'x'; 512 << 10].into();
    for _ in 0..100 {
        let tell = tell.clone();
        log.append(record.clone(), Box::new(|| true), Box::new(move |landed| drop(tell.send(landed))));
    }
    let mut refused = 0;
    while let Ok(why) = told.try_recv() {
        ensure!(matches!(why, Err(SessionError::Away(_))), "{why:?}: the stream has room");
        refused += 1;
    }
    ensure!(refused > 70, "{refused} of 50 MiB were refused at once");
    let mut small = Box::pin(append(&other, "small"));
    let at_once = timeout(Duration::from_millis(100), &mut small).await;
    ensure!(at_once.is_err(), "nobody hears it: {at_once:?}");
    link.mend();
    small.await??;
    Ok(())
}

fn bounded(server: &Server, max_bytes: Option<u64>) -> Settings {
    Settings { url: server.url(), replicas: 1, max_bytes, ..Settings::default() }
}

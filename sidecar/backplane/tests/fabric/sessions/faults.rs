//! Servers that are killed, and owners that are not heard any more.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use mesh_backplane::{Log, Owner, Place, SessionError};
use tokio::task::JoinHandle;

use super::{NODE, append, bodies, gateway, gateway_of, logs};
use crate::{cut::Link, room::PATIENCE, server::Server};

/// Somebody who appends one record after the other.
struct Appending {
    is_over: Arc<AtomicBool>,
    task: JoinHandle<Result<Vec<String>>>,
}

impl Appending {
    fn to(log: &Log) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, log) = (Arc::clone(&is_over), log.clone());
        let task = tokio::spawn(async move {
            let mut kept = Vec::new();
            for n in 0.. {
                if over.load(Ordering::SeqCst) {
                    break;
                }
                let record = format!("m{n}");
                if append(&log, record.clone()).await?.is_ok() {
                    kept.push(record);
                }
            }
            Ok(kept)
        });
        Self { is_over, task }
    }

    /// What it was told is kept, in order.
    async fn end(self) -> Result<Vec<String>> {
        self.is_over.store(true, Ordering::SeqCst);
        self.task.await?
    }
}

/// Which of the three servers leads the stream with the logs.
async fn leader(url: String) -> Result<usize> {
    let info = logs(url).await?.get_info().await?;
    let leader = info.cluster.and_then(|cluster| cluster.leader).context("nobody leads")?;
    Ok(leader.trim_start_matches('n').parse()?)
}

/// Appends a record, however often it takes.
async fn appended(log: &Log, record: &'static str) -> Result<Place> {
    let start = Instant::now();
    loop {
        match append(log, record).await? {
            Ok(place) => return Ok(place),
            Err(why) => ensure!(start.elapsed() < PATIENCE, "it is used no more: {why}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_servers_the_one_that_leads_is_killed_and_nothing_that_was_said_to_be_kept_is_lost() -> Result<()> {
    let mut servers = Server::three()?;
    let url = servers.iter().map(Server::url).collect::<Vec<_>>().join(",");
    let (a, b) = (gateway_of(url.clone(), 3, "a").await?, gateway_of(url.clone(), 3, "b").await?);
    let (hold, log, _) = a.takes("s").await?;
    let appending = Appending::to(&log);
    let place = appended(&log, "before").await?;
    let leader = leader(url).await?;
    let server = servers.get_mut(leader).context("a leader that is none of the three")?;
    server.kill()?;
    // Another one leads; what waited for it is appended then, and sessions are claimed.
    let after = appended(&log, "after").await?;
    log.consume(&[place, after]).await?;
    a.owns("claimed without it").await?;
    server.start_again()?;
    let kept = appending.end().await?;
    ensure!(!hold.has_ended() && !kept.is_empty());
    let (_, unread) = b.opens(&hold).await?;
    ensure!(bodies(&unread) == kept.iter().map(String::as_bytes).collect::<Vec<_>>(), "{} were kept", kept.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_server_kept_three_keep_when_the_settings_say_so() -> Result<()> {
    let servers = Server::three()?;
    let url = servers.iter().map(Server::url).collect::<Vec<_>>().join(",");
    let _a = gateway_of(url.clone(), 1, "a").await?;
    let jetstream = async_nats::jetstream::new(async_nats::connect(servers[0].url()).await?);
    let replicas = async || {
        let names = ["KV_interconn-v1-NODE-members", "KV_interconn-v1-NODE-sessions", "interconn-v1-NODE-logs"];
        let mut all = Vec::new();
        for name in names {
            all.push(jetstream.get_stream(name.replace("NODE", NODE)).await?.cached_info().config.num_replicas);
        }
        anyhow::Ok(all)
    };
    ensure!(replicas().await? == [1, 1, 1]);
    let _b = gateway_of(url, 3, "b").await?;
    ensure!(replicas().await? == [3, 3, 3]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_while_no_server_leads_is_written_when_one_does() -> Result<()> {
    let mut servers = Server::three()?;
    let url = servers.iter().map(Server::url).collect::<Vec<_>>().join(",");
    let (a, b) = (gateway_of(url.clone(), 3, "a").await?, gateway_of(url.clone(), 3, "b").await?);
    let (hold, log, _) = a.takes("s").await?;
    let (read, _unread) = (appended(&log, "read").await?, appended(&log, "unread").await?);
    // The leader and one other: of the third nobody is told anything.
    let leads = leader(url).await?;
    let other = (leads + 1) % servers.len();
    for at in [leads, other] {
        servers[at].kill()?;
    }
    let consuming = tokio::spawn(log.consume(&[read]));
    // A push is refused by then, and what was read is not forgotten for that.
    let refused = tokio::time::timeout(PATIENCE, append(&log, "refused")).await?;
    tokio::time::sleep(Duration::from_secs(7)).await;
    for at in [leads, other] {
        servers[at].start_again()?;
    }
    tokio::time::timeout(PATIENCE, consuming).await???;
    let (_, unread) = b.opens(&hold).await?;
    ensure!(!bodies(&unread).contains(&b"read".as_slice()), "{refused:?}");
    ensure!(bodies(&unread).contains(&b"unread".as_slice()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_said_to_be_kept_is_kept_when_the_server_is_killed_and_nothing_is_kept_twice() -> Result<()> {
    let mut server = Server::start("")?;
    let (a, b) = (gateway(server.url(), "a").await?, gateway(server.url(), "b").await?);
    let (hold, log, _) = a.takes("s").await?;
    let appending = Appending::to(&log);
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.kill()?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.start_again()?;
        // It is used again without anybody's help.
        let place = appended(&log, "there").await?;
        log.consume(&[place]).await?;
    }
    let kept = appending.end().await?;
    let (_, unread) = b.opens(&hold).await?;
    ensure!(bodies(&unread) == kept.iter().map(String::as_bytes).collect::<Vec<_>>(), "{} were kept", kept.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_is_not_heard_loses_its_sessions_and_learns_of_it_when_it_is_heard_again() -> Result<()> {
    let server = Server::start("")?;
    let link = Link::to(server.port).await?;
    let (a, b) = (gateway(server.url(), "a").await?, gateway(link.url(), "b").await?);
    let (hold, log, _) = b.takes("s").await?;
    append(&log, "kept").await??;
    ensure!(matches!(a.sessions.owner("s").await?, Owner::There(_)));
    link.cut();
    let mut late = Box::pin(append(&log, "nobody knows"));
    let (taken, _, unread) = tokio::select! {
        taken = a.takes("s") => taken?,
        done = &mut late => anyhow::bail!("{done:?}, and nobody could be heard"),
    };
    ensure!(taken.epoch() == hold.epoch() + 1 && bodies(&unread) == [b"kept"], "{:?}", bodies(&unread));
    ensure!(!hold.has_ended(), "it cannot know");
    link.mend();
    tokio::time::timeout(PATIENCE, hold.ended()).await?;
    let late = late.await?;
    ensure!(matches!(late, Err(SessionError::Moved | SessionError::Unsure)), "{late:?}");
    ensure!(!b.sessions.is_here("s") && matches!(b.sessions.owner("s").await?, Owner::There(_)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_nobody_hears_for_is_gone_before_its_silence_is_over_and_one_that_is_there_is_not() -> Result<()>
{
    let server = Server::start("")?;
    let link = Link::to(server.port).await?;
    let (a, b) = (gateway(server.url(), "a").await?, gateway(link.url(), "b").await?);
    let (hold, log, _) = b.takes("s").await?;
    append(&log, "kept").await??;
    let Owner::There(peer) = a.sessions.owner("s").await? else { anyhow::bail!("it is b's") };
    ensure!(!a.sessions.is_gone(&peer).await, "it is there");
    link.cut();
    let start = Instant::now();
    while !a.sessions.is_gone(&peer).await {
        ensure!(start.elapsed() < PATIENCE, "it is never gone");
    }
    a.sessions.refused("s", &peer);
    let Owner::Here(taken) = a.sessions.owner("s").await? else { anyhow::bail!("it stays another's") };
    ensure!(taken.epoch() == hold.epoch() + 1 && bodies(&a.opens(&taken).await?.1) == [b"kept"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_whose_end_the_servers_have_lost_is_opened_anew_with_what_is_left() -> Result<()> {
    let server = Server::start("")?;
    let a = gateway(server.url(), "a").await?;
    let (hold, log, _) = a.takes("s").await?;
    append(&log, "first").await??;
    let last = append(&log, "last").await??;
    // As a server does that comes back after a loss of power.
    ensure!(logs(server.url()).await?.delete_message(last.sequence).await?);
    let refused = append(&log, "behind it").await?;
    ensure!(refused == Err(SessionError::Moved) && log.has_moved(), "{refused:?}");
    drop(hold);
    let (_hold, log, unread) = a.takes("s").await?;
    ensure!(bodies(&unread) == [b"first"], "{:?}", bodies(&unread));
    append(&log, "behind it").await??;
    Ok(())
}

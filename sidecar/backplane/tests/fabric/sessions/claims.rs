//! Which gateway owns a session.

use anyhow::{Context as _, Result, ensure};
use async_nats::jetstream::kv::Store;
use futures::future::join_all;
use mesh_backplane::{Owner, SessionError};

use super::{Gateway, NODE, append, bodies, gateway, kept, logs};
use crate::{
    held::Held,
    room::{PATIENCE, until},
    server::Server,
};

fn is_here(owner: &Result<Owner, SessionError>) -> bool {
    matches!(owner, Ok(Owner::Here(_)))
}

async fn three(server: &Server) -> Result<Vec<Gateway>> {
    let mut all = Vec::new();
    for name in ["a", "b", "c"] {
        all.push(gateway(server.url(), name).await?);
    }
    Ok(all)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_that_use_a_session_at_the_same_time_one_owns_it_and_the_others_know_which() -> Result<()> {
    let server = Server::start("")?;
    let all = three(&server).await?;
    for n in 0..20 {
        let session = format!("s{n}");
        let owners = join_all(all.iter().map(|one| one.sessions.owner(&session))).await;
        let here: Vec<_> = all.iter().zip(&owners).filter(|(_, owner)| is_here(owner)).collect();
        ensure!(here.len() == 1, "{session} has {} owners: {owners:?}", here.len());
        let owner = here[0].0.nats.clone();
        for (one, theirs) in all.iter().zip(&owners) {
            let Ok(Owner::There(peer)) = theirs else { continue };
            ensure!(peer.number == mesh_backplane::Fabric::number(&*owner), "{peer:?} owns it not");
            until("the owner's address", || one.sessions.address(peer).is_some()).await?;
        }
        // Nobody asks the servers again.
        ensure!(all.iter().filter(|one| one.sessions.is_here(&session)).count() == 1);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_goes_to_another_when_its_owner_leaves_or_gives_it_back_and_not_while_it_is_held() -> Result<()> {
    let server = Server::start("")?;
    let (a, b) = (gateway(server.url(), "a").await?, gateway(server.url(), "b").await?);
    let held = a.owns("given back").await?;
    ensure!(!a.sessions.give_back("given back", None).await?, "it is held");
    ensure!(matches!(b.sessions.owner("given back").await?, Owner::There(_)));
    drop(held);
    ensure!(a.sessions.give_back("given back", None).await? && !a.sessions.is_here("given back"));
    let won = b.owns("given back").await?;
    ensure!(won.epoch() == 1, "nothing is left of the owner before: {won:?}");
    ensure!(matches!(a.sessions.owner("given back").await?, Owner::There(_)));

    let left = a.owns("left").await?;
    a.nats.leave(PATIENCE).await;
    ensure!(b.owns("left").await?.epoch() == left.epoch() + 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_claim_a_session_finds_its_owner_and_claims_nothing() -> Result<()> {
    let server = Server::start("")?;
    let (a, b) = (gateway(server.url(), "a").await?, gateway(server.url(), "b").await?);
    ensure!(a.sessions.present_owner("s").await?.is_none());
    let hold = b.owns("s").await?;
    ensure!(hold.epoch() == 1, "nobody had it before: {hold:?}");
    ensure!(matches!(a.sessions.present_owner("s").await?, Some(Owner::There(_))));
    ensure!(matches!(b.sessions.present_owner("s").await?, Some(Owner::Here(_))));
    b.sessions.release(&hold, u64::MAX / 2).await?;
    ensure!(matches!(a.sessions.present_owner("s").await, Err(SessionError::Released { .. })));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_claimed_by_whoever_went_meanwhile_is_given_back_when_nobody_has_held_it_for_a_while() -> Result<()> {
    let server = Server::start("")?;
    let a = gateway(server.url(), "a").await?;
    drop(a.owns("left").await?);
    let held = a.owns("held").await?;
    a.sessions.give_unheld_back().await;
    ensure!(a.sessions.is_here("left"), "it may be opened this moment");
    a.sessions.give_unheld_back().await;
    ensure!(!a.sessions.is_here("left") && a.sessions.present_owner("left").await?.is_none());
    ensure!(a.sessions.is_here("held") && !held.has_ended());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_released_session_is_refused_everywhere_until_its_time_is_over_and_what_it_had_is_gone() -> Result<()> {
    let server = Server::start("")?;
    let (a, b) = (gateway(server.url(), "a").await?, gateway(server.url(), "b").await?);
    let (hold, log, _) = a.takes("s").await?;
    append(&log, "unread").await??;
    let far = u64::MAX / 2;
    a.sessions.release(&hold, far).await?;
    for one in [&a, &b] {
        let refused = one.sessions.owner("s").await.err();
        ensure!(refused == Some(SessionError::Released { until: far }), "{refused:?}");
    }
    ensure!(kept(server.url()).await? == 0);
    let (hold, log, _) = a.takes("t").await?;
    append(&log, "unread").await??;
    // Its time is over at once. What is kept of it goes before the next use, even if it could not be purged at once.
    a.sessions.release(&hold, 1).await?;
    let (hold, _, unread) = b.takes("t").await?;
    ensure!(hold.epoch() == 2 && unread.is_empty(), "{hold:?} {:?}", bodies(&unread));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_owned_a_session_in_a_bucket_that_was_emptied_owns_it_still_and_nobody_loses_anything() -> Result<()> {
    let server = Server::start("")?;
    let (a, b) = (gateway(server.url(), "a").await?, gateway(server.url(), "b").await?);
    let (hold, log, _) = a.takes("s").await?;
    append(&log, "unread").await??;
    let jetstream = async_nats::jetstream::new(async_nats::connect(server.url()).await?);
    let store = jetstream.get_key_value(format!("interconn-v1-{NODE}-sessions")).await?;
    let mut keys = store.keys().await?;
    let key = futures::StreamExt::next(&mut keys).await.transpose()?.unwrap_or_default();
    store.delete(&key).await?;
    let start = std::time::Instant::now();
    while store.get(key.clone()).await?.is_none_or(|deed| deed.is_empty()) {
        ensure!(start.elapsed() < PATIENCE, "the deed is not written again");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    ensure!(!hold.has_ended() && matches!(b.sessions.owner("s").await?, Owner::There(_)));
    // Somebody who was faster has it, and the owner before learns of it.
    let deed = r#"{"number":1000,"life":1,"epoch":9}"#;
    store.put(&key, deed.into()).await?;
    tokio::time::timeout(PATIENCE, hold.ended()).await?;
    ensure!(log.has_moved() && append(&log, "too late").await? == Err(SessionError::Moved));
    let (hold, _, unread) = b.takes("s").await?;
    ensure!(hold.epoch() == 10 && bodies(&unread) == [b"unread"], "{hold:?}: {:?}", bodies(&unread));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_gateway_left_that_is_gone_is_removed_but_for_what_is_unread() -> Result<()> {
    let server = Server::start("")?;
    let (a, b) = (gateway(server.url(), "a").await?, gateway(server.url(), "b").await?);
    let (_, read, _) = a.takes("read").await?;
    let place = append(&read, "read").await??;
    read.consume(&[place]).await?;
    let (_, unread, _) = a.takes("unread").await?;
    append(&unread, "unread").await??;
    a.owns("memory").await?;
    let (released, log, _) = a.takes("released").await?;
    append(&log, "released").await??;
    a.sessions.release(&released, 1).await?;
    b.owns("of another").await?;
    ensure!(b.sessions.sweep().await? == 1, "only one is nobody's");
    a.nats.leave(PATIENCE).await;
    until("it to be gone", || mesh_backplane::Fabric::others(&*b.nats).is_empty()).await?;
    ensure!(b.sessions.sweep().await? == 3 && b.sessions.sweep().await? == 0);
    ensure!(kept(server.url()).await? > 0, "what is unread stays");
    ensure!(bodies(&b.takes("unread").await?.2) == [b"unread"]);
    ensure!(b.sessions.is_here("of another") && b.takes("released").await?.2.is_empty());
    Ok(())
}

/// The bucket with the deeds, and the only key in it.
async fn only_deed(server: &Server) -> Result<(Store, String)> {
    let jetstream = async_nats::jetstream::new(async_nats::connect(server.url()).await?);
    let store = jetstream.get_key_value(format!("interconn-v1-{NODE}-sessions")).await?;
    let key = futures::StreamExt::next(&mut store.keys().await?).await.transpose()?.context("there is no deed")?;
    Ok((store, key))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_whose_answer_was_lost_ends_the_ownership_and_what_was_kept_is_not_read_again() -> Result<()> {
    let server = Server::start("")?;
    let a = gateway(server.url(), "a").await?;
    let (hold, log, _) = a.takes("s").await?;
    append(&log, "released").await??;
    let (store, key) = only_deed(&server).await?;
    // As the gateway writes it, which then hears nothing of it.
    let deed = store.get(&key).await?.context("there is no deed")?;
    let mut deed: serde_json::Value = serde_json::from_slice(&deed)?;
    deed["released_until"] = 1.into();
    deed["unpurged_below"] = (logs(server.url()).await?.get_info().await?.state.last_sequence + 1).into();
    store.put(&key, serde_json::to_vec(&deed)?.into()).await?;
    tokio::time::timeout(PATIENCE, hold.ended()).await?;
    ensure!(append(&log, "too late").await? == Err(SessionError::Moved));
    let (hold, _, unread) = a.takes("s").await?;
    ensure!(hold.epoch() == 2 && unread.is_empty(), "{hold:?}: {:?}", bodies(&unread));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_confirmed_while_a_deed_is_swept_is_not_swept_away() -> Result<()> {
    let server = Server::start("")?;
    let (near, far) = (Held::to(server.port).await?, Held::to(server.port).await?);
    let (a, b) = (gateway(far.url(), "a").await?, gateway(near.url(), "b").await?);
    let (_hold, log, _) = a.takes("s").await?;
    let place = append(&log, "read").await??;
    log.consume(&[place]).await?;
    // Another was faster that is gone, and this one hears nothing of it.
    far.hold("-sessions.");
    let (store, key) = only_deed(&server).await?;
    store.put(&key, r#"{"number":1000,"life":1,"epoch":9}"#.into()).await?;
    // Whoever sweeps has read the log, and says so to the servers last.
    near.hold("CONSUMER.DELETE");
    let sweeping = tokio::spawn({
        let sessions = b.sessions.clone();
        async move { sessions.sweep().await }
    });
    until("the log to be read", || near.holds()).await?;
    let confirmed = append(&log, "confirmed").await?.is_ok();
    near.free();
    ensure!(sweeping.await?? == 1);
    let wanted: &[&[u8]] = if confirmed { &[b"confirmed"] } else { &[] };
    let (_, _, unread) = b.takes("s").await?;
    ensure!(bodies(&unread) == wanted, "confirmed: {confirmed}, found: {:?}", bodies(&unread));
    Ok(())
}

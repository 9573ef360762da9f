//! What sessions and estates ask of the servers is what the guide has users allow them; and they ask it over TLS, too.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use mesh_backplane::{Owner, SessionError, Settings, Tls};
use mesh_pki::{PlaneSubject, PlaneUse, Root};

use super::{MOST, NODE, append, bodies, join, places};
use crate::{room::PATIENCE, server::Server};

/// The server's only user, who may do what the guide says.
fn user() -> Result<String> {
    let guide = include_str!("../../../../../docs/backplane.md");
    let block = guide.split("```nats\n").nth(1).and_then(|rest| rest.split("```").next());
    let permissions = block.context("the guide has no permissions")?.replace("NODE", NODE);
    Ok(format!("authorization {{ users: [{{ user: mesh, password: hunter2, permissions: {{ {permissions} }} }}] }}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_and_estates_need_no_more_than_the_guide_allows() -> Result<()> {
    let server = Server::start(&user()?)?;
    let settings = Settings { url: server.url(), credentials: Some("mesh:hunter2".into()), ..Settings::default() };
    use_sessions(&settings).await?;
    use_estates(&settings).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_kept_over_tls_for_who_has_a_pair_and_credentials() -> Result<()> {
    let (now, day) = (SystemTime::now(), Duration::from_secs(86_400));
    let named = |common_name| PlaneSubject { organization: None, common_name };
    let root = Root::generate_plane(named("servers"), day, now)?;
    let own = root.issue_plane(named("nats"), PlaneUse::Server(&["127.0.0.1".parse()?]), day, now)?;
    let pair = root.issue_plane(named("mesh"), PlaneUse::Client(None), day, now)?;
    let tls =
        "tls { cert_file: \"FOLDER/tls.crt\", key_file: \"FOLDER/tls.key\", ca_file: \"FOLDER/ca.crt\", verify: true }";
    let files =
        [("tls.crt", own.chain_pem.as_str()), ("tls.key", own.key.expose()), ("ca.crt", root.certificate_pem())];
    let server = Server::start_with(&format!("{}\n{tls}", user()?), &files)?;
    let shown = Tls {
        roots: Some(root.certificate_pem().into()),
        pair: Some((pair.chain_pem.clone(), pair.key.expose().into())),
        server_name: String::new(),
    };
    let url = server.url().replace("nats:", "tls:");
    let settings = Settings { url, credentials: Some("mesh:hunter2".into()), tls: Some(shown), ..Settings::default() };
    let stranger = Settings { credentials: Some("mesh:wrong".into()), ..settings.clone() };
    ensure!(join(&stranger, "c").await.is_err(), "a pair alone is not enough");
    use_sessions(&settings).await
}

/// Everything that sessions do.
async fn use_sessions(settings: &Settings) -> Result<()> {
    let settings = Settings { replicas: 1, ..settings.clone() };
    let (a, b) = (join(&settings, "a").await?, join(&settings, "b").await?);
    let (hold, old, unread) = a.takes("s").await?;
    ensure!(unread.is_empty() && matches!(b.sessions.owner("s").await?, Owner::There(_)));
    // Whole, and in pieces.
    let large = Bytes::from(vec![b'x'; 2 << 20]);
    append(&old, "small").await??;
    append(&old, large.clone()).await??;
    old.verify().await?;
    let (log, unread) = b.opens(&hold).await?;
    ensure!(bodies(&unread) == [b"small".as_slice(), &large], "{} are found", unread.len());
    log.consume(&places(&unread)).await?;
    log.purge().await?;
    // The pieces of what does not land are purged, as it is another's.
    ensure!(append(&old, large).await? == Err(SessionError::Moved));
    // One is given back, and one released.
    let (given, log, _) = b.takes("given").await?;
    drop(given);
    ensure!(b.sessions.give_back("given", Some(log)).await?);
    let (taken, log, _) = a.takes("given").await?;
    append(&log, "unread").await??;
    a.sessions.release(&taken, 1).await?;
    a.sessions.sweep().await?;
    ensure!(b.takes("given").await?.2.is_empty(), "what was released is gone");
    Ok(())
}

/// Everything that gateways do with what others left.
async fn use_estates(settings: &Settings) -> Result<()> {
    let settings = Settings { replicas: 1, ..settings.clone() };
    let (a, b) = (join(&settings, "c").await?, join(&settings, "d").await?);
    let estate = a.sessions.estates()[0];
    let hold = a.sessions.claim_estate(estate).await?.context("another gateway has it")?;
    let (log, left) = a.sessions.open_estate(&hold).await?;
    ensure!(left.is_empty());
    let large = Bytes::from(vec![b'x'; 2 << 20]);
    append(&log, "left").await??;
    append(&log, large.clone()).await??;
    ensure!(b.sessions.claim_estate(estate).await?.is_none() && b.sessions.has_estate(estate).await?);
    a.nats.leave(PATIENCE).await;
    let start = Instant::now();
    let taken = loop {
        if let Some(taken) = b.sessions.claim_estate(estate).await? {
            break taken;
        }
        ensure!(start.elapsed() < PATIENCE, "it stays another's");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let (log, left) = b.sessions.open_estate(&taken).await?;
    let left: Vec<_> = left.iter().map(|(place, _)| *place).collect();
    ensure!(bodies(&log.fetch(&left, MOST).await?) == [b"left".as_slice(), &large]);
    log.consume(&left).await?;
    drop(taken);
    ensure!(b.sessions.give_estate_back(estate, log).await? && !b.sessions.has_estate(estate).await?);
    Ok(())
}

//! What happens when NATS has its bad days (issue: nothing of this needs a restart of a gateway).

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use mesh_backplane::{BackplaneError, Fabric as _, Nats, Settings, Tls};
use mesh_pki::{PlaneSubject, PlaneUse, Root};
use serde_json::json;
use tokio::{io::AsyncWriteExt as _, net::TcpListener};

use crate::{
    cut::Link,
    room::{Heard, PATIENCE, Room, until},
    server::Server,
};

const NODE: &str = "LX0000010000280";

async fn join(url: String, name: &str) -> Result<(Arc<Nats>, Arc<Room>)> {
    let nats = Nats::join(&Settings { url, replicas: 1, ..Settings::default() }, NODE, name).await?;
    let room = Room::of(&*nats);
    Ok((nats, room))
}

/// Asks until there is an answer.
async fn answers(from: &Nats, to: u16) -> Result<()> {
    let start = std::time::Instant::now();
    loop {
        let asked = tokio::time::timeout(Duration::from_secs(2), from.ask(to, "there?".into()));
        if matches!(asked.await, Ok(Some(_))) {
            return Ok(());
        }
        ensure!(start.elapsed() < PATIENCE, "{to} does not answer {}", from.number());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_and_comes_back_is_used_again_by_all() -> Result<()> {
    let mut server = Server::start("")?;
    let ((a, in_a), (b, in_b)) = (join(server.url(), "a").await?, join(server.url(), "b").await?);
    answers(&a, b.number()).await?;
    let (numbers, standing) = ((a.number(), b.number()), a.standing());
    in_a.forget();
    in_b.forget();
    server.kill()?;
    until("the gateway to see it", || standing.borrow().away_since.is_some()).await?;
    in_a.hears(&Heard::Left(b.number())).await?;
    // Others are there still, and cannot be reached: callers hear so at once.
    ensure!(a.others() == [b.number()], "who cannot be heard is not gone");
    let asked = tokio::time::timeout(PATIENCE, a.ask(b.number(), "there?".into())).await?;
    ensure!(asked.is_none(), "nobody carries, and somebody answered");
    server.start_again()?;
    answers(&a, b.number()).await?;
    answers(&b, a.number()).await?;
    ensure!((a.number(), b.number()) == numbers && standing.borrow().away_since.is_none());
    in_a.hears(&Heard::Joined(b.number())).await?;
    a.tell(b.number(), Bytes::from_static(b"again"));
    in_b.hears(&Heard::Told(a.number(), "again".into())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_cut_off_is_missed_and_finds_its_number_again() -> Result<()> {
    let server = Server::start("")?;
    let link = Link::to(server.port).await?;
    let ((a, in_a), (b, in_b)) = (join(server.url(), "a").await?, join(link.url(), "b").await?);
    answers(&a, b.number()).await?;
    link.cut();
    // Its silence is over for the others at some time; for itself nobody is gone who cannot be heard.
    in_a.hears(&Heard::Left(b.number())).await?;
    until("it to be gone", || a.others().is_empty()).await?;
    in_b.hears(&Heard::Left(a.number())).await?;
    ensure!(b.others() == [a.number()]);
    // Nobody gets a number that may come back.
    let (c, _) = join(server.url(), "c").await?;
    ensure!(c.number() != a.number() && c.number() != b.number(), "{} is taken", c.number());
    link.mend();
    answers(&a, b.number()).await?;
    answers(&b, c.number()).await?;
    ensure!(!b.standing().borrow().is_fenced);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_in_order_is_missed_at_once_and_its_number_rests() -> Result<()> {
    let server = Server::start("")?;
    let ((a, in_a), (b, _)) = (join(server.url(), "a").await?, join(server.url(), "b").await?);
    answers(&a, b.number()).await?;
    let number = b.number();
    b.leave(PATIENCE).await;
    in_a.hears(&Heard::Left(number)).await?;
    until("it to be gone", || a.others().is_empty()).await?;
    let (c, _) = join(server.url(), "c").await?;
    ensure!(c.number() != number, "ids of {number} may be reserved still");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_whose_number_is_anothers_knows_that_it_is_fenced() -> Result<()> {
    let server = Server::start("")?;
    let (a, _) = join(server.url(), "a").await?;
    let client = async_nats::connect(server.url()).await?;
    let store = async_nats::jetstream::new(client).get_key_value(format!("interconn-v1-{NODE}-members")).await?;
    let until_then = a.standing().borrow().ids_until;
    until("the lease to be renewed", || a.standing().borrow().ids_until > until_then).await?;
    store.put(a.number().to_string(), r#"{"life":1,"name":"another","ids_until":1}"#.into()).await?;
    let standing = a.standing();
    until("the gateway to see it", || standing.borrow().is_fenced).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_was_emptied_is_filled_again() -> Result<()> {
    let server = Server::start("")?;
    let ((a, _), (b, _)) = (join(server.url(), "a").await?, join(server.url(), "b").await?);
    answers(&a, b.number()).await?;
    let client = async_nats::connect(server.url()).await?;
    let store = async_nats::jetstream::new(client).get_key_value(format!("interconn-v1-{NODE}-members")).await?;
    store.purge(a.number().to_string()).await?;
    let start = std::time::Instant::now();
    while store.get(a.number().to_string()).await?.is_none_or(|value| value.is_empty()) {
        ensure!(start.elapsed() < PATIENCE, "the number is not written again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    answers(&b, a.number()).await?;
    ensure!(!a.standing().borrow().is_fenced);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_decide_and_are_shown_nowhere() -> Result<()> {
    let server = Server::start("authorization { user: mesh, password: hunter2 }")?;
    let with = |credentials: &str| Settings {
        url: server.url(),
        credentials: Some(credentials.into()),
        replicas: 1,
        ..Settings::default()
    };
    let right = with("mesh:hunter2");
    ensure!(!format!("{right:?}").contains("hunter2"), "the password is shown");
    Nats::join(&right, NODE, "a").await?;
    let Err(e) = Nats::join(&with("mesh:wrong-one"), NODE, "b").await else { anyhow::bail!("a wrong password joins") };
    ensure!(e.may_pass() && !e.to_string().contains("wrong-one"), "{e}");
    let bad = with("-----BEGIN NATS USER JWT-----\nno\n------END");
    let Err(e) = Nats::join(&bad, NODE, "c").await else { anyhow::bail!("a file that is none joins") };
    ensure!(matches!(e, BackplaneError::Settings(_)), "{e}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_too_old_is_named() -> Result<()> {
    let old = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("nats://{}", old.local_addr()?);
    let server = tokio::spawn(async move {
        let (mut stream, _) = old.accept().await?;
        let info =
            json!({"server_id": "OLD", "version": "2.9.25", "proto": 1, "headers": true, "max_payload": 1 << 20});
        stream.write_all(format!("INFO {info}\r\nPONG\r\n").as_bytes()).await?;
        // Until the gateway turns away.
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    });
    let Err(e) = join(url, "a").await else { anyhow::bail!("an old server is joined") };
    ensure!(e.to_string() == "NATS: nats-server 2.9.25 is too old: 2.10 or later is needed", "{e}");
    server.await??;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_permissions_of_the_guide_are_enough() -> Result<()> {
    let guide = include_str!("../../../../docs/backplane.md");
    let block = guide.split("```nats\n").nth(1).and_then(|rest| rest.split("```").next());
    let permissions = block.context("the guide has no permissions")?.replace("NODE", NODE);
    let users =
        format!("authorization {{ users: [{{ user: mesh, password: hunter2, permissions: {{ {permissions} }} }}] }}");
    let server = Server::start(&users)?;
    let settings =
        Settings { url: server.url(), credentials: Some("mesh:hunter2".into()), replicas: 1, ..Settings::default() };
    let (a, b) = (Nats::join(&settings, NODE, "a").await?, Nats::join(&settings, NODE, "b").await?);
    let _rooms = (Room::of(&*a), Room::of(&*b));
    answers(&a, b.number()).await?;
    let until_then = a.standing().borrow().ids_until;
    until("the lease to be renewed", || a.standing().borrow().ids_until > until_then).await?;
    b.leave(PATIENCE).await;
    until("it to be gone", || a.others().is_empty()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_both_show_who_they_are() -> Result<()> {
    let (now, day) = (SystemTime::now(), Duration::from_secs(86_400));
    let named = |common_name| PlaneSubject { organization: None, common_name };
    let root = Root::generate_plane(named("servers"), day, now)?;
    let own = root.issue_plane(named("nats"), PlaneUse::Server(&["127.0.0.2".parse()?]), day, now)?;
    let pair = root.issue_plane(named("mesh"), PlaneUse::Client(None), day, now)?;
    let tls =
        "tls { cert_file: \"FOLDER/tls.crt\", key_file: \"FOLDER/tls.key\", ca_file: \"FOLDER/ca.crt\", verify: true }";
    let files =
        [("tls.crt", own.chain_pem.as_str()), ("tls.key", own.key.expose()), ("ca.crt", root.certificate_pem())];
    let server = Server::start_with(tls, &files)?;
    // Servers are dialled here by another address than stands in their certificate.
    let right = Tls {
        roots: Some(root.certificate_pem().into()),
        pair: Some((pair.chain_pem.clone(), pair.key.expose().into())),
        server_name: "127.0.0.2".into(),
    };
    let with = |tls: Tls| {
        let url = server.url().replace("nats:", "tls:");
        Settings { url, tls: Some(tls), replicas: 1, ..Settings::default() }
    };
    let (a, b) =
        (Nats::join(&with(right.clone()), NODE, "a").await?, Nats::join(&with(right.clone()), NODE, "b").await?);
    let _rooms = (Room::of(&*a), Room::of(&*b));
    answers(&a, b.number()).await?;
    let stranger = Root::generate_plane(named("others"), day, now)?;
    let wrong = [
        ("no pair", Tls { pair: None, ..right.clone() }),
        ("roots of others", Tls { roots: Some(stranger.certificate_pem().into()), ..right.clone() }),
        ("the host's name", Tls { server_name: String::new(), ..right.clone() }),
        ("another name", Tls { server_name: "nats.example".into(), ..right.clone() }),
    ];
    for (what, tls) in wrong {
        ensure!(Nats::join(&with(tls), NODE, "c").await.is_err(), "with {what} it joins");
    }
    Ok(())
}

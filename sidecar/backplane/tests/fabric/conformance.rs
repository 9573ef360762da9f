//! What holds of whatever joins gateways: the same for memory and for NATS.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures::future::join_all;
use mesh_backplane::{Fabric, Hub, Nats, Settings};

use crate::{
    room::{Heard, PATIENCE, Room, until},
    server::Server,
};

/// What gateways are joined by.
enum Joins {
    Memory(Hub),
    Nats(Server),
}

impl Joins {
    async fn join(&self, name: &str) -> Result<Arc<dyn Fabric>> {
        match self {
            Self::Memory(hub) => Ok(hub.join().context("no number is free")?),
            Self::Nats(server) => {
                let settings = Settings { url: server.url(), replicas: 1, ..Settings::default() };
                Ok(Nats::join(&settings, "LX0000010000280", name).await?)
            }
        }
    }
}

/// A gateway and its room.
async fn gateway(joins: &Joins, name: &str) -> Result<(Arc<dyn Fabric>, Arc<Room>)> {
    let fabric = joins.join(name).await?;
    let room = Room::of(&*fabric);
    Ok((fabric, room))
}

async fn meet(gateways: &[(Arc<dyn Fabric>, Arc<Room>)]) -> Result<()> {
    for (fabric, _) in gateways {
        for (_, other) in gateways.iter().filter(|(other, _)| other.number() != fabric.number()) {
            other.hears(&Heard::Joined(fabric.number())).await?;
        }
    }
    Ok(())
}

async fn holds(joins: Joins) -> Result<()> {
    let mut all = vec![gateway(&joins, "a").await?, gateway(&joins, "b").await?];
    meet(&all).await?;
    all.push(gateway(&joins, "c").await?);
    meet(&all).await?;
    let numbers: BTreeSet<u16> = all.iter().map(|(fabric, _)| fabric.number()).collect();
    ensure!(numbers.len() == 3, "numbers are shared: {numbers:?}");
    for (fabric, _) in &all {
        let others: BTreeSet<u16> = numbers.iter().copied().filter(|number| *number != fabric.number()).collect();
        until("the others to be there", || fabric.others().into_iter().collect::<BTreeSet<_>>() == others).await?;
    }
    what_is_told_arrives_in_order_and_whole(&all).await?;
    questions_are_answered(&all).await?;
    who_goes_is_missed(all).await
}

/// Two directions at the same time, small things and some that are larger than any message of the carrier.
async fn what_is_told_arrives_in_order_and_whole(all: &[(Arc<dyn Fabric>, Arc<Room>)]) -> Result<()> {
    let ((a, in_a), (b, in_b)) = (&all[0], &all[1]);
    let sizes = (0..2000usize).map(|n| if n % 500 == 250 { 3 << 20 } else { n % 300 });
    let notices: Vec<Bytes> = sizes.enumerate().map(|(n, size)| Bytes::from(vec![n as u8; size])).collect();
    for notice in &notices {
        a.tell(b.number(), notice.clone());
        b.tell(a.number(), notice.clone());
    }
    until("all that was told", || in_b.told_by(a.number()).len() >= notices.len()).await?;
    until("all that was told back", || in_a.told_by(b.number()).len() >= notices.len()).await?;
    ensure!(in_b.told_by(a.number()) == notices && in_a.told_by(b.number()) == notices, "other things were heard");
    Ok(())
}

async fn questions_are_answered(all: &[(Arc<dyn Fabric>, Arc<Room>)]) -> Result<()> {
    let (a, b) = (&all[0].0, &all[1].0);
    let asked = (0..500usize).map(|n| {
        let question = Bytes::from(vec![b'x'; if n % 100 == 50 { 1 << 20 } else { n }]);
        let answer = a.ask(b.number(), question.clone());
        async move { (question, answer.await) }
    });
    for (question, answer) in tokio::time::timeout(PATIENCE, join_all(asked)).await? {
        let wanted = [format!("{}: ", a.number()).as_bytes(), &question].concat();
        ensure!(answer.is_some_and(|answer| answer == wanted), "{} bytes were not answered", question.len());
    }
    // Nobody has that number.
    let nobody = tokio::time::timeout(PATIENCE, a.ask(1000, "there?".into())).await?;
    ensure!(nobody.is_none(), "nobody answered");
    Ok(())
}

async fn who_goes_is_missed(mut all: Vec<(Arc<dyn Fabric>, Arc<Room>)>) -> Result<()> {
    let (c, _) = all.pop().context("no third one")?;
    let gone = c.number();
    drop(c);
    for (fabric, room) in &all {
        room.hears(&Heard::Left(gone)).await?;
        until("it to be gone", || !fabric.others().contains(&gone)).await?;
        ensure!(tokio::time::timeout(Duration::from_secs(60), fabric.ask(gone, "there?".into())).await?.is_none());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_holds_in_memory() -> Result<()> {
    holds(Joins::Memory(Hub::default())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_holds_over_nats() -> Result<()> {
    holds(Joins::Nats(Server::start("")?)).await
}

//! The operator dies behind its first write, behind its second, and so on to the last one of a reconcile. What is there then is no half
//! that harms, and the next operator makes it whole.

mod desk;
mod work;

use e2e::between::Between;
use futures::{StreamExt, TryStreamExt, stream};

use self::work::Work;
use super::*;

/// What must hold at every moment, whoever looks.
async fn no_harmful_half(room: &Room, work: Work) -> Result<()> {
    let written = room.written().await?;
    let has = |name: &str| written.contains(name);
    // A leaf or a published root without the root's key could never be renewed, and partners would trust what nobody has.
    for (what, needs) in [
        ("Secret/mesh-a-leaf", "mesh-root"),
        ("ConfigMap/a-root", "mesh-root"),
        ("Secret/mesh-a-member", "mesh-member-root"),
        // A gateway that starts finds what it is to read.
        ("StatefulSet/mesh-a", "ConfigMap/mesh-a"),
    ] {
        ensure!(!has(what) || has(needs), "{what} without {needs}: {written:?}");
    }
    let (published, kept) = (room.published().await?, room.kept("mesh-root").await?);
    let known = published.iter().filter(|root| kept.values().any(|file| file.contains(root.as_str()))).count();
    let least = match work {
        // An issuer keeps its own.
        Work::Issuing => 0,
        // The old one, under which nothing is shown any more, is forgotten before partners are told.
        Work::Following => 1,
        _ => published.len(),
    };
    ensure!(known >= least, "{} roots are published, and {known} of them kept", published.len());
    let (given, kept) = (room.secret(&room.name, "mesh-a-leaf").await?, room.kept("mesh-rooms").await?);
    for (file, text) in given.iter().filter(|(file, _)| file.starts_with("tunnel-") || *file == "directory.key") {
        ensure!(kept.get(file) == Some(text), "the gateway has another {file} than is kept");
    }
    Ok(())
}

/// Whether write `at` came at all.
async fn killed_at(work: Work, at: usize) -> Result<bool> {
    let name = format!("{work:?}-{at}").to_lowercase();
    let room = Room::open(&name).await?;
    let _signer = if matches!(work, Work::Issuing) { Some(room.signs().await?) } else { None };
    work.prepare(&room).await?;
    let way = Between::open(room.server, &name, at).await?;
    let options = ["--lease-name", &name, "--watch-namespaces", &name, "--injection", "off"];
    let dies = format!("{name}-dies");
    room.forget_lease().await?;
    let mut operator = Operator::start_by(way.kubeconfig(), room.server, &Room::program(), &dies, &options).await?;
    let met = tokio::select! {
        () = way.reached() => true,
        done = work.done(&room) => { done?; false }
    };
    operator.kill()?;
    if !matches!(work, Work::Removing) {
        no_harmful_half(&room, work).await?;
    }
    let published = room.published().await?;
    if matches!(work, Work::Making) && room.file("manifest.json").await?.is_some() {
        // Of a node that is new, the manifest comes last: whoever reads it finds the rest.
        room.is_whole().await?;
    }
    let _next = room.operator("next").await?;
    work.done(&room).await.with_context(|| format!("the next operator, after {}", room.name))?;
    let now = room.published().await?;
    let lost = match work {
        Work::Removing => None,
        // The old root goes, and nothing comes.
        Work::Following => now.difference(&published).next(),
        // An issuer's root comes in place of our own, and stays once it is known.
        Work::Issuing => {
            let own = room.kept("mesh-root").await?;
            published.difference(&now).find(|root| !own.values().any(|file| file.contains(root.as_str())))
        }
        Work::Making | Work::Changing | Work::Renewing => published.difference(&now).next(),
    };
    ensure!(lost.is_none(), "partners know another root than there is now");
    Ok(met)
}

/// Kills behind every write, of which there are so many at least.
async fn each_death_is_mended(work: Work, least: usize) -> Result<()> {
    let killed = |at| async move { killed_at(work, at).await.with_context(|| format!("{work:?}, after write {at}")) };
    let writes = until_none_is_met(killed).await?;
    println!("{work:?}: died after each of {writes} writes");
    ensure!(writes >= least, "it died at {writes} writes only");
    Ok(())
}

/// Counts the writes up to the first that is not met.
async fn until_none_is_met<Met: Future<Output = Result<bool>>>(killed_at: impl Fn(usize) -> Met) -> Result<usize> {
    // More than any work takes. A few at a time: each is a process or two.
    let met: Vec<bool> = stream::iter(1..=40)
        .map(killed_at)
        .buffered(3)
        // The first that met no write is the end of them; those that were under way beside it are let go.
        .try_take_while(|met| std::future::ready(Ok(*met)))
        .try_collect()
        .await?;
    ensure!(met.len() < 40, "the writes do not end");
    Ok(met.len())
}

#[tokio::test]
async fn an_operator_that_dies_at_any_write_while_it_makes_a_node_leaves_no_half_and_the_next_one_goes_on() -> Result<()>
{
    // Its roots, public root, Service, two pairs, routes, manifest, policy, account and pods.
    each_death_is_mended(Work::Making, 11).await
}

#[tokio::test]
async fn an_operator_that_dies_at_any_write_while_a_node_changes_or_goes_is_followed_by_one_that_ends_the_work()
-> Result<()> {
    each_death_is_mended(Work::Changing, 6).await?;
    each_death_is_mended(Work::Removing, 3).await
}

#[tokio::test]
async fn an_operator_that_dies_at_any_write_while_keys_and_certificates_change_loses_none_that_others_know()
-> Result<()> {
    each_death_is_mended(Work::Renewing, 6).await?;
    // The work may be seen to be done before its last write, which is a status, is met.
    each_death_is_mended(Work::Following, 2).await?;
    each_death_is_mended(Work::Issuing, 6).await
}

#[tokio::test]
async fn an_operator_that_dies_at_any_write_of_its_certificate_or_of_a_route_that_was_asked_for_leaves_no_half()
-> Result<()> {
    let writes = until_none_is_met(|at| async move {
        desk::killed_at(at).await.with_context(|| format!("after write {at} of an operator with webhook and intake"))
    })
    .await?;
    println!("webhook and intake: died after each of {writes} writes");
    // Certificate, bundle, where the intake is, and the route.
    ensure!(writes >= 4, "it died at {writes} writes only");
    Ok(())
}

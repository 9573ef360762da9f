//! The operator dies at its first write, at its second, and so on to the last one of a reconcile, each time in two ways:
//! before the write was done, and after. What is there then is no half that harms, and the next operator makes it whole.

use e2e::between::{Between, Death};
use futures::{StreamExt, TryStreamExt, stream};

use super::*;

/// What the operator is in the middle of.
#[derive(Clone, Copy, Debug)]
enum Work {
    /// A node with a gateway and a route, from nothing.
    Making,
    /// The gateway goes, and a second route comes.
    Changing,
    /// The node goes, and takes its roots along.
    Removing,
}

impl Work {
    /// Brings the room to where the work begins.
    async fn prepare(self, room: &Room) -> Result<()> {
        room.node(true).await?;
        room.route("r").await?;
        if matches!(self, Self::Making) {
            return Ok(());
        }
        let mut operator = room.operator("prepares").await?;
        Self::Making.done(room).await?;
        operator.kill()?;
        if matches!(self, Self::Changing) {
            room.node(false).await?;
            return room.route("s").await;
        }
        ours(&room.client, "MeshNode", &room.name).delete("a", &DeleteParams::default()).await?;
        Ok(())
    }

    /// Waits until the work is done, and done well.
    async fn done(self, room: &Room) -> Result<()> {
        let mut all = vec!["ConfigMap/a-root", "ConfigMap/mesh-a", "ConfigMap/mesh-a-routes-0", "Secret/mesh-a-leaf"];
        all.extend(["Secret/mesh-a-member", "Service/mesh-a", "mesh-member-root", "mesh-root"]);
        match self {
            Self::Making => {
                all.extend(["NetworkPolicy/mesh-a", "ServiceAccount/mesh-a", "StatefulSet/mesh-a"]);
                // Nobody runs its pod here.
                room.condition("MeshNode", "a", "GatewayReady", "Unknown").await?;
                room.condition("MeshRoute", "r", "Ready", "True").await?;
            }
            Self::Changing => {
                room.condition("MeshNode", "a", "Ready", "True").await?;
                room.condition("MeshRoute", "s", "Ready", "True").await?;
            }
            Self::Removing => {
                let nodes = ours(&room.client, "MeshNode", &room.name);
                return wait::until("the node and its roots to be gone", LATE, || async {
                    ensure!(nodes.get_opt("a").await?.is_none(), "its finalizer holds it");
                    let left: Vec<_> = room.written().await?.into_iter().filter(|name| !name.contains('/')).collect();
                    ensure!(left.is_empty(), "left: {left:?}");
                    Ok(())
                })
                .await;
            }
        }
        let wanted: BTreeSet<String> = all.into_iter().map(str::to_owned).collect();
        wait::until("all that belongs to the node, and nothing else", LATE, || async {
            let written = room.written().await?;
            ensure!(written == wanted, "{written:?}");
            room.is_whole().await
        })
        .await
    }
}

/// What must hold at every moment, whoever looks.
async fn no_harmful_half(room: &Room) -> Result<()> {
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
    Ok(())
}

/// Whether write `at` came at all.
async fn killed_at(work: Work, death: Death, at: usize) -> Result<bool> {
    let name = format!("{work:?}-{death:?}-{at}").to_lowercase();
    let room = Room::open(&name).await?;
    work.prepare(&room).await?;
    let way = Between::open(room.server, &name, at, death).await?;
    let options = ["--lease-name", &name, "--watch-namespaces", &name, "--injection", "off"];
    let dies = format!("{name}-dies");
    room.forget_lease().await?;
    let mut operator = Operator::start_by(way.kubeconfig(), room.server, &Room::program(), &dies, &options).await?;
    let met = tokio::select! {
        () = way.reached() => true,
        done = work.done(&room) => { done?; false }
    };
    operator.kill()?;
    if matches!(work, Work::Making | Work::Changing) {
        no_harmful_half(&room).await?;
    }
    let root = room.public_root().await?;
    if matches!(work, Work::Making) && room.file("manifest.json").await?.is_some() {
        // Of a node that is new, the manifest comes last: whoever reads it finds the rest.
        room.is_whole().await?;
    }
    let _next = room.operator("next").await?;
    work.done(&room).await.with_context(|| format!("the next operator, after {}", room.name))?;
    if let Some(root) = root.filter(|_| !matches!(work, Work::Removing)) {
        ensure!(room.public_root().await? == Some(root), "partners know another root than there is now");
    }
    Ok(met)
}

/// Kills at every write; gives how many there were.
async fn at_each_write(work: Work, death: Death) -> Result<usize> {
    // More than any work takes. A few at a time: each is a process or two.
    let met: Vec<bool> =
        stream::iter(1..=40)
            .map(|at| async move {
                killed_at(work, death, at).await.with_context(|| format!("{work:?}, {death:?} write {at}"))
            })
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
    for death in [Death::Before, Death::After] {
        let writes = at_each_write(Work::Making, death).await?;
        println!("making a node: died at each of {writes} writes, {death:?}");
        // Its roots, public root, Service, two pairs, routes, manifest, policy, account and pods.
        ensure!(writes >= 11, "it died at {writes} writes only");
    }
    Ok(())
}

#[tokio::test]
async fn an_operator_that_dies_at_any_write_while_a_node_changes_or_goes_is_followed_by_one_that_ends_the_work()
-> Result<()> {
    for (work, least) in [(Work::Changing, 6), (Work::Removing, 3)] {
        for death in [Death::Before, Death::After] {
            let writes = at_each_write(work, death).await?;
            println!("{work:?}: died at each of {writes} writes, {death:?}");
            ensure!(writes >= least, "it died at {writes} writes only");
        }
    }
    Ok(())
}

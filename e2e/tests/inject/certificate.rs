//! The webhook's certificate: kept, shared, rotated and repaired, and no pod fails over it.

use std::cell::RefCell;

use super::*;

/// The old authority signs for ten seconds more, and the leader looks again within twenty.
const ROTATED: std::time::Duration = std::time::Duration::from_secs(120);

#[tokio::test]
async fn a_new_authority_comes_in_without_a_pod_that_fails() -> Result<()> {
    let _turn = CROWD.read().await;
    let (room, _injector) = Room::with_injector("rotate").await?;
    let (before, bundle) = (room.secret().await?, room.bundles().await?);
    let secrets = endpoint(&room.client, "v1", "Secret", operator::NAMESPACE);
    secrets.delete(&room.secret_name(), &Default::default()).await?;
    let failed = RefCell::new(Vec::new());
    wait::until("the certificate to be one of the new authority", ROTATED, || async {
        if let Err(error) = room.dry_run(&plain("p")).await {
            failed.borrow_mut().push(format!("{error:#}"));
        }
        let now = room.secret().await?;
        ensure!(now["ca.key"] != before["ca.key"], "it is the old authority");
        ensure!(now["tls.crt"] != before["tls.crt"], "its certificate is still shown");
        ensure!(room.bundles().await? != bundle, "the bundle is the old one");
        Ok(())
    })
    .await?;
    for _ in 0..20 {
        ensure!(is_injected(&room.dry_run(&plain("p")).await?), "no sidecar under the new certificate");
    }
    ensure!(failed.borrow().is_empty(), "pods failed while the authority changed: {:?}", failed.borrow());
    Ok(())
}

#[tokio::test]
async fn upgrades_of_the_installer_and_the_bundle_do_not_meet_and_a_wiped_bundle_comes_back() -> Result<()> {
    let _turn = CROWD.read().await;
    let (room, injector) = Room::with_injector("upgrade").await?;
    let bundle = room.bundles().await?;
    ensure!(bundle.len() == 2 && bundle.iter().all(|b| !b.is_empty()), "no bundle: {bundle:?}");
    for policy in ["Ignore", "Fail"] {
        room.configure(injector.port, policy).await.context("the installer met a conflict")?;
        ensure!(room.bundles().await? == bundle, "an upgrade took the bundle away");
    }
    let wiped = json!({"webhooks": [{"name": "pod.inject.interconn.dev", "clientConfig": {"caBundle": null}}]});
    room.configuration().patch(room.name, &PatchParams::default(), &Patch::Strategic(&wiped)).await?;
    wait::until("the bundle to come back", SOON, || async {
        ensure!(room.bundles().await? == bundle, "it is away");
        Ok(())
    })
    .await?;
    room.configure(injector.port, "Fail").await.context("the installer met a conflict after the repair")
}

#[tokio::test]
async fn an_operator_that_comes_new_keeps_the_certificate_that_is_there() -> Result<()> {
    let _turn = CROWD.read().await;
    let (room, mut injector) = Room::with_injector("keep").await?;
    let before = room.secret().await?;
    injector.operator.end()?;
    let next = room.injector("two").await?;
    next.operator.ready().await?;
    room.configure(next.port, "Fail").await?;
    room.trusted().await?;
    ensure!(room.secret().await? == before, "it made another one");
    Ok(())
}

//! The webhook's certificate: kept, shared, rotated and repaired, and no pod fails over it.

use std::cell::RefCell;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

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

/// An authority, and a pair under it for the webhook, as cert-manager would put them into the Secret.
fn brought() -> Result<(String, Value)> {
    let (authority_key, key) = (KeyPair::generate()?, KeyPair::generate()?);
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_pem = authority.self_signed(&authority_key)?.pem();
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()])?;
    let leaf_pem = leaf.signed_by(&key, &Issuer::new(authority, authority_key))?.pem();
    let files = json!({"ca.crt": authority_pem, "tls.crt": leaf_pem, "tls.key": key.serialize_pem()});
    Ok((authority_pem, files))
}

#[tokio::test]
async fn a_certificate_that_somebody_brings_is_waited_for_and_neither_it_nor_its_bundle_is_written() -> Result<()> {
    let _turn = CROWD.read().await;
    let room = Room::open("brought").await?;
    let injector = room.injector_with("one", &["--webhook-certificate", "brought"]).await?;
    room.configure(injector.port, "Fail").await?;
    let theirs = json!({"metadata": {"annotations": {"cert-manager.io/inject-ca-from": "interconn-system/webhook"}}});
    room.configuration().patch(room.name, &PatchParams::default(), &Patch::Merge(&theirs)).await?;
    room.node("bank-a").await?;
    let waits_for = async |what: &str| {
        wait::until(&format!("the operator to wait for {what} alone"), SOON, || async {
            let (status, said) = injector.operator.get("/readyz").await?;
            ensure!(status == 503 && said == format!("waiting for: {what}"), "{status} {said}");
            Ok(())
        })
        .await
    };
    wait::until("the operator to lead", SOON, || async {
        ensure!(injector.operator.leads().await?);
        Ok(())
    })
    .await?;
    waits_for("the webhook's CA bundle, the webhook's certificate").await?;
    let secrets = endpoint(&room.client, "v1", "Secret", operator::NAMESPACE);
    ensure!(secrets.get_opt(&room.secret_name()).await?.is_none(), "it made a certificate of its own");

    let (authority, files) = brought()?;
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": room.secret_name()}, "stringData": files});
    let secret: DynamicObject = serde_json::from_value(secret)?;
    secrets.create(&PostParams::default(), &secret).await?;
    waits_for("the webhook's CA bundle").await?;
    ensure!(room.bundles().await?.iter().all(String::is_empty), "it wrote the bundle");
    let bundle = STANDARD.encode(authority);
    let hooks = ["namespace.inject.interconn.dev", "pod.inject.interconn.dev"];
    let hooks = hooks.map(|name| json!({"name": name, "clientConfig": {"caBundle": bundle}}));
    let injected = json!({"webhooks": hooks});
    room.configuration().patch(room.name, &PatchParams::default(), &Patch::Strategic(&injected)).await?;
    injector.operator.ready().await?;
    ensure!(is_injected(&room.dry_run(&plain("p")).await?), "no sidecar although it is ready");
    ensure!(room.secret().await?["ca.key"].is_null() && room.bundles().await? == [bundle.clone(), bundle]);
    Ok(())
}

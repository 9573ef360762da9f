//! The webhook is away: what happens to pods then is what the configuration says, and nobody else's pods are touched.

use super::*;

/// A namespace that has nothing to do with us.
async fn bystander(room: &Room) -> Result<Api<DynamicObject>> {
    apply(&room.client, "{apiVersion: v1, kind: Namespace, metadata: {name: bystander}}", |_| true).await?;
    Ok(endpoint(&room.client, "v1", "Pod", "bystander"))
}

#[tokio::test]
async fn while_the_webhook_is_away_pods_wait_under_fail_and_start_without_a_sidecar_under_ignore() -> Result<()> {
    let _turn = CROWD.read().await;
    let (room, mut injector) = Room::with_injector("away").await?;
    injector.operator.kill()?;
    let said = room.refused(&plain("waits")).await?;
    ensure!(said.contains("failed calling webhook"), "{said}");
    let out = json!({"interconn.dev/inject": "disabled"});
    room.create(&with(plain("opted-out"), "metadata", &[("labels", out)])).await?;
    let others = bystander(&room).await?;
    others.create(&PostParams::default(), &serde_json::from_value(plain("free"))?).await?;

    room.configure(injector.port, "Ignore").await?;
    wait::until("the policy to be in force", SOON, || async {
        ensure!(!is_injected(&room.dry_run(&plain("starts")).await?), "there is nobody who could inject it");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_process_that_stands_by_injects_too() -> Result<()> {
    let _turn = CROWD.read().await;
    let (room, leader) = Room::with_injector("standby").await?;
    let standby = room.injector("two").await?;
    wait::until("the standby to be ready", SOON, || async {
        let (status, said) = standby.operator.get("/readyz").await?;
        ensure!(status == 200 && !standby.operator.leads().await?, "{status} {said}");
        Ok(())
    })
    .await?;
    room.configure(standby.port, "Fail").await?;
    drop(leader);
    wait::until("a pod to be injected by the standby", SOON, || async {
        ensure!(is_injected(&room.dry_run(&plain("p")).await?), "no sidecar");
        Ok(())
    })
    .await
}

/// The process still answers while the API server hears of its end.
#[tokio::test]
async fn an_operator_that_ends_in_order_serves_its_webhook_on_for_a_moment() -> Result<()> {
    let _turn = CROWD.read().await;
    let (room, mut injector) = Room::with_injector("farewell").await?;
    let end = tokio::task::spawn_blocking(move || injector.operator.end());
    let (mut served, mut last) = (0, None);
    while !end.is_finished() && last.is_none() {
        match room.dry_run(&plain("p")).await {
            Ok(pod) => {
                ensure!(is_injected(&pod), "no sidecar");
                served += 1;
            }
            // The last one may meet the end itself.
            Err(refused) => last = Some(refused),
        }
    }
    end.await??;
    ensure!(served > 0, "nothing was served after the signal: {last:?}");
    Ok(())
}

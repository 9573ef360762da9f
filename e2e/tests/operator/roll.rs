//! The roll of an issued root: asked for by an annotation, over when people say that every partner has followed.

use super::*;

impl Room {
    async fn annotate(&self, kind: &str, name: &str, annotation: &str, value: &str) -> Result<()> {
        let patch = json!({"metadata": {"annotations": {annotation: value}}});
        ours(&self.client, kind, self.name).patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        Ok(())
    }

    /// The fingerprints of the published roots, as the status has them.
    async fn published(&self) -> Result<Vec<String>> {
        let node = ours(&self.client, "MeshNode", self.name).get("a").await?;
        let roots = node.data["status"]["rootCertificates"].as_array().cloned().unwrap_or_default();
        Ok(roots.iter().filter_map(|root| root["sha256"].as_str().map(str::to_owned)).collect())
    }

    async fn publishes(&self, count: usize) -> Result<Vec<String>> {
        wait::until(&format!("{count} roots to be published"), SOON, || async {
            let roots = self.published().await?;
            ensure!(roots.len() == count, "there are {}", roots.len());
            Ok(roots)
        })
        .await
    }

    /// How many certificates a file of an object has.
    async fn certificates(&self, kind: &str, name: &str, file: &str) -> Result<usize> {
        use base64::Engine as _;
        let object = self.api(kind).get(name).await?;
        let text = object.data["data"][file].as_str().with_context(|| format!("{name} has no {file}"))?.to_owned();
        let text = match kind {
            "Secret" => String::from_utf8(base64::engine::general_purpose::STANDARD.decode(text)?)?,
            _ => text,
        };
        Ok(text.matches("BEGIN CERTIFICATE").count())
    }
}

#[tokio::test]
async fn a_root_rolls_when_asked_and_the_last_one_goes_when_every_partner_has_followed() -> Result<()> {
    let room = Room::open("roll").await?;
    let _operator = room.operator("one").await?;
    room.node("a", json!({})).await?;
    room.route("r", json!({"rootPEMs": [partner_root()?.0]})).await?;
    room.ready("MeshRoute", "r").await?;
    let first = room.publishes(1).await?;

    room.annotate("MeshNode", "a", "interconn.dev/roll-root", "2026-11").await?;
    room.condition("MeshNode", "a", "RootRollPending", "True", "PartnersToFollow").await?;
    let both = room.publishes(2).await?;
    ensure!(both[1] == first[0] && both[0] != first[0], "{first:?} became {both:?}");
    ensure!(room.certificates("ConfigMap", "a-root", "ca.crt").await? == 2);
    ensure!(room.certificates("Secret", "mesh-a-leaf", "tls.crt").await? == 2, "the leaf lacks the cross certificate");
    room.ready("MeshNode", "a").await?;

    // One who follows, while another comes who has yet to.
    room.route("s", json!({"rootPEMs": [partner_root()?.0]})).await?;
    room.annotate("MeshRoute", "r", "interconn.dev/trusts-root", &both[0][..16]).await?;
    wait::until("the condition to name the other route alone", SOON, || async {
        let node = ours(&room.client, "MeshNode", room.name).get("a").await?;
        let conditions = node.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let pending = conditions.iter().find(|c| c["type"] == "RootRollPending").context("it is over")?;
        let message = pending["message"].as_str().unwrap_or_default();
        ensure!(message.contains("of the routes s:"), "{message}");
        Ok(())
    })
    .await?;
    room.annotate("MeshRoute", "s", "interconn.dev/trusts-root", &both[0]).await?;
    let last = room.publishes(1).await?;
    ensure!(last[0] == both[0], "the wrong one went: {both:?} became {last:?}");
    ensure!(room.certificates("ConfigMap", "a-root", "ca.crt").await? == 1);

    // The annotation is still there, and was acted on.
    room.route("t", json!({"rootPEMs": [partner_root()?.0]})).await?;
    room.ready("MeshRoute", "t").await?;
    ensure!(room.published().await? == last, "it rolled again");
    let kept = endpoint(&room.client, "v1", "Secret", operator::NAMESPACE).get("mesh-root.roll.a").await?;
    ensure!(kept.data["data"]["retired.crt"].is_null(), "the last root is still kept");
    Ok(())
}

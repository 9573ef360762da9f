//! A node whose leaf comes from an issuer of cert-manager's kind; the test is the signer.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use e2e::signer::{self, approved, sign};

use super::*;

impl Room {
    fn requests(&self) -> Api<DynamicObject> {
        endpoint(&self.client, "cert-manager.io/v1", "CertificateRequest", self.name)
    }

    /// The one request that is out, and not `but`.
    async fn request(&self, but: &str) -> Result<DynamicObject> {
        wait::until("a request to be sent", SOON, || async {
            let sent = self.requests().list(&ListParams::default()).await?.items;
            let mut news = sent.into_iter().filter(|r| r.metadata.name.as_deref() != Some(but));
            let (first, second) = (news.next(), news.next());
            ensure!(second.is_none(), "there are several");
            first.context("there is none")
        })
        .await
    }

    /// Waits until the gateway's Secret holds the leaf of this answer.
    async fn shows(&self, answer: &Value) -> Result<()> {
        let leaf = String::from_utf8(STANDARD.decode(answer["certificate"].as_str().context("no leaf")?)?)?;
        wait::until("the leaf to be in use", SOON, || async {
            let secret = self.api("Secret").get("mesh-a-leaf").await?;
            let shown = STANDARD.decode(secret.data["data"]["tls.crt"].as_str().context("no leaf")?)?;
            ensure!(String::from_utf8(shown)?.starts_with(leaf.trim_end()), "another one");
            Ok(())
        })
        .await
    }

    async fn answer(&self, request: &DynamicObject, status: Value) -> Result<()> {
        let name = request.metadata.name.as_deref().context("a request without a name")?;
        let patch = json!({"status": status});
        self.requests().patch_status(name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        Ok(())
    }
}

#[tokio::test]
async fn a_leaf_is_asked_of_the_issuer_taken_and_asked_anew_for_another_address() -> Result<()> {
    let room = Room::open("issuer").await?;
    signer::install(&room.client).await?;
    let _operator = room.operator("one").await?;
    let issuer = json!({"issuerRef": {"name": "ca", "kind": "ClusterIssuer"}});
    room.node("a", json!({"certificates": issuer})).await?;
    room.condition("MeshNode", "a", "Stalled", "True", "IssuerPending").await?;
    let request = room.request("").await?;
    let wanted = json!({"name": "ca", "kind": "ClusterIssuer", "group": "cert-manager.io"});
    ensure!(request.data["spec"]["issuerRef"] == wanted, "{}", request.data["spec"]);
    let shown = serde_json::to_string(&request)?;
    ensure!(!shown.contains("PRIVATE"), "the key leaves the operator: {shown}");

    let answer = sign(&request, time::Duration::hours(1))?;
    room.answer(&request, answer.clone()).await?;
    room.ready("MeshNode", "a").await?;
    let published = room.api("ConfigMap").get("a-root").await?.data["data"]["ca.crt"].clone();
    let root = String::from_utf8(STANDARD.decode(answer["ca"].as_str().context("no root")?)?)?;
    ensure!(published.as_str() == Some(root.as_str()), "another root is published: {published}");
    ensure!(room.requests().list(&ListParams::default()).await?.items.is_empty(), "the request is still there");

    // The old leaf serves until the new one is there.
    room.node("a", json!({"certificates": issuer, "address": "mesh.bank-a.example:7304"})).await?;
    let request = room.request("").await?;
    room.ready("MeshNode", "a").await?;
    let refused =
        json!({"conditions": [{"type": "Denied", "status": "True", "reason": "Policy", "message": "no such name"}]});
    room.answer(&request, refused).await?;
    room.condition("MeshNode", "a", "CertificateRenewed", "False", "IssuerRefused").await?;
    room.ready("MeshNode", "a").await
}

#[tokio::test]
async fn an_approved_request_waits_for_its_signature_and_its_leaf_is_renewed_when_it_is_due() -> Result<()> {
    let room = Room::open("issuer-renews").await?;
    signer::install(&room.client).await?;
    let _operator = room.operator("one").await?;
    let due_at = |percent: u8| json!({"certificates": {"issuerRef": {"name": "ca"}, "renewAt": percent}});
    room.node("a", due_at(67)).await?;
    let request = room.request("").await?;
    room.answer(&request, json!({"conditions": [approved()]})).await?;
    room.condition("MeshNode", "a", "Stalled", "True", "IssuerPending").await?;
    let first = sign(&request, time::Duration::days(10))?;
    room.answer(&request, first.clone()).await?;
    room.ready("MeshNode", "a").await?;
    room.shows(&first).await?;

    // A third of its life is over: by now it is due.
    room.node("a", due_at(25)).await?;
    let renewal = room.request(request.metadata.name.as_deref().unwrap_or_default()).await?;
    ensure!(renewal.data["spec"]["request"] != request.data["spec"]["request"], "the same key is to be signed again");
    room.ready("MeshNode", "a").await?;
    room.shows(&first).await?;
    let second = sign(&renewal, time::Duration::hours(1))?;
    room.answer(&renewal, second.clone()).await?;
    room.shows(&second).await?;
    room.ready("MeshNode", "a").await?;
    ensure!(room.requests().list(&ListParams::default()).await?.items.is_empty(), "a request is still there");
    Ok(())
}

//! The operator dies while it makes the certificate of its webhook and intake, tells the API server of it, and writes the route that
//! an application asks for.

use e2e::cluster::control_plane::free_port;
use e2e::{callers, webhook};
use kube::api::PostParams;

use super::*;

/// A room whose operators serve, one after the other, at the same ports.
struct Desk {
    room: Room,
    webhook: u16,
    intake: u16,
    token: String,
    /// What the application asks for.
    asked: Value,
}

impl Desk {
    /// With a node that an operator made which is dead by now.
    async fn open(name: &str) -> Result<Self> {
        let room = Room::open(name).await?;
        room.node(false).await?;
        let mut before = room.operator("prepares").await?;
        room.condition("MeshNode", "a", "Ready", "True").await?;
        before.kill()?;
        callers::pod(&room.client, name, "p").await?;
        callers::grant(&room.client, name).await?;
        let token = callers::token(&room.client, name, callers::AUDIENCE, Some("p")).await?;
        let asked = callers::put("LX2", "b.example:7304", &partner_root()?);
        let desk = Self { room, webhook: free_port()?, intake: free_port()?, token, asked };
        webhook::configure(&desk.room.client, name, desk.webhook, "Fail").await?;
        Ok(desk)
    }

    fn certificate(&self) -> String {
        format!("{}-certificate", self.room.name)
    }

    /// An operator that reaches the API server on this way.
    async fn operator(&self, which: &str, way: &Path) -> Result<Operator> {
        self.room.forget_lease().await?;
        let (name, secret) = (self.room.name.as_str(), self.certificate());
        let at = |port: u16| format!("127.0.0.1:{port}");
        let (webhook, intake) = (at(self.webhook), at(self.intake));
        let options = ["--lease-name", name, "--watch-namespaces", name, "--image", "example.org/mesh:e2e"];
        let serves = ["--webhook-listen", &webhook, "--webhook-names", "127.0.0.1", "--webhook-secret", &secret];
        let more = ["--webhook-configuration", name, "--intake-listen", &intake, "--intake-address", &intake];
        let identity = format!("{name}-{which}");
        let options = [&options[..], &serves, &more].concat();
        Operator::start_by(way, self.room.server, &Room::program(), &identity, &options).await
    }

    /// Asks until it is told that the route is there.
    async fn application(&self) -> Result<()> {
        wait::until("the application to be told that its route is there", LATE, || async {
            let intake = callers::intake(&self.room.client, &self.certificate(), self.intake).await?;
            let asks = callers::send(&intake, Some(&self.token), "/intake/v1/routes", &self.asked);
            let (status, said) = tokio::time::timeout(Duration::from_secs(10), asks).await??;
            ensure!(status == 200 && said["code"] == "E0000000000", "{status} {said}");
            ensure!(self.routes().await? == 1, "it is told of a route, and there are {}", self.routes().await?);
            Ok(())
        })
        .await
    }

    async fn routes(&self) -> Result<usize> {
        let all = ours(&self.room.client, "MeshRoute", &self.room.name).list(&ListParams::default()).await?;
        let whole = all.items.iter().filter(|route| {
            let (spec, asked) = (&route.data["spec"], &self.asked["route"]);
            ["/peer/nodeId", "/addresses/0/address", "/trust"].iter().all(|at| spec.pointer(at) == asked.pointer(at))
        });
        ensure!(whole.count() == all.items.len(), "half a route: {:?}", all.items);
        Ok(all.items.len())
    }

    async fn done(&self) -> Result<()> {
        self.application().await?;
        wait::until("pods to be told where the intake is", LATE, || async {
            let node = self.room.file("node.json").await?.context("no node.json")?;
            let is_told = String::from_utf8(node)?.contains(&format!("127.0.0.1:{}", self.intake));
            ensure!(is_told, "they are not");
            self.room.is_whole().await
        })
        .await?;
        wait::until("the API server to trust the webhook", LATE, || async {
            self.trusts_only_what_is_kept().await?;
            let pod = json!({"apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": "probe", "labels": {"interconn.dev/inject": "enabled"}},
                "spec": {"serviceAccountName": "default", "containers": [{"name": "app", "image": "app:1"}]}});
            let dry_run = PostParams { dry_run: true, ..PostParams::default() };
            let made = self.room.api("Pod").create(&dry_run, &serde_json::from_value(pod)?).await?;
            ensure!(made.data["spec"]["initContainers"][0]["name"] == "mesh", "the pod has no sidecar");
            Ok(())
        })
        .await
    }

    /// An authority that the API server trusts and whose key is lost could be shown by nobody.
    async fn trusts_only_what_is_kept(&self) -> Result<()> {
        let certificate = self.room.secret(operator::NAMESPACE, &self.certificate()).await?;
        let files = ["ca.crt", "ca.key", "tls.crt", "tls.key"];
        ensure!(
            certificate.is_empty() || files.iter().all(|file| certificate.contains_key(*file)),
            "half a certificate"
        );
        for bundle in webhook::bundles(&self.room.client, &self.room.name).await? {
            let bundle = String::from_utf8(STANDARD.decode(bundle)?)?;
            let kept = certificate.get("ca.crt").is_some_and(|kept| kept.contains(bundle.trim()));
            ensure!(bundle.is_empty() || kept, "the API server trusts an authority that nobody keeps");
        }
        Ok(())
    }
}

/// Whether write `at` came at all.
pub(super) async fn killed_at(at: usize) -> Result<bool> {
    let name = format!("desk-{at}");
    let desk = Desk::open(&name).await?;
    let way = Between::open(desk.room.server, &name, at).await?;
    let mut operator = desk.operator("dies", way.kubeconfig()).await?;
    let met = tokio::select! {
        () = way.reached() => true,
        done = desk.done() => { done?; false }
    };
    operator.kill()?;
    desk.trusts_only_what_is_kept().await?;
    let routes = desk.routes().await?;
    ensure!(routes <= 1, "one route was asked for");
    let log = std::fs::read_to_string(desk.room.server.folder().join(format!("log/{name}-dies.log")))?;
    let audited = ["audit=true", "pod=\"p\"", "partner=\"LX2\"", "writes a change of trust"];
    let is_audited = log.lines().any(|line| audited.iter().all(|word| line.contains(word)));
    ensure!(routes == 0 || is_audited, "a change of trust without a line of the audit: {log}");
    let own = desk.room.server.folder().join("etc/operator.kubeconfig");
    let _next = desk.operator("next", &own).await?;
    desk.done().await.with_context(|| format!("the next operator, after {name}"))?;
    Ok(met)
}

//! Keeps the webhook's certificate: in a Secret of the operator's namespace, which all processes show, and its authorities in
//! the webhook's configuration. Only the process that leads writes, but for the first certificate; every process follows.
//!
//! A Secret with a certificate and without the authority's key was brought by somebody, such as cert-manager. It is shown, and
//! neither it nor the configuration is written.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures::{Stream, StreamExt, future::pending, pin_mut, stream};
use k8s_openapi::{
    ByteString,
    api::{admissionregistration::v1::MutatingWebhookConfiguration, core::v1::Secret},
};
use kube::{
    Api, Client, ResourceExt,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
    core::PartialObjectMeta,
    runtime::{WatchStreamExt, watcher},
};
use mesh_pki::CertificateInfo;
use prometheus_client::metrics::gauge::Gauge;
use serde_json::json;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use super::{
    bundle::{self, Bundle, Whose},
    certificate::{self, CA_CRT, CA_KEY, Kept, TLS_CRT, TLS_KEY, Trusted},
    followed,
    options::CertificateSource,
};
use crate::{admin::Pending, cluster::objects::MANAGER, port::tls::Shown};

/// A look without a cause: a missed event must not let a certificate run out (linkerd/linkerd2#15109).
const POLL: Duration = Duration::from_secs(20);
/// API servers hear of a new authority by a watch, within a second; until then the old one signs.
const SPREAD: Duration = Duration::from_secs(10);
/// Pods follow within minutes. One that does not in this time (its kubelet is away) holds the others up no longer: it follows when it
/// takes its configuration in.
const LATEST: Duration = Duration::from_secs(3600);

/// The Secret and the configuration.
#[derive(Clone)]
pub(super) struct Keeper {
    pub(super) client: Client,
    pub(super) namespace: String,
    pub(super) secret: String,
    pub(super) configuration: String,
    /// What the certificate must speak for.
    pub(super) names: Vec<String>,
    /// Who makes it.
    pub(super) source: CertificateSource,
    /// Where pods know the intake by it: all namespaces, or each of those named; `None`: there is no intake.
    pub(super) known_in: Option<Vec<Option<String>>>,
}

/// Why a step was not done.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error("the webhook's Secret or configuration: {0}; check the operator's rights")]
    Api(#[from] kube::Error),
    #[error("the webhook's certificate cannot be made: {0}")]
    Pki(#[from] mesh_pki::PkiError),
}

/// What the leader remembers between steps.
#[derive(Default)]
struct Memory {
    /// What the Secret held.
    last: Option<Kept>,
    /// Since when the configuration is known to hold these authorities.
    trusted: Option<(String, Instant)>,
}

impl Keeper {
    /// Keeps both, as the leader, for ever.
    pub(super) async fn keep(&self) {
        if self.source == CertificateSource::Brought {
            return pending().await;
        }
        let configurations = Api::<PartialObjectMeta<MutatingWebhookConfiguration>>::all(self.client.clone());
        let looks = stream::select(self.changes(), changes(configurations, &self.configuration));
        let looks = stream::select(looks, ticks());
        pin_mut!(looks);
        let mut memory = Memory::default();
        while looks.next().await.is_some() {
            match self.step(&mut memory).await {
                Ok(()) => {}
                // Somebody wrote meanwhile; that event brings the next look.
                Err(KeepError::Api(kube::Error::Api(refusal))) if refusal.code == 409 => {}
                Err(error) => tracing::warn!(%error, "trying again"),
            }
        }
    }

    /// Waits until API servers take what is shown: a pod that comes sooner is refused.
    pub(super) async fn trusted(&self, waits: &Pending) {
        let configurations = Api::<PartialObjectMeta<MutatingWebhookConfiguration>>::all(self.client.clone());
        let looks = stream::select(self.changes(), changes(configurations, &self.configuration));
        let looks = stream::select(looks, ticks());
        pin_mut!(looks);
        while looks.next().await.is_some() {
            match self.is_trusted().await {
                Ok(true) => return waits.done(),
                Ok(false) => {}
                Err(kube::Error::Api(refusal)) if refusal.code == 403 => {
                    tracing::warn!(%refusal, "whether API servers trust the webhook is not to be seen");
                    return waits.done();
                }
                Err(error) => tracing::debug!(%error, "the webhook's configuration; trying again"),
            }
        }
    }

    async fn is_trusted(&self) -> Result<bool, kube::Error> {
        let Some(secret) = self.read().await? else { return Ok(false) };
        let data = content(&secret);
        let Some(chain) = data.get(TLS_CRT).and_then(|pem| std::str::from_utf8(pem).ok()) else { return Ok(false) };
        let whose = if data.contains_key(CA_KEY) { Whose::Ours } else { Whose::Brought };
        let api: Api<MutatingWebhookConfiguration> = Api::all(self.client.clone());
        let found = api.get_opt(&self.configuration).await?;
        Ok(found.is_none_or(|found| bundle::trusts(&found, chain, whose, SystemTime::now())))
    }

    /// Shows what the Secret holds, for ever; what cannot be shown leaves the one before in use. `ends` is when its certificate does.
    pub(super) async fn follow(
        &self,
        (shown, ends): (&Shown, &Gauge),
        loaded: &Pending,
        authorities: &watch::Sender<String>,
    ) {
        let looks = stream::select(self.changes(), ticks());
        pin_mut!(looks);
        let mut last = None;
        while looks.next().await.is_some() {
            match self.read().await {
                Ok(secret)
                    if last.is_none()
                        && secret.as_ref().map(content).is_none_or(|data| !data.contains_key(TLS_CRT)) =>
                {
                    self.begin(secret.as_ref()).await;
                }
                Ok(Some(secret)) if secret.data != last => {
                    let data = content(&secret);
                    self.load(&data, (shown, ends), loaded);
                    let known = data.get(CA_CRT).and_then(|pem| String::from_utf8(pem.clone()).ok());
                    authorities.send_replace(known.unwrap_or_default());
                    last = secret.data;
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(secret = self.secret, %error, "the webhook's certificate; trying again"),
            }
        }
    }

    fn load(&self, data: &BTreeMap<String, Vec<u8>>, (shown, ends): (&Shown, &Gauge), loaded: &Pending) {
        let text = |key| data.get(key).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
        match shown.show(text(TLS_CRT), text(TLS_KEY)) {
            Ok(()) => {
                loaded.done();
                ends.set(end_of(text(TLS_CRT)));
                tracing::info!(secret = self.secret, "the webhook's certificate is loaded");
            }
            Err(error) => tracing::warn!(secret = self.secret, %error, "the webhook's certificate"),
        }
    }

    /// Makes the very first certificate, whoever leads: during an upgrade the one that leads may know of no webhook yet, and
    /// would be waited for in vain. Of several that make one the first wins, and the others read it.
    async fn begin(&self, there: Option<&Secret>) {
        if self.source == CertificateSource::Brought {
            return;
        }
        let made = certificate::next(None, &self.names, Trusted::NotYet, SystemTime::now());
        match made.map_err(KeepError::from) {
            Ok(Some(kept)) => {
                if let Err(error) = self.write(there, &kept).await {
                    tracing::debug!(%error, "the first certificate of the webhook");
                }
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the first certificate of the webhook"),
        }
    }

    async fn step(&self, memory: &mut Memory) -> Result<(), KeepError> {
        let now = SystemTime::now();
        let secret = self.read().await?;
        let data = secret.as_ref().map(content).unwrap_or_default();
        if data.contains_key(TLS_CRT) && !data.contains_key(CA_KEY) {
            return Ok(());
        }
        let kept = Kept::read(&data);
        let wanted = match (&kept, &memory.last) {
            // Somebody took the Secret away, to have another authority. What is shown still has the old one's name.
            (None, Some(last)) => Some(certificate::rolled(last, now)?),
            _ => self.next(kept.as_ref(), memory, now).await?,
        };
        if let Some(wanted) = &wanted {
            self.write(secret.as_ref(), wanted).await?;
            tracing::info!(secret = self.secret, "the webhook's certificate or its authority is new");
        }
        let Some(kept) = wanted.or(kept) else { return Ok(()) };
        let bundle = bundle::show(&self.client, &self.configuration, &kept.authorities_pem).await;
        memory.last = Some(kept);
        memory.heard(bundle?);
        Ok(())
    }

    /// What is to be kept from now on. A new authority signs when all know it who are shown what it signs.
    async fn next(&self, kept: Option<&Kept>, memory: &Memory, now: SystemTime) -> Result<Option<Kept>, KeepError> {
        let next = certificate::next(kept, &self.names, Trusted::NotYet, now)?;
        let (Some(kept), None) = (kept, &next) else { return Ok(next) };
        let Some(since) = memory.known_since(kept) else { return Ok(None) };
        let signed = certificate::next(Some(kept), &self.names, Trusted::Yes, now)?;
        let is_known = match (&signed, &self.known_in) {
            (Some(_), Some(scopes)) if since < LATEST => {
                // Not known is not yet: the rest of the step, the bundle above all, does not wait for one bad node.
                let followed = followed::everywhere(&self.client, scopes, &kept.authorities_pem).await;
                followed.unwrap_or_else(|error| {
                    tracing::warn!(%error, "it is not known whether all nodes know the new authority; asking again");
                    false
                })
            }
            _ => true,
        };
        Ok(signed.filter(|_| is_known))
    }

    /// Writes over what was read and nothing newer.
    async fn write(&self, there: Option<&Secret>, wanted: &Kept) -> Result<(), kube::Error> {
        let api = self.secrets();
        let data: BTreeMap<String, ByteString> =
            wanted.data().into_iter().map(|(key, value)| (key, ByteString(value))).collect();
        match there {
            None => {
                let metadata = ObjectMeta { name: Some(self.secret.clone()), ..ObjectMeta::default() };
                let params = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
                api.create(&params, &Secret { metadata, data: Some(data), ..Secret::default() }).await?;
            }
            Some(there) => {
                let patch = json!({"metadata": {"resourceVersion": there.resource_version()}, "data": data});
                let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
                api.patch(&self.secret, &params, &Patch::Merge(patch)).await?;
            }
        }
        Ok(())
    }

    async fn read(&self) -> Result<Option<Secret>, kube::Error> {
        self.secrets().get_opt(&self.secret).await
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn changes(&self) -> impl Stream<Item = ()> + use<> {
        changes(Api::<PartialObjectMeta<Secret>>::namespaced(self.client.clone(), &self.namespace), &self.secret)
    }
}

impl Memory {
    /// For how long API servers have known these authorities, if for long enough.
    fn known_since(&self, kept: &Kept) -> Option<Duration> {
        let (_, since) = self.trusted.as_ref().filter(|(authorities, _)| *authorities == kept.authorities_pem)?;
        Some(since.elapsed()).filter(|since| *since >= SPREAD)
    }

    fn heard(&mut self, bundle: Bundle) {
        let Some(authorities) = self.last.as_ref().map(|kept| kept.authorities_pem.clone()) else { return };
        let is_known = self.trusted.as_ref().is_some_and(|(known, _)| *known == authorities);
        if bundle == Bundle::Written || !is_known {
            self.trusted = Some((authorities, Instant::now()));
        }
    }
}

/// In seconds since 1970.
fn end_of(chain_pem: &str) -> i64 {
    let end = CertificateInfo::from_pem(chain_pem).ok().and_then(|info| info.not_after.duration_since(UNIX_EPOCH).ok());
    end.and_then(|end| end.as_secs().try_into().ok()).unwrap_or_default()
}

fn content(secret: &Secret) -> BTreeMap<String, Vec<u8>> {
    secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect()
}

/// Changes of one object, and each new list of it.
fn changes<K>(api: Api<PartialObjectMeta<K>>, name: &str) -> impl Stream<Item = ()> + use<K>
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + 'static,
    PartialObjectMeta<K>: serde::de::DeserializeOwned,
{
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let events = watcher(api, config).default_backoff();
    events.filter_map(async |event| match event {
        Ok(watcher::Event::Apply(_) | watcher::Event::Delete(_) | watcher::Event::InitDone) => Some(()),
        Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => None,
        Err(error) => {
            tracing::debug!(%error, "a watch of the webhook's certificate");
            None
        }
    })
}

fn ticks() -> impl Stream<Item = ()> {
    let mut ticks = interval(POLL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    stream::unfold(ticks, async |mut ticks| {
        ticks.tick().await;
        Some(((), ticks))
    })
}

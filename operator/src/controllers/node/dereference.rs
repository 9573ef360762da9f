//! Step one: everything that decides about a node, from the stores and from the API server. Nothing later may fetch.

use std::{collections::BTreeMap, sync::Arc};

use crds::{
    MeshNode, is_room_key,
    snapshot::{CA_CRT, MEMBER_CRT, MEMBER_KEY, TLS_CRT, TLS_KEY},
};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, ResourceExt};
use mesh_pki::{Pair, PrivateKeyPem};

use super::{
    Step, World, kept_rooms_name, member_root_name,
    objects::{RETIRED_CRT, ROLLED},
    owner, root_name,
    seen::Seen,
    unfetched,
};
use crate::{
    cluster::{
        follow::{Kind, Target},
        objects::Ours,
    },
    controllers::{watch, world::Ref},
    node::{
        Found, FoundGateway, FoundIssuer, FoundRooms, Issued, Keys,
        names::{issued_name, leaf_name, member_name, public_root_name},
        references,
    },
};

/// Objects fetched at a time.
const FETCHES: usize = 16;

/// The Secrets that we write as they were read, by name: what is decided now holds for these and no others.
#[derive(Debug, Default)]
pub(super) struct Read(BTreeMap<String, Secret>);

impl Read {
    /// A Secret as it was read; `None` where there was none.
    pub(super) fn secret(&self, name: &str) -> Option<&Secret> {
        self.0.get(name)
    }

    async fn get(&mut self, api: &Api<Secret>, name: &str) -> Result<Option<Secret>, kube::Error> {
        let secret = api.get_opt(name).await?;
        self.0.extend(secret.clone().map(|secret| (name.to_owned(), secret)));
        Ok(secret)
    }
}

/// Fetches everything, and follows it from now on. `seen` has the Service's addresses.
pub(super) async fn all(
    world: &World,
    node: &Arc<MeshNode>,
    seen: &Seen,
    issuer: Option<FoundIssuer>,
) -> Step<(Found, Read)> {
    let (namespace, name) = (node.namespace().unwrap_or_default(), node.name_any());
    let routes = watch::select(&world.routes.store, &namespace, |r| r.spec.node_ref.name == name);
    let registrations = watch::select(&world.registrations.store, &namespace, |r| r.spec.node_ref.name == name);
    let wanted = references(node, routes.iter().map(|route| &route.spec));
    let target = |kind, name: &String| Target { kind, namespace: namespace.clone(), name: name.clone() };
    let mut targets: Vec<Target> = wanted.secrets.iter().map(|name| target(Kind::Secret, name)).collect();
    targets.extend(wanted.config_maps.iter().map(|name| target(Kind::ConfigMap, name)));
    // Our own pairs too: an edit by hand is taken back.
    targets.push(target(Kind::Secret, &leaf_name(&name)));
    targets.extend(node.spec.gateway.enabled.then(|| target(Kind::Secret, &member_name(&name))));
    targets.extend(node.spec.certificates.issuer_ref.as_ref().map(|_| target(Kind::Secret, &issued_name(&name))));
    world.follower.want(&Ref::new(&name).within(&namespace), &targets);

    let secrets: Api<Secret> = Api::namespaced(world.client.clone(), &namespace);
    let config_maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), &namespace);
    let roots: Api<Secret> = Api::namespaced(world.client.clone(), &world.operator.namespace);
    let mut read = Read::default();
    let found = async {
        let root = read.get(&roots, &root_name(node)).await?.and_then(root);
        let given = read.get(&secrets, &leaf_name(&name)).await?;
        let kept = match node.spec.tunnel.is_some() || node.spec.directory.is_some() {
            true => read.get(&roots, &kept_rooms_name(node)).await?,
            false => None,
        };
        // A Secret of somebody else's is no copy of ours.
        let copy = given.clone().filter(|secret| Ours::Owner(owner(node)).is(secret));
        let told = world.sidecars.running(&namespace, &name).into_iter().filter(|pod| pod.is_gateway);
        let told = told.filter_map(|pod| pod.report?.directory).next();
        let rooms = FoundRooms { kept: room_keys(kept), given: room_keys(copy), told };
        let leaf = given.and_then(|secret| pair(secret, TLS_CRT, TLS_KEY));
        let gateway = match node.spec.gateway.enabled {
            true => Some(FoundGateway {
                static_ips: seen.service_ips.clone(),
                member_root: read.get(&roots, &member_root_name(node)).await?.and_then(|s| pair(s, TLS_CRT, TLS_KEY)),
                member: read.get(&secrets, &member_name(&name)).await?.and_then(|s| pair(s, MEMBER_CRT, MEMBER_KEY)),
            }),
            false => None,
        };
        Ok::<_, kube::Error>(Found {
            secrets: fetch(&secrets, wanted.secrets, |s: Secret| Keys(content(s))).await?,
            config_maps: fetch(&config_maps, wanted.config_maps, |m: ConfigMap| m.data.unwrap_or_default()).await?,
            published_pem: if root.is_some() { String::new() } else { published(node, &config_maps).await? },
            root,
            issuer,
            leaf,
            rooms,
            gateway,
            intake: world.operator.intake.borrow().clone(),
            node: Arc::clone(node),
            routes,
            registrations,
        })
    };
    let found = found.await;
    let found = found.map_err(|error| unfetched("what the node refers to cannot be fetched", &error))?;
    Ok((found, read))
}

/// What partners were given last: in the status, which a restored node has lost, or in the ConfigMap beside it.
async fn published(node: &MeshNode, config_maps: &Api<ConfigMap>) -> Result<String, kube::Error> {
    let told = node.status.iter().flat_map(|status| &status.root_certificates).map(|root| root.pem.as_str());
    let told: String = told.collect();
    if !told.is_empty() {
        return Ok(told);
    }
    let public = config_maps.get_opt(&public_root_name(&node.name_any())).await?;
    Ok(public.and_then(|map| map.data?.remove(CA_CRT)).unwrap_or_default())
}

/// Those of `names` that exist.
async fn fetch<K, T>(
    api: &Api<K>,
    names: impl IntoIterator<Item = String>,
    content: impl Fn(K) -> T + Copy,
) -> Result<BTreeMap<String, T>, kube::Error>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    stream::iter(names)
        .map(|name| async move { Ok(api.get_opt(&name).await?.map(|object| (name, content(object)))) })
        .buffer_unordered(FETCHES)
        .try_filter_map(|found| async { Ok(found) })
        .try_collect()
        .await
}

fn content(secret: Secret) -> BTreeMap<String, Vec<u8>> {
    secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect()
}

/// The issued root. One that lost a half is still one: validation refuses it, where a new root in its place would cut off
/// every partner that trusts the old one. An empty Secret is a place that was taken for one (`cluster/secrets.rs`).
fn root(secret: Secret) -> Option<Issued> {
    let keys = Keys(content(secret));
    if keys.0.is_empty() {
        return None;
    }
    let text = |key| keys.text(key).unwrap_or_default().to_owned();
    let pair = Pair { chain_pem: text(TLS_CRT), key: PrivateKeyPem::new(text(TLS_KEY)) };
    Some(Issued { pair, retired_pem: text(RETIRED_CRT), rolled: text(ROLLED) })
}

/// The keys of the rooms in a Secret, by their names there.
fn room_keys(secret: Option<Secret>) -> Keys {
    let content = secret.map(content).unwrap_or_default();
    Keys(content.into_iter().filter(|(file, _)| is_room_key(file)).collect())
}

/// A certificate and its key; `None` where one is missing or no text.
fn pair(secret: Secret, crt: &str, key: &str) -> Option<Pair> {
    let keys = Keys(content(secret));
    let (chain, key) = (keys.text(crt)?, keys.text(key)?);
    Some(Pair { chain_pem: chain.to_owned(), key: PrivateKeyPem::new(key.to_owned()) })
}

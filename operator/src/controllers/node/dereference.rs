//! Step one: everything that decides about a node, from the stores and from the API server. Nothing later may fetch.

use std::{collections::BTreeMap, sync::Arc};

use crds::{
    MeshNode,
    snapshot::{MEMBER_CRT, MEMBER_KEY, TLS_CRT, TLS_KEY},
};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, ResourceExt};
use mesh_pki::{Pair, PrivateKeyPem};

use super::{
    Step, World, member_root_name,
    objects::{RETIRED_CRT, ROLLED},
    root_name,
    seen::Seen,
};
use crate::{
    cluster::follow::{Kind, Target},
    controllers::{watch, world::Ref},
    node::{
        Found, FoundGateway, FoundIssuer, Issued, Keys,
        names::{issued_name, leaf_name, member_name},
        references,
    },
};

/// Objects fetched at a time.
const FETCHES: usize = 16;

/// Fetches everything, and follows it from now on. `seen` has the Service's addresses.
pub(super) async fn all(world: &World, node: &Arc<MeshNode>, seen: &Seen, issuer: Option<FoundIssuer>) -> Step<Found> {
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
    let found = async {
        Ok::<_, kube::Error>(Found {
            secrets: fetch(&secrets, wanted.secrets, |s: Secret| Keys(content(s))).await?,
            config_maps: fetch(&config_maps, wanted.config_maps, |m: ConfigMap| m.data.unwrap_or_default()).await?,
            root: roots.get_opt(&root_name(node)).await?.map(root),
            issuer,
            leaf: secrets.get_opt(&leaf_name(&name)).await?.and_then(|s| pair(s, TLS_CRT, TLS_KEY)),
            gateway: match node.spec.gateway.enabled {
                true => Some(FoundGateway {
                    static_ips: seen.service_ips.clone(),
                    member_root: roots.get_opt(&member_root_name(node)).await?.and_then(|s| pair(s, TLS_CRT, TLS_KEY)),
                    member: secrets.get_opt(&member_name(&name)).await?.and_then(|s| pair(s, MEMBER_CRT, MEMBER_KEY)),
                }),
                false => None,
            },
            intake: world.operator.intake.borrow().clone(),
            node: Arc::clone(node),
            routes,
            registrations,
        })
    };
    found.await.map_err(|error| ("FetchFailed", format!("what the node refers to cannot be fetched: {error}")))
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
/// every partner that trusts the old one.
fn root(secret: Secret) -> Issued {
    let keys = Keys(content(secret));
    let text = |key| keys.text(key).unwrap_or_default().to_owned();
    let pair = Pair { chain_pem: text(TLS_CRT), key: PrivateKeyPem::new(text(TLS_KEY)) };
    Issued { pair, retired_pem: text(RETIRED_CRT), rolled: text(ROLLED) }
}

/// A certificate and its key; `None` where one is missing or no text.
fn pair(secret: Secret, crt: &str, key: &str) -> Option<Pair> {
    let keys = Keys(content(secret));
    let (chain, key) = (keys.text(crt)?, keys.text(key)?);
    Some(Pair { chain_pem: chain.to_owned(), key: PrivateKeyPem::new(key.to_owned()) })
}

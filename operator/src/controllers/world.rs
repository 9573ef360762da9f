//! What the controllers of one scope share: stores, pokes, verdicts.
//!
//! A poke is "look at this again"; it goes to a controller's queue, which drops doubles. Who changes something pokes those
//! who depend on it, after the stores know.

use std::sync::Arc;

use crds::{MeshNode, MeshRoute, ServiceRegistration};
use futures::{StreamExt, future::join4, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::{
    Client, ResourceExt,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        controller::{Action, Config, applier},
        events::{Recorder, Reporter},
        reflector::{self, ObjectRef, Store, store::Writer},
        watcher,
    },
};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::{
    backoff::Backoff,
    node, registration, route,
    verdicts::Verdicts,
    watch::{self, Change, Guarded, Watched},
};
use crate::{
    admin::Readiness,
    cluster::follow::Follower,
    metrics::{FailureLabel, KindLabel, Metrics},
};

/// Reconciles of one kind at a time. They wait for the API server most of the time; more would only be throttled there.
const CONCURRENCY: u16 = 16;

/// A reference to a watched object.
pub(crate) type Ref<K> = ObjectRef<Guarded<K>>;

/// One kind: what is known of it, and its queue.
pub(crate) struct Kind<K: Watched> {
    pub(crate) store: Store<Guarded<K>>,
    pokes: mpsc::UnboundedSender<Ref<K>>,
    pub(crate) backoff: Backoff<Ref<K>>,
}

/// The reference to a readable object.
pub(crate) fn subject<K: Watched>(object: &K) -> Ref<K> {
    ObjectRef::new(&object.name_any()).within(&object.namespace().unwrap_or_default())
}

type Start<K> = (Writer<Guarded<K>>, mpsc::UnboundedReceiver<Ref<K>>);

impl<K: Watched> Kind<K> {
    fn new() -> (Self, Start<K>) {
        let (store, writer) = reflector::store();
        let (pokes, queue) = mpsc::unbounded_channel();
        (Self { store, pokes, backoff: Backoff::new() }, (writer, queue))
    }

    /// Looks at an object again, soon.
    pub(crate) fn poke(&self, namespace: &str, name: &str) {
        // Nobody listens any more when the process ends.
        let _ = self.pokes.send(ObjectRef::new(name).within(namespace));
    }
}

impl<K: Watched> Kind<K> {
    /// The end of a reconcile that only writes a status: done, or tried again later.
    pub(crate) fn settle(&self, object: &K, written: Result<(), kube::Error>) -> Result<Action, Failure> {
        let who = subject(object);
        match written {
            Ok(()) => {
                self.backoff.worked(&who);
                Ok(Action::await_change())
            }
            Err(error) => {
                Err(Failure { reason: "StatusNotWritten", message: error.to_string(), again: self.backoff.failed(who) })
            }
        }
    }
}

/// What the controllers of one scope share.
pub(crate) struct World {
    pub(crate) client: Client,
    /// Where issued roots live.
    pub(crate) own_namespace: String,
    pub(crate) nodes: Kind<MeshNode>,
    pub(crate) routes: Kind<MeshRoute>,
    pub(crate) registrations: Kind<ServiceRegistration>,
    /// What the last passes over nodes said about routes.
    pub(crate) route_verdicts: Verdicts,
    /// The same about registrations.
    pub(crate) registration_verdicts: Verdicts,
    /// Watches of the objects that nodes and routes refer to, on behalf of the node.
    pub(crate) follower: Follower<Guarded<MeshNode>>,
    pub(crate) recorder: Recorder,
    pub(crate) metrics: Metrics,
    /// Which node a route or registration was last seen to belong to: the old one must hear when it moves.
    attached: Mutex<std::collections::HashMap<(&'static str, String, String), String>>,
}

impl World {
    /// Runs the watches and controllers of one scope. Answers the name of the part that ended.
    pub(crate) async fn run(
        client: Client,
        own_namespace: String,
        scope: Option<&str>,
        readiness: &Readiness,
        metrics: Metrics,
    ) -> &'static str {
        let (nodes, (node_writer, node_queue)) = Kind::new();
        let (routes, (route_writer, route_queue)) = Kind::new();
        let (registrations, (registration_writer, registration_queue)) = Kind::new();
        let (follower, followed) = Follower::new(client.clone());
        let reporter = Reporter { controller: "interconn-operator".into(), instance: None };
        let world = Arc::new(Self {
            recorder: Recorder::new(client.clone(), reporter),
            client: client.clone(),
            own_namespace,
            nodes,
            routes,
            registrations,
            route_verdicts: Verdicts::default(),
            registration_verdicts: Verdicts::default(),
            follower,
            metrics,
            attached: Mutex::default(),
        });
        let pending = |kind: &str| readiness.pending(&format!("{kind} {}", scope.unwrap_or("of all namespaces")));
        let watches = join4(
            watch::keep(watch::api(&client, scope), node_writer, pending("meshnodes"), |c| world.node_changed(&c)),
            watch::keep(watch::api(&client, scope), route_writer, pending("meshroutes"), |c| {
                world.attached_changed("MeshRoute", &c, &world.routes, |r: &MeshRoute| &r.spec.node_ref.name);
            }),
            watch::keep(watch::api(&client, scope), registration_writer, pending("serviceregistrations"), |c| {
                world.attached_changed("ServiceRegistration", &c, &world.registrations, |r: &ServiceRegistration| {
                    &r.spec.node_ref.name
                });
            }),
            world.objects_changed(&client, scope),
        );
        tokio::select! {
            _ = watches => "the objects",
            () = world.drive(node_queue, Some(followed), &world.nodes, node::reconcile) => "MeshNode",
            () = world.drive(route_queue, None, &world.routes, route::reconcile) => "MeshRoute",
            () = world.drive(registration_queue, None, &world.registrations, registration::reconcile) => "ServiceRegistration",
        }
    }

    /// Works a kind's queue off. The stores are complete first: a node judged without its routes would lose them.
    async fn drive<K, F, Fut>(
        self: &Arc<Self>,
        queue: mpsc::UnboundedReceiver<Ref<K>>,
        followed: Option<mpsc::UnboundedReceiver<Ref<K>>>,
        kind: &Kind<K>,
        reconcile: F,
    ) where
        K: Watched,
        F: Fn(Arc<Self>, Arc<K>) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = Result<Action, Failure>> + Send + 'static,
    {
        let complete = self.nodes.store.wait_until_ready().await.is_ok()
            && self.routes.store.wait_until_ready().await.is_ok()
            && self.registrations.store.wait_until_ready().await.is_ok();
        if !complete {
            return;
        }
        let queue =
            stream::select(receive(queue), followed.map_or_else(|| stream::empty().boxed(), |f| receive(f).boxed()))
                .map(Ok::<_, std::convert::Infallible>);
        let name = kind_name::<K>();
        let one = move |object: Arc<Guarded<K>>, world: Arc<Self>| {
            let reconcile = reconcile.clone();
            Box::pin(async move {
                let Ok(readable) = &object.0 else {
                    tracing::warn!(kind = name, object = object.name_any(), "cannot be read and is left alone");
                    return Ok(Action::await_change());
                };
                let label = KindLabel { kind: name };
                world.metrics.reconciles.get_or_create(&label).inc();
                let begun = std::time::Instant::now();
                let done = reconcile(Arc::clone(&world), Arc::new(readable.clone())).await;
                world.metrics.seconds.observe(begun.elapsed().as_secs_f64());
                done
            })
        };
        let failed = move |object: Arc<Guarded<K>>, failure: &Failure, world: Arc<Self>| {
            let label = FailureLabel { kind: name, reason: failure.reason.into() };
            world.metrics.failures.get_or_create(&label).inc();
            tracing::warn!(kind = name, object = object.name_any(), reason = failure.reason, "{}", failure.message);
            Action::requeue(failure.again)
        };
        let config = Config::default().concurrency(CONCURRENCY);
        applier(one, failed, Arc::clone(self), kind.store.clone(), queue, config).for_each(|_| async {}).await;
    }

    fn node_changed(&self, change: &Change<'_, Guarded<MeshNode>>) {
        let (Change::Here(node) | Change::Gone(node)) = change;
        let (namespace, name) = (node.namespace().unwrap_or_default(), node.name_any());
        if let Change::Gone(_) = change {
            self.route_verdicts.forget(&namespace, &name);
            self.registration_verdicts.forget(&namespace, &name);
            self.follower.want(&ObjectRef::new(&name).within(&namespace), &[]);
            for route in watch::select(&self.routes.store, &namespace, |r| r.spec.node_ref.name == name) {
                self.routes.poke(&namespace, &route.name_any());
            }
            for registration in watch::select(&self.registrations.store, &namespace, |r| r.spec.node_ref.name == name) {
                self.registrations.poke(&namespace, &registration.name_any());
            }
        }
        self.nodes.poke(&namespace, &name);
    }

    /// A route or registration changed: its node, the node that it left, and it itself are looked at.
    fn attached_changed<K: Watched>(
        &self,
        label: &'static str,
        change: &Change<'_, Guarded<K>>,
        kind: &Kind<K>,
        node_of: impl Fn(&K) -> &String,
    ) {
        let (Change::Here(object) | Change::Gone(object)) = change;
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let key = (label, namespace.clone(), name.clone());
        let now = object.0.as_ref().ok().map(|k| node_of(k).clone());
        let mut attached = self.attached.lock();
        let before = match (change, &now) {
            (Change::Here(_), Some(node)) => attached.insert(key, node.clone()),
            _ => attached.remove(&key),
        };
        drop(attached);
        if let Some(left) = before.filter(|left| Some(left) != now.as_ref()) {
            self.nodes.poke(&namespace, &left);
        }
        if let Some(node) = now {
            self.nodes.poke(&namespace, &node);
        }
        kind.poke(&namespace, &name);
    }

    /// ConfigMaps and Services of ours: an edit by hand is taken back. Secrets are followed one by one.
    async fn objects_changed(&self, client: &Client, scope: Option<&str>) {
        let config = watcher::Config::default().labels(crds::NODE_LABEL);
        let maps = watcher(watch::api::<PartialObjectMeta<ConfigMap>>(client, scope), config.clone());
        let services = watcher(watch::api::<PartialObjectMeta<Service>>(client, scope), config);
        let owners = stream::select(
            maps.default_backoff().touched_objects().filter_map(|o| async { o.ok().and_then(|o| owner(&o)) }).boxed(),
            services
                .default_backoff()
                .touched_objects()
                .filter_map(|o| async { o.ok().and_then(|o| owner(&o)) })
                .boxed(),
        );
        owners.for_each(|(namespace, name)| async move { self.nodes.poke(&namespace, &name) }).await;
    }
}

/// Why a reconcile is to be tried again.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    /// The word that conditions, Events and metrics carry.
    pub(crate) reason: &'static str,
    /// What happened and what to do.
    pub(crate) message: String,
    /// When to try again.
    pub(crate) again: std::time::Duration,
}

fn receive<T: Send + 'static>(mut queue: mpsc::UnboundedReceiver<T>) -> impl futures::Stream<Item = T> + Send {
    stream::poll_fn(move |cx| queue.poll_recv(cx))
}

fn owner(object: &impl ResourceExt) -> Option<(String, String)> {
    let owner = object.owner_references().iter().find(|o| o.kind == "MeshNode")?;
    Some((object.namespace()?, owner.name.clone()))
}

fn kind_name<K: Watched>() -> &'static str {
    // The three kinds are known by name; leaking one short text per kind would do the same less plainly.
    match K::kind(&()).as_ref() {
        "MeshNode" => "MeshNode",
        "MeshRoute" => "MeshRoute",
        _ => "ServiceRegistration",
    }
}

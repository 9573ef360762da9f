//! What the controllers of one scope share: stores, pokes, verdicts.
//!
//! A poke is "look at this again"; it goes to a controller's queue, which drops doubles. Who changes something pokes those
//! who depend on it, after the stores know.

use std::sync::Arc;

use crds::{MeshNode, MeshRoute, ServiceRegistration};
use futures::{
    StreamExt,
    future::{BoxFuture, join, join_all, join5},
    stream,
};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, Pod, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Client, ResourceExt,
    core::{DynamicObject, PartialObjectMeta},
    runtime::{
        controller::{self, Action, Config, applier},
        events::{Recorder, Reporter},
        reflector::{self, ObjectRef, Store, store::Writer},
        watcher,
    },
};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use super::{
    attached::Attached,
    backoff::Backoff,
    failure::{Failure, LONGEST},
    node,
    nudges::Nudges,
    registration,
    report::StatusError,
    route,
    shapes::Shapes,
    sidecars::Sidecars,
    traced,
    verdicts::Verdicts,
    versions::Versions,
    waiting::Waiting,
    watch::{self, Change, Guarded, Shown, Watched},
    written::Written,
};
use crate::{
    admin::Readiness,
    cluster::follow::Follower,
    intake::Placed,
    metrics::{KindLabel, Metrics},
    node::pod::{GatewayDefaults, Image, ROLE_LABEL, Role},
};

/// Reconciles of one kind at a time. They wait for the API server most of the time; more would only be throttled there.
const CONCURRENCY: u16 = 16;

/// A reference to a watched object.
pub(crate) type Ref<K> = ObjectRef<Guarded<K>>;

/// One kind: what is known of it, and its queue.
pub(crate) struct Kind<K: Watched> {
    pub(crate) store: Store<Guarded<K>>,
    pokes: mpsc::UnboundedSender<Ref<K>>,
    waiting: Arc<Waiting<Ref<K>>>,
    pub(crate) backoff: Backoff<Ref<K>>,
}

/// The reference to a readable object.
pub(crate) fn subject<K: Watched>(object: &K) -> Ref<K> {
    reference(&object.namespace().unwrap_or_default(), &object.name_any())
}

fn reference<K: Watched>(namespace: &str, name: &str) -> Ref<K> {
    ObjectRef::new(name).within(namespace)
}

type Start<K> = (Writer<Guarded<K>>, mpsc::UnboundedReceiver<Ref<K>>);

impl<K: Watched> Kind<K> {
    fn new(metrics: &Metrics) -> (Self, Start<K>) {
        let (store, writer) = reflector::store();
        let (pokes, queue) = mpsc::unbounded_channel();
        let depth = metrics.queue.get_or_create(&KindLabel { kind: kind_name::<K>() }).clone();
        (Self { store, pokes, waiting: Arc::new(Waiting::new(depth)), backoff: Backoff::new() }, (writer, queue))
    }

    /// Looks at an object again, soon.
    pub(crate) fn poke(&self, namespace: &str, name: &str) {
        let who = reference(namespace, name);
        self.waiting.add(who.clone());
        // Nobody listens any more when the process ends.
        let _ = self.pokes.send(who);
    }

    /// Whether there is such an object, readable or not.
    fn knows(&self, namespace: &str, name: &str) -> bool {
        self.store.get(&reference(namespace, name)).is_some()
    }
}

impl<K: Watched> Kind<K> {
    /// The end of a reconcile that only writes a status: done, or tried again later.
    pub(crate) fn settle(&self, object: &K, written: Result<(), StatusError>) -> Result<Action, Failure> {
        let who = subject(object);
        match written {
            Ok(()) => {
                self.backoff.worked(&who);
                Ok(Action::await_change())
            }
            Err(error) => {
                Err(Failure { reason: error.reason(), message: error.to_string(), again: self.backoff.failed(who) })
            }
        }
    }
}

/// What the operator is itself.
pub(crate) struct Operator {
    /// Where issued roots live.
    pub(crate) namespace: String,
    /// What its leader holds.
    pub(crate) lease: String,
    /// What gateways run.
    pub(crate) image: Image,
    /// What their pods are like where their nodes do not say.
    pub(crate) gateways: GatewayDefaults,
    /// Where pods find the intake.
    pub(crate) intake: Placed,
    /// What is watched: all namespaces, or each of those named.
    pub(crate) scopes: Vec<Option<String>>,
    /// Which gateway restarts now, in all scopes.
    pub(crate) turns: Arc<node::Turns>,
    /// `None`: nobody wants to know.
    pub(crate) traces: Option<Arc<traces::Traces>>,
}

/// What the controllers of one scope share.
pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) operator: Operator,
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
    /// Those of all nodes.
    pub(crate) sidecars: Sidecars,
    /// What pods are told of.
    pub(crate) nudges: Nudges,
    /// How the objects of each node were left.
    pub(crate) left: node::Left,
    /// In which versions they are.
    pub(crate) versions: Versions,
    /// Since when each node has had its configuration.
    pub(crate) written: Written,
    pub(crate) refusals: node::Refusals,
    pub(crate) gateway_api: node::GatewayApi,
    attached: Attached,
    shapes: Shapes,
}

impl World {
    /// Runs the watches and controllers of one scope. Answers the name of the part that ended.
    pub(crate) async fn run(
        client: Client,
        operator: Operator,
        scope: Option<&str>,
        readiness: &Readiness,
        metrics: Metrics,
    ) -> &'static str {
        let (nodes, (node_writer, node_queue)) = Kind::new(&metrics);
        let (routes, (route_writer, route_queue)) = Kind::new(&metrics);
        let (registrations, (registration_writer, registration_queue)) = Kind::new(&metrics);
        let (follower, followed) = Follower::new(client.clone());
        let (nudges, nudge_queue) = Nudges::new();
        let reporter = Reporter { controller: "interconn-operator".into(), instance: None };
        let world = Arc::new(Self {
            recorder: Recorder::new(client.clone(), reporter),
            client: client.clone(),
            operator,
            nodes,
            routes,
            registrations,
            route_verdicts: Verdicts::default(),
            registration_verdicts: Verdicts::default(),
            follower,
            metrics,
            sidecars: Sidecars::default(),
            nudges,
            left: node::Left::default(),
            versions: Versions::default(),
            written: Written::default(),
            refusals: node::Refusals::default(),
            gateway_api: node::GatewayApi::default(),
            attached: Attached::default(),
            shapes: Shapes::default(),
        });
        let shown = |kind: &'static str| Shown {
            kind,
            listed: readiness.pending(&format!("{kind} {}", scope.unwrap_or("of all namespaces"))),
            metrics: world.metrics.clone(),
        };
        let watches = join5(
            watch::keep(watch::api(&client, scope), node_writer, shown("MeshNode"), |c| world.node_changed(&c)),
            watch::keep(watch::api(&client, scope), route_writer, shown("MeshRoute"), |c| {
                world.attached_changed(&c, &world.routes, |r: &MeshRoute| &r.spec.node_ref.name);
            }),
            watch::keep(watch::api(&client, scope), registration_writer, shown("ServiceRegistration"), |c| {
                world.attached_changed(&c, &world.registrations, |r: &ServiceRegistration| &r.spec.node_ref.name);
            }),
            join(world.watch_written(scope, shown), world.watch_tls_routes(scope, shown("TLSRoute"))),
            world.watch_pods(scope, shown),
        );
        tokio::select! {
            _ = watches => "the objects",
            () = world.follow_intake() => "the intake's place",
            () = world.follow_turns() => "the gateways' turns",
            () = world.nudge(nudge_queue) => "the nudges",
            () = world.drive(node_queue, Some(followed), &world.nodes, node::reconcile) => "MeshNode",
            () = world.drive(route_queue, None, &world.routes, route::reconcile) => "MeshRoute",
            () = world.drive(registration_queue, None, &world.registrations, registration::reconcile) => "ServiceRegistration",
        }
    }

    /// What we write: an edit by hand is taken back. Secrets are followed one by one, so that no list of them is asked for.
    async fn watch_written(&self, scope: Option<&str>, shown: impl Fn(&'static str) -> Shown) {
        // Roles of a version before do not name them: nobody waits for their list.
        let budgets = shown("PodDisruptionBudget");
        budgets.listed.done();
        join_all([
            self.watch_one::<ConfigMap>(scope, shown("ConfigMap")),
            self.watch_one::<Service>(scope, shown("Service")),
            self.watch_one::<ServiceAccount>(scope, shown("ServiceAccount")),
            self.watch_one::<StatefulSet>(scope, shown("StatefulSet")),
            self.watch_one::<NetworkPolicy>(scope, shown("NetworkPolicy")),
            self.watch_one::<PodDisruptionBudget>(scope, budgets),
        ])
        .await;
    }

    /// TLSRoutes of ours, where the cluster has that API: nobody waits for a list of what may not be there.
    fn watch_tls_routes<'w>(&'w self, scope: Option<&'w str>, shown: Shown) -> BoxFuture<'w, ()> {
        shown.listed.done();
        Box::pin(async move {
            loop {
                let Ok(Some(version)) = self.gateway_api.version(&self.client).await else {
                    sleep(node::NO_API_FOR).await;
                    continue;
                };
                let kind = node::tls_route_kind(&version);
                let api: Api<DynamicObject> = match scope {
                    Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &kind),
                    None => Api::all_with(self.client.clone(), &kind),
                };
                let labelled = watcher::Config::default().labels(crds::NODE_LABEL);
                // Another version is found when the time is over.
                let heard =
                    Box::pin(watch::hear(api, labelled, &shown, |change| self.object_changed(shown.kind, &change)));
                let _ = timeout(node::API_FOR, heard).await;
            }
        })
    }

    /// In a box: five watches are large.
    fn watch_one<K>(&self, scope: Option<&str>, shown: Shown) -> BoxFuture<'_, ()>
    where
        PartialObjectMeta<K>: Watched,
    {
        let labelled = watcher::Config::default().labels(crds::NODE_LABEL);
        let api = watch::api::<PartialObjectMeta<K>>(&self.client, scope);
        Box::pin(async move {
            watch::hear(api, labelled, &shown, |change| self.object_changed(shown.kind, &change)).await;
        })
    }

    /// Where the intake is stands in every node's configuration.
    async fn follow_intake(&self) {
        let mut intake = self.operator.intake.clone();
        intake.mark_unchanged();
        while intake.changed().await.is_ok() {
            for node in self.nodes.store.state() {
                self.nodes.poke(&node.namespace().unwrap_or_default(), &node.name_any());
            }
        }
        // Nobody looks for it any more: the process ends, or there is none.
        std::future::pending::<()>().await;
    }

    /// The gateway before is ready.
    async fn follow_turns(&self) {
        let mut next = self.operator.turns.next();
        while next.changed().await.is_ok() {
            let named = next.borrow_and_update().clone();
            if let Some((namespace, name)) = named.filter(|(namespace, name)| self.nodes.knows(namespace, name)) {
                self.nodes.poke(&namespace, &name);
            }
        }
    }

    /// The pods of nodes.
    async fn watch_pods(&self, scope: Option<&str>, shown: impl Fn(&'static str) -> Shown) {
        let poke = |namespace: &str, node: &str| self.nodes.poke(namespace, node);
        self.sidecars.keep(watch::api(&self.client, scope), shown("Pod"), |pod| self.pod_changed(pod), poke).await;
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
        let followed = followed.map_or_else(|| stream::empty().boxed(), |f| receive(f).boxed());
        let followed = followed.inspect(|who| kind.waiting.add(who.clone()));
        let queue = stream::select(receive(queue), followed).map(Ok::<_, std::convert::Infallible>);
        let name = kind_name::<K>();
        let waiting = Arc::clone(&kind.waiting);
        let one = move |object: Arc<Guarded<K>>, world: Arc<Self>| {
            let reconcile = reconcile.clone();
            waiting.take(&reference(&object.namespace().unwrap_or_default(), &object.name_any()));
            Box::pin(async move {
                let Ok(readable) = &object.0 else {
                    tracing::warn!(kind = name, object = object.name_any(), "cannot be read and is left alone");
                    return Ok(Action::await_change());
                };
                world.metrics.reconciles.get_or_create(&KindLabel { kind: name }).inc();
                let begun = std::time::Instant::now();
                let done = timeout(LONGEST, reconcile(Arc::clone(&world), Arc::clone(readable)));
                let done = async { done.await.unwrap_or_else(|_| Err(Failure::silence())) };
                let done = traced::look(world.operator.traces.as_deref(), name, &*object, done).await;
                world.metrics.seconds.observe(begun.elapsed().as_secs_f64());
                done
            })
        };
        let failed = move |object: Arc<Guarded<K>>, failure: &Failure, world: Arc<Self>| {
            world.metrics.failed(name, failure.reason);
            tracing::warn!(kind = name, object = object.name_any(), reason = failure.reason, "{}", failure.message);
            Action::requeue(failure.again)
        };
        let config = Config::default().concurrency(CONCURRENCY);
        let done = applier(one, failed, Arc::clone(self), kind.store.clone(), queue, config);
        done.for_each(async |done| {
            // It went between the poke and its turn.
            if let Err(controller::Error::ObjectNotFound(gone)) = done {
                kind.waiting.take(&reference(gone.namespace.as_deref().unwrap_or_default(), &gone.name));
            }
        })
        .await;
    }

    fn node_changed(&self, change: &Change<'_, Guarded<MeshNode>>) {
        match change {
            Change::Begins => {}
            Change::Here(node) if !self.shapes.changed("MeshNode", *node) && !is_refused(node) => {}
            Change::Here(node) => self.nodes.poke(&node.namespace().unwrap_or_default(), &node.name_any()),
            Change::Gone(node) => {
                self.shapes.forget("MeshNode", *node);
                self.node_gone(&node.namespace().unwrap_or_default(), &node.name_any());
            }
            Change::Listed => {
                self.shapes.keep("MeshNode", |namespace, name| self.nodes.knows(namespace, name));
                let is_gone = |(namespace, name): &(String, String)| !self.nodes.knows(namespace, name);
                self.route_verdicts.nodes().iter().filter(|node| is_gone(node)).for_each(|(namespace, name)| {
                    self.node_gone(namespace, name);
                });
            }
        }
    }

    /// Nothing is followed for it any more, and those that belong to it say so.
    fn node_gone(&self, namespace: &str, name: &str) {
        self.route_verdicts.forget(namespace, name);
        self.written.forget(namespace, name);
        self.left.forget(namespace, name);
        self.nudges.forget(namespace, name);
        self.operator.turns.gone(namespace, name);
        self.metrics.nodes.forget(namespace, name);
        self.registration_verdicts.forget(namespace, name);
        self.follower.want(&reference(namespace, name), &[]);
        for route in watch::select(&self.routes.store, namespace, |r| r.spec.node_ref.name == name) {
            self.routes.poke(namespace, &route.name_any());
        }
        for registration in watch::select(&self.registrations.store, namespace, |r| r.spec.node_ref.name == name) {
            self.registrations.poke(namespace, &registration.name_any());
        }
    }

    /// A route or registration changed: its node, the node that it left, and it itself are looked at.
    fn attached_changed<K: Watched>(
        &self,
        change: &Change<'_, Guarded<K>>,
        kind: &Kind<K>,
        node_of: impl Fn(&K) -> &String,
    ) {
        let label = kind_name::<K>();
        let (object, node) = match change {
            Change::Here(object) => (object, object.0.as_ref().ok().map(|k| node_of(k).clone())),
            Change::Gone(object) => (object, None),
            Change::Begins => return,
            Change::Listed => {
                self.shapes.keep(label, |namespace, name| kind.knows(namespace, name));
                let lost = self.attached.lost(label, |namespace, name| kind.knows(namespace, name));
                return lost.iter().for_each(|(namespace, node)| self.nodes.poke(namespace, node));
            }
        };
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let is_here = matches!(change, Change::Here(_));
        let nodes = self.attached.seen(label, &namespace, &name, node);
        // A status is no news for its node, which had it written.
        let is_news = !is_here || self.shapes.changed(label, *object);
        for node in nodes.iter().filter(|_| is_news) {
            self.nodes.poke(&namespace, node);
        }
        if !is_here {
            self.shapes.forget(label, *object);
        }
        kind.poke(&namespace, &name);
    }

    /// A pod of a node changed or went. What is said of a node depends on its gateway's pods or, without one, on how many
    /// pods there are; those beside a gateway are not looked at.
    /// Of sidecars beside a gateway only the count matters (`sidecars.rs`).
    fn pod_changed(&self, pod: &Pod) {
        let (namespace, labels) = (pod.namespace().unwrap_or_default(), pod.labels());
        let Some(name) = labels.get(crds::NODE_LABEL) else { return };
        let is_gateways = labels.get(ROLE_LABEL).is_some_and(|role| role == Role::Gateway.label());
        let node = watch::get(&self.nodes.store, &namespace, name);
        if node.is_some_and(|node| is_gateways || !node.spec.gateway.enabled) {
            self.nodes.poke(&namespace, name);
        }
    }

    /// An object that we wrote changed or went.
    fn object_changed<K: ResourceExt>(&self, kind: &'static str, change: &Change<'_, K>) {
        self.versions.tell(kind, change);
        match change {
            Change::Begins => {}
            Change::Here(object) | Change::Gone(object) => {
                if let Some((namespace, name)) = owner(*object) {
                    self.nodes.poke(&namespace, &name);
                }
            }
            // Which of them went while nobody watched is not known; a look at a node that has them all writes nothing.
            Change::Listed => {
                for node in self.nodes.store.state() {
                    self.nodes.poke(&node.namespace().unwrap_or_default(), &node.name_any());
                }
            }
        }
    }
}

/// Whether another operator says that the node is not its own: whoever holds it takes that back.
fn is_refused(node: &Guarded<MeshNode>) -> bool {
    node.0.as_ref().is_ok_and(|node| node::is_refused(node))
}

fn receive<T: Send + 'static>(mut queue: mpsc::UnboundedReceiver<T>) -> impl futures::Stream<Item = T> + Send {
    stream::poll_fn(move |cx| queue.poll_recv(cx))
}

fn owner(object: &impl ResourceExt) -> Option<(String, String)> {
    let owner = object.owner_references().iter().find(|o| o.kind == "MeshNode")?;
    Some((object.namespace()?, owner.name.clone()))
}

/// The kind, as labels of metrics want it.
pub(crate) fn kind_name<K: Watched>() -> &'static str {
    // The three kinds are known by name; leaking one short text per kind would do the same less plainly.
    match K::kind(&()).as_ref() {
        "MeshNode" => "MeshNode",
        "MeshRoute" => "MeshRoute",
        _ => "ServiceRegistration",
    }
}

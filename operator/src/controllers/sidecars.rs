//! The pods of each node: how many sidecars there are, how many of them run on its configuration, and what pods report.
//!
//! A pod counts while it runs the container `mesh` and is not about to end. A sidecar is ready when its kubelet says so of that
//! container, and when it reports the node's configuration; where nothing can be reported, since the operator has no intake, its
//! kubelet's word is enough. [`Seen`] is the pure part.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use crds::{
    NODE_LABEL, SidecarCount,
    intake::{REPORT, Report},
};
use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::{Pod, PodSpec, PodStatus};
use kube::{
    Api, ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

use super::watch::{Shown, lighten};
use crate::{
    intake::checked,
    node::pod::{CONTAINER, ROLE_LABEL, Role},
};

/// A rollout changes many pods within a moment; a node that is told once after it writes one status.
const GATHER: Duration = Duration::from_millis(500);

type Name = (String, String);

/// Whether pods can report what they run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reports {
    /// The operator takes reports.
    Taken,
    /// It takes none.
    Untaken,
}

/// One pod of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    /// The pod's name.
    pub(crate) pod: String,
    /// Whether it is the gateway's.
    pub(crate) is_gateway: bool,
    /// Whether its kubelet calls the container ready.
    pub(crate) is_ready: bool,
    /// What it reported last.
    pub(crate) report: Option<Report>,
    /// What its container was told to be when the pod was made (`MESH_ROLE`).
    pub(crate) role: Option<String>,
}

/// One pod, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    node: String,
    running: Running,
}

/// All pods of nodes, by namespace and pod.
#[derive(Debug, Default)]
struct Seen(HashMap<Name, Member>);

impl Seen {
    /// Takes a pod in, or out where it counts no longer. Answers the nodes for which something changed.
    fn put(&mut self, pod: &Pod) -> Vec<Name> {
        let name = (pod.namespace().unwrap_or_default(), pod.name_any());
        let new = member(pod);
        let old = match &new {
            Some(new) => self.0.insert(name.clone(), new.clone()),
            None => self.0.remove(&name),
        };
        if old == new {
            return Vec::new();
        }
        let nodes: BTreeSet<String> = old.into_iter().chain(new).map(|member| member.node).collect();
        nodes.into_iter().map(|node| (name.0.clone(), node)).collect()
    }

    fn remove(&mut self, pod: &Pod) -> Vec<Name> {
        let name = (pod.namespace().unwrap_or_default(), pod.name_any());
        self.0.remove(&name).map(|member| (name.0, member.node)).into_iter().collect()
    }

    /// A full list: who is not in it is gone.
    fn replace(&mut self, pods: &[Pod]) -> Vec<Name> {
        let there: BTreeSet<Name> = pods.iter().map(|p| (p.namespace().unwrap_or_default(), p.name_any())).collect();
        let gone: Vec<Name> = self.0.keys().filter(|name| !there.contains(name)).cloned().collect();
        let gone = gone.into_iter().filter_map(|name| Some((name.0.clone(), self.0.remove(&name)?.node)));
        let mut changed: Vec<Name> = gone.collect();
        changed.extend(pods.iter().flat_map(|pod| self.put(pod)));
        changed
    }

    fn of_node(&self, namespace: &str, node: &str) -> impl Iterator<Item = &Running> {
        let of_node = self.0.iter().filter(move |(name, member)| name.0 == namespace && member.node == node);
        of_node.map(|(_, member)| &member.running)
    }

    fn count(&self, namespace: &str, node: &str, hash: Option<&str>, reports: Reports) -> SidecarCount {
        let sidecars = self.of_node(namespace, node).filter(|running| !running.is_gateway);
        sidecars.fold(SidecarCount::default(), |count, sidecar| {
            let runs_on_it = match &sidecar.report {
                Some(report) => Some(report.config_hash.as_str()) == hash,
                None => reports == Reports::Untaken,
            };
            SidecarCount { ready: count.ready + u32::from(sidecar.is_ready && runs_on_it), total: count.total + 1 }
        })
    }
}

fn member(pod: &Pod) -> Option<Member> {
    let node = pod.labels().get(NODE_LABEL)?;
    let is_gateway = pod.labels().get(ROLE_LABEL).is_some_and(|role| role == Role::Gateway.label());
    let spec = pod.spec.as_ref()?;
    let has_it = spec.init_containers.iter().flatten().chain(&spec.containers).any(|c| c.name == CONTAINER);
    let status = pod.status.as_ref();
    let has_ended =
        status.and_then(|s| s.phase.as_deref()).is_some_and(|phase| phase == "Succeeded" || phase == "Failed");
    (has_it && !has_ended && pod.metadata.deletion_timestamp.is_none()).then(|| {
        // What somebody wrote there by hand is no report, unless it could be one: a status that its schema refuses would never be
        // written again.
        let report = pod.annotations().get(REPORT).and_then(|text| checked(serde_json::from_str(text).ok()?).ok());
        let is_ready = status.is_some_and(is_ready);
        let running = Running { pod: pod.name_any(), is_gateway, is_ready, report, role: role(spec) };
        Member { node: node.clone(), running }
    })
}

fn role(spec: &PodSpec) -> Option<String> {
    let mut all = spec.init_containers.iter().flatten().chain(&spec.containers);
    let container = all.find(|container| container.name == CONTAINER)?;
    container.env.iter().flatten().find(|variable| variable.name == "MESH_ROLE")?.value.clone()
}

fn is_ready(status: &PodStatus) -> bool {
    let all = status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    all.into_iter().any(|container| container.name == CONTAINER && container.ready)
}

/// The sidecars of one scope, kept by a watch.
#[derive(Debug, Default)]
pub(crate) struct Sidecars(Mutex<Option<Seen>>);

impl Sidecars {
    /// Those of a node; `None` before the first full list.
    pub(crate) fn count(
        &self,
        namespace: &str,
        node: &str,
        hash: Option<&str>,
        reports: Reports,
    ) -> Option<SidecarCount> {
        self.0.lock().as_ref().map(|seen| seen.count(namespace, node, hash, reports))
    }

    /// All pods of a node, by name.
    pub(crate) fn running(&self, namespace: &str, node: &str) -> Vec<Running> {
        let seen = self.0.lock();
        let mut all: Vec<_> = seen.iter().flat_map(|seen| seen.of_node(namespace, node)).cloned().collect();
        all.sort_by(|a, b| a.pod.cmp(&b.pod));
        all
    }

    fn change(&self, change: impl FnOnce(&mut Seen) -> Vec<Name>) -> Vec<Name> {
        self.0.lock().as_mut().map(change).unwrap_or_default()
    }

    /// Watches for ever: tells of each pod of a node that is there or went, and pokes nodes whose sidecars changed.
    pub(super) async fn keep(&self, api: Api<Pod>, shown: Shown, tell: impl Fn(&Pod), poke: impl Fn(&str, &str)) {
        let events = watcher(api, watcher::Config::default().labels(NODE_LABEL)).default_backoff().modify(lighten);
        pin_mut!(events);
        let (mut relisted, mut changed, mut due, mut is_first) = (Vec::new(), BTreeSet::new(), None, true);
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    due = None;
                    std::mem::take(&mut changed).iter().for_each(|(namespace, node): &Name| poke(namespace, node));
                    continue;
                }
            };
            let news = match event {
                None => return,
                Some(Ok(watcher::Event::Init)) => {
                    relisted.clear();
                    Vec::new()
                }
                Some(Ok(watcher::Event::InitApply(pod))) => {
                    relisted.push(pod);
                    Vec::new()
                }
                Some(Ok(watcher::Event::InitDone)) => {
                    shown.listed(std::mem::take(&mut is_first));
                    relisted.iter().for_each(&tell);
                    self.0.lock().get_or_insert_default();
                    self.change(|seen| seen.replace(&std::mem::take(&mut relisted)))
                }
                Some(Ok(watcher::Event::Apply(pod))) => {
                    tell(&pod);
                    self.change(|seen| seen.put(&pod))
                }
                Some(Ok(watcher::Event::Delete(pod))) => {
                    tell(&pod);
                    self.change(|seen| seen.remove(&pod))
                }
                Some(Err(error)) => {
                    shown.failed(&error);
                    Vec::new()
                }
            };
            if !news.is_empty() {
                changed.extend(news);
                due.get_or_insert_with(|| Instant::now() + GATHER);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, is_ready: bool, applied: Option<&str>) -> Value {
        let mut pod = json!({
            "metadata": {"name": name, "namespace": "privacy", "labels": {"interconn.dev/node": "a", "interconn.dev/role": "sidecar"}},
            "spec": {"containers": [{"name": "app"}], "initContainers": [{"name": "mesh"}]},
            "status": {"phase": "Running", "initContainerStatuses": [
                {"name": "mesh", "ready": is_ready, "image": "", "imageID": "", "restartCount": 0}]},
        });
        if let Some(applied) = applied {
            let report = json!({"configHash": hash(applied), "leafNotAfter": "2030-01-01T00:00:00Z"});
            pod["metadata"]["annotations"] = json!({REPORT: report.to_string()});
        }
        pod
    }

    fn hash(configuration: &str) -> String {
        format!("{:064x}", configuration.len())
    }

    fn read(pod: &Value) -> Pod {
        serde_json::from_value(pod.clone()).unwrap()
    }

    fn counted(seen: &Seen) -> (u32, u32) {
        let count = seen.count("privacy", "a", Some(&hash("now")), Reports::Taken);
        (count.ready, count.total)
    }

    #[test]
    fn a_sidecar_is_ready_when_its_kubelet_says_so_and_it_runs_on_no_other_configuration() {
        let mut seen = Seen::default();
        for (name, is_ready, applied) in [
            ("silent", true, None),
            ("current", true, Some("now")),
            ("old", true, Some("then")),
            ("starting", false, None),
        ] {
            assert_eq!(seen.put(&read(&pod(name, is_ready, applied))), [("privacy".to_owned(), "a".to_owned())]);
        }
        assert_eq!(counted(&seen), (1, 4));
        let untaken = seen.count("privacy", "a", Some(&hash("now")), Reports::Untaken);
        assert_eq!(untaken.ready, 2, "who cannot report is taken at the kubelet's word");
        assert_eq!(seen.put(&read(&pod("silent", true, None))), [], "nothing changed, so nobody is poked");
        assert_eq!(seen.count("elsewhere", "a", None, Reports::Taken).total, 0);
    }

    #[test]
    fn a_gateway_reports_and_is_no_sidecar() {
        let mut seen = Seen::default();
        let mut gateway = pod("g", true, Some("now"));
        gateway["metadata"]["labels"]["interconn.dev/role"] = "gateway".into();
        assert_eq!(seen.put(&read(&gateway)).len(), 1);
        assert_eq!(counted(&seen), (0, 0));
        let running: Vec<_> = seen.of_node("privacy", "a").collect();
        assert!(running[0].is_gateway && running[0].report.as_ref().unwrap().config_hash == hash("now"));
        // The second is one in form; the node's status could not be written with it.
        let too_much = json!({"configHash": "now", "leafNotAfter": "2030-01-01T00:00:00Z"}).to_string();
        for text in ["no report", &too_much] {
            gateway["metadata"]["annotations"][REPORT] = text.into();
            seen.put(&read(&gateway));
            assert!(seen.of_node("privacy", "a").next().unwrap().report.is_none(), "what a hand wrote there: {text}");
        }
    }

    #[test]
    fn ended_pods_and_pods_without_mesh_do_not_count() {
        let mut seen = Seen::default();
        let with = |pointer: &str, value: Value| {
            let mut pod = pod("p", true, None);
            *pod.pointer_mut(pointer).unwrap() = value;
            read(&pod)
        };
        for pod in [
            with("/status/phase", json!("Succeeded")),
            with("/spec/initContainers/0/name", json!("other")),
            with("/metadata/labels", json!({"interconn.dev/role": "sidecar"})),
        ] {
            assert_eq!(seen.put(&pod), []);
        }
        seen.put(&read(&pod("p", true, None)));
        let mut ending = read(&pod("p", true, None));
        ending.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH));
        assert_eq!(seen.put(&ending).len(), 1);
        assert_eq!(counted(&seen), (0, 0));
    }

    #[test]
    fn who_went_while_nobody_watched_is_missed_in_the_next_list() {
        let mut seen = Seen::default();
        seen.replace(&[read(&pod("a", true, None)), read(&pod("b", true, None))]);
        assert_eq!(counted(&seen), (0, 2));
        assert_eq!(seen.replace(&[read(&pod("b", true, None))]), [("privacy".to_owned(), "a".to_owned())]);
        assert_eq!(counted(&seen), (0, 1));
        assert_eq!(seen.remove(&read(&pod("b", true, None))).len(), 1);
        assert_eq!(counted(&seen), (0, 0));
    }

    #[test]
    fn a_pod_that_moves_to_another_node_changes_both() {
        let mut seen = Seen::default();
        let mut moved = pod("p", true, None);
        seen.put(&read(&moved));
        moved["metadata"]["labels"]["interconn.dev/node"] = "b".into();
        let nodes: Vec<String> = seen.put(&read(&moved)).into_iter().map(|(_, node)| node).collect();
        assert_eq!(nodes, ["a", "b"]);
    }
}

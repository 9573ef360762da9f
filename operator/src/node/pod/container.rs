//! The container: how it runs, how the kubelet asks after it, and what it may do.

use crds::{ADMIN_PORT, DATA_PORT};
use k8s_openapi::{
    api::core::v1::{
        Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, ExecAction, HTTPGetAction, Lifecycle,
        LifecycleHandler, ObjectFieldSelector, Probe, SeccompProfile, SecurityContext,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{
    CONTAINER, Mesh, Role, USER, resources,
    volumes::{CONFIG_PATH, HOME_PATH, mounts},
};

/// How often the kubelet asks while a gateway starts: its Service leads to it within a second of that.
const WHILE_STARTING: i32 = 1;
/// A start is done in a fraction of a second; a machine that is loaded and pulls at its disk gets so many seconds.
const STARTS: i32 = 120;
/// How long a sidecar waits for a mounted configuration that fits. While the kubelet waits for the hook it brings the volume no
/// newer content; when the container ends it does, and starts it anew.
const FITS_WITHIN: &str = "5s";
/// Where the images have the program.
const PROGRAM: &str = "/bin/mesh";
/// Load balancers should know within seconds that a pod is ready, or not.
const READY_EVERY: i32 = 2;
/// A program that hangs is hung for long; asking seldom costs nothing.
const ALIVE_EVERY: i32 = 10;
/// Six times without an answer, each within five seconds, is no slow machine: the admin port has a thread of its own.
const DEAD_AFTER: i32 = 6;
/// What an answer may take on a busy machine.
const ANSWER: i32 = 5;

impl Mesh<'_> {
    /// The container `mesh`. In a pod of others it is a native sidecar: an init container that stays.
    pub(crate) fn container(&self) -> Container {
        Container {
            name: CONTAINER.into(),
            image: Some(self.image.name.clone()),
            image_pull_policy: self.image.pull_policy.map(|policy| policy.as_str().into()),
            args: Some(vec!["start".into(), "--server".into()]),
            env: Some(self.environment()),
            ports: Some(vec![port("mesh-ptp", DATA_PORT), port("mesh-admin", ADMIN_PORT)]),
            restart_policy: (self.role != Role::Gateway).then(|| "Always".into()),
            lifecycle: (self.role != Role::Gateway).then(until_ready),
            // Not whether it is ready: one whose backplane is away waits for it, and is not to be killed for that.
            startup_probe: (self.role == Role::Gateway).then(|| asks("/livez", WHILE_STARTING, STARTS)),
            readiness_probe: Some(asks("/readyz", READY_EVERY, 3)),
            liveness_probe: Some(asks("/livez", ALIVE_EVERY, DEAD_AFTER)),
            resources: Some(resources::of(self.role, self.queues, self.resources)),
            security_context: Some(restricted()),
            // What the program said last is the reason that people find in the pod's status.
            termination_message_policy: Some("FallbackToLogsOnError".into()),
            volume_mounts: Some(mounts()),
            ..Container::default()
        }
    }

    /// No preStop hook: on SIGTERM the program withdraws its readiness and serves on for a while by itself. A sidecar need
    /// not: the kubelet ends it after the applications, so that nobody is left whom it could serve.
    fn environment(&self) -> Vec<EnvVar> {
        let admin = format!("[::]:{ADMIN_PORT}");
        let fixed = [
            ("MESH_ROLE", self.role.serves_as().as_str()),
            ("MESH_CONFIG_DIR", CONFIG_PATH),
            ("MESH_HOME", HOME_PATH),
            ("MESH_ADMIN_LISTEN", &admin),
        ];
        let at_once = (self.role == Role::Sidecar).then_some(("MESH_DRAIN_DELAY", "0s"));
        let in_a_pod = (self.role != Role::Gateway).then_some(("MESH_CONFIG_WAIT", FITS_WITHIN));
        let ours = fixed.into_iter().chain(at_once).chain(in_a_pod).map(|(name, value)| variable(name, value));
        // Not its name: the other gateways call it before its DNS has one.
        let reached = (self.role == Role::Gateway).then(|| of_the_pod("MESH_BACKPLANE_ADDRESS", "status.podIP"));
        ours.chain(reached).chain(self.for_traces()).collect()
    }

    /// Where traces go, and what tells this pod's from others'. Kubernetes puts in values only what stands before them.
    fn for_traces(&self) -> Vec<EnvVar> {
        let mut said: Vec<_> = self.image.traces.variables().map(|(name, value)| variable(name, value)).collect();
        if !said.is_empty() {
            let who = format!(
                "service.instance.id=$({POD}),k8s.pod.name=$({POD}),k8s.namespace.name=$({NAMESPACE}),interconn.node={}",
                self.node
            );
            said.extend([
                of_the_pod(POD, "metadata.name"),
                of_the_pod(NAMESPACE, "metadata.namespace"),
                variable("OTEL_RESOURCE_ATTRIBUTES", &who),
            ]);
        }
        said
    }
}

/// The pod's name and namespace, as variables that others refer to.
const POD: &str = "MESH_POD_NAME";
const NAMESPACE: &str = "MESH_POD_NAMESPACE";

fn of_the_pod(name: &str, path: &str) -> EnvVar {
    let field = ObjectFieldSelector { api_version: Some("v1".into()), field_path: path.into() };
    let source = EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() };
    EnvVar { name: name.into(), value: None, value_from: Some(source) }
}

fn variable(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.into(), value: Some(value.into()), value_from: None }
}

/// A port of the container, for people who look at the pod.
pub(crate) fn port(name: &str, port: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.into()),
        container_port: i32::from(port),
        protocol: Some("TCP".into()),
        ..ContainerPort::default()
    }
}

/// What a native sidecar has in the place of a startup probe. The kubelet starts what comes behind it as soon as this has ended; it
/// would look at a probe once a second, and each pod would start so much later. Where it fails, the container is ended and
/// started again, as after a startup probe that fails.
fn until_ready() -> Lifecycle {
    let within = format!("--within={STARTS}s");
    let command = Some(vec![PROGRAM.into(), "ready".into(), within]);
    let post_start = LifecycleHandler { exec: Some(ExecAction { command }), ..LifecycleHandler::default() };
    Lifecycle { post_start: Some(post_start), ..Lifecycle::default() }
}

/// By number: a name could be another container's, too.
fn asks(path: &str, every: i32, failures: i32) -> Probe {
    let http_get = HTTPGetAction {
        path: Some(path.into()),
        port: IntOrString::Int(i32::from(ADMIN_PORT)),
        scheme: Some("HTTP".into()),
        ..HTTPGetAction::default()
    };
    Probe {
        http_get: Some(http_get),
        period_seconds: Some(every),
        failure_threshold: Some(failures),
        timeout_seconds: Some(ANSWER),
        ..Probe::default()
    }
}

/// Everything that Pod Security *restricted* asks for, at the container: what a pod of others says for all its containers is
/// not ours to know.
fn restricted() -> SecurityContext {
    SecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities { add: None, drop: Some(vec!["ALL".into()]) }),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), localhost_profile: None }),
        ..SecurityContext::default()
    }
}

//! Labels and annotations of injection: what users write on pods and namespaces, and what the webhook writes.

/// Label of a namespace or a pod: [`ENABLED`] or [`DISABLED`]. The pod's own beats its namespace's.
pub(crate) const INJECT: &str = "interconn.dev/inject";
/// The pod gets a sidecar.
pub(crate) const ENABLED: &str = "enabled";
/// The pod gets none.
pub(crate) const DISABLED: &str = "disabled";

/// Annotation: the MeshNode, of the pod's namespace, that the pod belongs to. The label of the same name says the same.
pub(crate) const NODE: &str = crds::NODE_LABEL;

/// Annotation: another image than the operator's.
pub(crate) const IMAGE: &str = "interconn.dev/sidecar-image";
/// Annotation: how much is logged, as `MESH_LOG` takes it.
pub(crate) const LOG: &str = "interconn.dev/sidecar-log";
/// Annotation: settings of `mesh`, one `MESH_NAME=value` a line.
pub(crate) const CONFIG: &str = "interconn.dev/sidecar-config";
/// Annotations: a request or a limit.
pub(crate) const CPU_REQUEST: &str = "interconn.dev/sidecar-cpu-request";
/// See [`CPU_REQUEST`].
pub(crate) const CPU_LIMIT: &str = "interconn.dev/sidecar-cpu-limit";
/// See [`CPU_REQUEST`].
pub(crate) const MEMORY_REQUEST: &str = "interconn.dev/sidecar-memory-request";
/// See [`CPU_REQUEST`].
pub(crate) const MEMORY_LIMIT: &str = "interconn.dev/sidecar-memory-limit";
/// What all overrides begin with, and what they are.
pub(crate) const OVERRIDE_PREFIX: &str = "interconn.dev/sidecar-";
/// All of them.
pub(crate) const OVERRIDES: [&str; 7] = [IMAGE, LOG, CONFIG, CPU_REQUEST, CPU_LIMIT, MEMORY_REQUEST, MEMORY_LIMIT];

/// Annotation that the webhook writes: the version of the operator that injected the sidecar.
pub(crate) const INJECTED: &str = "interconn.dev/injected";

/// Of a pod that the kubelet runs from a file: the API server's copy of it cannot be changed.
pub(crate) const MIRROR: &str = "kubernetes.io/config.mirror";
/// What nodes and node selectors name the operating system by.
pub(crate) const OS: &str = "kubernetes.io/os";

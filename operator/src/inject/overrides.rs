//! What the annotations of a pod ask of its sidecar beside the operator's defaults.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::{
    names::{CONFIG, CPU_LIMIT, CPU_REQUEST, IMAGE, LOG, MEMORY_LIMIT, MEMORY_REQUEST, OVERRIDE_PREFIX, OVERRIDES},
    quantity::amount,
    verdict::Refusal,
};

/// What the sidecar is told by its volume and its role. Another value would part it from its node.
const OURS: [&str; 4] = ["MESH_CONFIG_DIR", "MESH_HOME", "MESH_ROLE", "MESH_ADMIN_LISTEN"];
/// Image references of all registries fit; Kubernetes has no bound of its own.
const IMAGE_MAX: usize = 512;

/// What a pod asks for. `None`: the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Overrides {
    pub(super) image: Option<String>,
    /// Settings of `mesh`, in the order of the annotation.
    pub(super) settings: Vec<(String, String)>,
    pub(super) cpu: Asked,
    pub(super) memory: Asked,
    /// Annotations that look like overrides and are none.
    pub(super) unknown: Vec<String>,
}

/// What is asked of one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) request: Option<String>,
    pub(super) limit: Option<String>,
}

/// Reads the annotations.
///
/// # Errors
/// The first one that cannot be followed.
pub(super) fn read(pod: &Pod) -> Result<Overrides, Refusal> {
    let annotations = pod.annotations();
    let text = |name: &str| annotations.get(name).map(String::as_str);
    let mut settings = text(CONFIG).map_or(Ok(Vec::new()), settings)?;
    if let Some(level) = text(LOG) {
        crate::levels(level).map_err(|problem| bad(LOG, problem))?;
        settings.push(("MESH_LOG".into(), level.into()));
    }
    let is_unknown = |name: &&String| name.starts_with(OVERRIDE_PREFIX) && !OVERRIDES.contains(&name.as_str());
    Ok(Overrides {
        image: text(IMAGE).map(image).transpose()?,
        settings,
        cpu: asked(CPU_REQUEST, text(CPU_REQUEST), CPU_LIMIT, text(CPU_LIMIT))?,
        memory: asked(MEMORY_REQUEST, text(MEMORY_REQUEST), MEMORY_LIMIT, text(MEMORY_LIMIT))?,
        unknown: annotations.keys().filter(is_unknown).cloned().collect(),
    })
}

fn bad(annotation: &'static str, problem: impl Into<String>) -> Refusal {
    Refusal::BadAnnotation { annotation, problem: problem.into() }
}

fn image(image: &str) -> Result<String, Refusal> {
    let is_good = (1..=IMAGE_MAX).contains(&image.len()) && image.bytes().all(|b| b.is_ascii_graphic());
    if is_good { Ok(image.to_owned()) } else { Err(bad(IMAGE, "must be an image reference of at most 512 characters")) }
}

fn settings(text: &str) -> Result<Vec<(String, String)>, Refusal> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut all: Vec<(String, String)> = Vec::new();
    for line in lines {
        let Some((name, value)) = line.split_once('=') else {
            return Err(bad(CONFIG, "each line must be NAME=value, such as MESH_PLAINTEXT_FROM=10.0.0.0/8"));
        };
        let is_name = |name: &str| {
            (name.starts_with("MESH_") || name.starts_with("PLUGIN_PROXY_"))
                && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        };
        if !is_name(name) {
            return Err(bad(CONFIG, format!("{name:?} is no setting of mesh (docs/configuration.md)")));
        }
        if OURS.contains(&name) {
            return Err(bad(CONFIG, format!("{name} is set by the operator and cannot be changed")));
        }
        if all.iter().any(|(known, _)| known == name) {
            return Err(bad(CONFIG, format!("{name} stands twice")));
        }
        // Kubernetes would read a reference to another variable in it.
        all.push((name.to_owned(), value.replace("$(", "$$(")));
    }
    Ok(all)
}

fn asked(
    request_name: &'static str,
    request: Option<&str>,
    limit_name: &'static str,
    limit: Option<&str>,
) -> Result<Asked, Refusal> {
    let check = |name, text: Option<&str>| match text.map(amount) {
        Some(None) => Err(bad(name, "must be a quantity such as 100m, 1 or 64Mi")),
        Some(Some(0.0)) => Err(bad(name, "must be more than 0")),
        Some(amount) => Ok(amount),
        None => Ok(None),
    };
    match (check(request_name, request)?, check(limit_name, limit)?) {
        (Some(request), Some(limit)) if request > limit => {
            Err(bad(request_name, format!("must not be above {limit_name}")))
        }
        _ => Ok(Asked { request: request.map(str::to_owned), limit: limit.map(str::to_owned) }),
    }
}

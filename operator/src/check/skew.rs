//! Which versions of `mesh` run beside this operator.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt, api::ListParams};

use super::finding::{Finding, State};
use crate::node::pod::CONTAINER;

/// A sidecar two minor versions older runs on a newer snapshot; nothing is promised beyond.
const MINORS: u32 = 2;
/// So many pods are named; the rest is a number.
const NAMED: usize = 10;
/// A page of pods.
const PAGE: u32 = 500;

/// The versions of gateways and sidecars in the namespaces.
pub(crate) async fn check(client: &Client, scopes: &[Option<&str>]) -> Vec<Finding> {
    let mut images = BTreeMap::new();
    for scope in scopes {
        let api: Api<Pod> = scope.map_or_else(|| Api::all(client.clone()), |n| Api::namespaced(client.clone(), n));
        let mut params = ListParams::default().labels(crds::NODE_LABEL).limit(PAGE);
        loop {
            let page = match api.list(&params).await {
                Ok(page) => page,
                Err(error) => {
                    let remedy = "it needs the right to list pods";
                    return vec![Finding::bad("sidecars", State::Unknown, error.to_string(), remedy)];
                }
            };
            images.extend(page.items.iter().filter_map(image));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => break,
            }
        }
    }
    judge(&images, env!("CARGO_PKG_VERSION"))
}

/// A pod's name and the image of its `mesh`.
fn image(pod: &Pod) -> Option<(String, String)> {
    let spec = pod.spec.as_ref()?;
    let mut all = spec.init_containers.iter().flatten().chain(&spec.containers);
    let image = all.find(|c| c.name == CONTAINER)?.image.clone()?;
    Some((format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any()), image))
}

fn judge(images: &BTreeMap<String, String>, ours: &str) -> Vec<Finding> {
    let Some(own) = minor(ours) else { return Vec::new() };
    let mut findings = Vec::new();
    let (mut good, mut untold, mut more) = (0_usize, 0_usize, 0_usize);
    for (pod, image) in images {
        match tag(image).and_then(minor) {
            None => untold += 1,
            Some(theirs) if theirs.0 == own.0 && own.1.checked_sub(theirs.1).is_some_and(|d| d <= MINORS) => good += 1,
            Some(_) if findings.len() == NAMED => more += 1,
            Some(_) => {
                let said = format!("runs {image} beside an operator {ours}");
                let remedy = "update the operator first, then start the pod anew: it gets the operator's version";
                findings.push(Finding::bad("sidecars", State::Warning, said, remedy).of(pod.clone()));
            }
        }
    }
    if more > 0 {
        findings.push(Finding::bad("sidecars", State::Warning, format!("and {more} more"), ""));
    }
    let tail = if untold > 0 { format!(", {untold} whose tag names no version") } else { String::new() };
    findings.push(Finding::ok("sidecars", format!("{good} run a version that fits {ours}{tail}")));
    findings
}

/// The tag of an image, without its digest; the port of a registry is no tag.
fn tag(image: &str) -> Option<&str> {
    let name = image.split('@').next()?;
    let last = name.rsplit('/').next()?;
    last.split_once(':').map(|(_, tag)| tag)
}

/// Major and minor of a version such as `v1.2.3`.
fn minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.trim_start_matches('v').split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(images: &[(&str, &str)], ours: &str) -> Vec<String> {
        let images = images.iter().map(|(pod, image)| ((*pod).to_owned(), (*image).to_owned())).collect();
        judge(&images, ours).into_iter().map(|f| format!("{:?} {}", f.state, f.subject)).collect()
    }

    #[test]
    fn two_minor_versions_back_fit_and_nothing_newer_or_older() {
        let two_back = [("a/p", "registry:5000/mesh:0.3.1"), ("a/q", "mesh:v0.5.0@sha256:00")];
        assert_eq!(said(&two_back, "0.5.2"), ["Ok "]);
        assert_eq!(said(&[("a/old", "mesh:0.2.0")], "0.5.0"), ["Warning a/old", "Ok "]);
        assert_eq!(said(&[("a/new", "mesh:0.6.0")], "0.5.0"), ["Warning a/new", "Ok "]);
    }

    #[test]
    fn a_tag_that_is_no_version_is_counted_and_not_judged() {
        let found = judge(&[("a/p".to_owned(), "localhost:5000/mesh".to_owned())].into(), "0.1.0");
        assert_eq!(found[0].said, "0 run a version that fits 0.1.0, 1 whose tag names no version");
    }
}

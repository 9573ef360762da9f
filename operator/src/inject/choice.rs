//! Which MeshNode a pod belongs to: the one that it names, or its namespace's only one.

use std::collections::BTreeMap;

use crds::{ByteSize, Store};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::{names::NODE, verdict::Refusal};
use crate::node::pod::Role;

/// What injection has to know of a MeshNode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// Who serves the node's partners.
    pub(crate) role: Role,
    /// What its queues may hold.
    pub(crate) queues: ByteSize,
    /// Where they are.
    pub(crate) store: Store,
}

/// The MeshNodes of one namespace that are not about to go.
pub(crate) type Nodes = BTreeMap<String, Known>;

/// The node of a pod.
///
/// # Errors
/// None, several and no word which, one that is not there, or two words that differ.
pub(super) fn node<'n>(pod: &Pod, namespace: &str, nodes: &'n Nodes) -> Result<(&'n str, &'n Known), Refusal> {
    let known = || nodes.keys().cloned().collect();
    let named = match (pod.labels().get(NODE), pod.annotations().get(NODE)) {
        // The label may stand in a workload's selector: another value would make the workload create pods without end.
        (Some(label), Some(annotation)) if label != annotation => {
            return Err(Refusal::TwoNodes { label: label.clone(), annotation: annotation.clone() });
        }
        (label, annotation) => annotation.or(label),
    };
    let found = match named {
        Some(name) => nodes.get_key_value(name).ok_or_else(|| Refusal::UnknownNode {
            namespace: namespace.into(),
            name: name.clone(),
            known: known(),
        })?,
        None => {
            let mut all = nodes.iter();
            match (all.next(), all.next()) {
                (Some(only), None) => only,
                (None, _) => return Err(Refusal::NoNode { namespace: namespace.into() }),
                (Some(_), Some(_)) => {
                    return Err(Refusal::Ambiguous { namespace: namespace.into(), known: known() });
                }
            }
        }
    };
    Ok((found.0.as_str(), found.1))
}

//! The verdicts of the API server, without one: schema and laws of each kind applied to a value in hand.
//!
//! Certificates inside PEM texts are not judged here: that needs the PKI, and belongs to the operator's validation.

use std::sync::OnceLock;

use serde::Serialize;
use serde_json::Value;

use crate::{
    MeshNode, MeshNodeSpec, MeshRoute, MeshRouteSpec, ServiceRegistration, ServiceRegistrationSpec, Violation,
    definitions, law, node::IMMUTABLE_NODE_ID, shape::Shape, violation::broken,
};

/// Holds the spec of a MeshNode against schema and laws.
///
/// # Errors
/// Every rule that it breaks, with its field.
pub fn node(spec: &MeshNodeSpec) -> Result<(), Vec<Violation>> {
    verdict::<MeshNode>(spec)
}

/// Holds the spec of a MeshRoute against schema and laws.
///
/// # Errors
/// Every rule that it breaks, with its field.
pub fn route(spec: &MeshRouteSpec) -> Result<(), Vec<Violation>> {
    verdict::<MeshRoute>(spec)
}

/// Holds the spec of a ServiceRegistration against schema and laws.
///
/// # Errors
/// Every rule that it breaks, with its field.
pub fn registration(spec: &ServiceRegistrationSpec) -> Result<(), Vec<Violation>> {
    verdict::<ServiceRegistration>(spec)
}

/// Holds the change of a MeshNode's spec against what a change may not do.
///
/// # Errors
/// Every rule that it breaks, with its field.
pub fn node_change(new: &MeshNodeSpec, old: &MeshNodeSpec) -> Result<(), Vec<Violation>> {
    let mut found = Vec::new();
    law::judge_change(&IMMUTABLE_NODE_ID, new, old, "spec", &mut found);
    none_or(found)
}

/// A kind whose specs are judged here.
pub(crate) trait Judged {
    type Spec: Serialize;

    /// The schema of the kind, read once.
    fn shape() -> &'static Result<Shape, String>;

    /// The laws of the kind.
    fn laws(spec: &Self::Spec, found: &mut Vec<Violation>);
}

macro_rules! judged {
    ($kind:ty, $spec:ty) => {
        impl Judged for $kind {
            type Spec = $spec;

            fn shape() -> &'static Result<Shape, String> {
                static SHAPE: OnceLock<Result<Shape, String>> = OnceLock::new();
                SHAPE.get_or_init(|| {
                    let tree = definitions::tree::<$kind>().map_err(|e| e.to_string())?;
                    let schema = tree.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec");
                    Shape::parse(schema.unwrap_or(&Value::Null), "spec")
                })
            }

            fn laws(spec: &$spec, found: &mut Vec<Violation>) {
                spec.judge("spec", found);
            }
        }
    };
}

judged!(MeshNode, MeshNodeSpec);
judged!(MeshRoute, MeshRouteSpec);
judged!(ServiceRegistration, ServiceRegistrationSpec);

fn verdict<K: Judged>(spec: &K::Spec) -> Result<(), Vec<Violation>> {
    let mut found = match serde_json::to_value(spec) {
        Ok(value) => shape_breaks::<K>(&value),
        Err(e) => vec![broken("spec", e.to_string())],
    };
    K::laws(spec, &mut found);
    none_or(found)
}

/// What does not fit the schema about a spec as JSON.
pub(crate) fn shape_breaks<K: Judged>(spec: &Value) -> Vec<Violation> {
    let mut found = Vec::new();
    match K::shape() {
        Ok(shape) => shape.fit(spec, "spec", &mut found),
        Err(fault) => found.push(broken("spec", fault.clone())),
    }
    found
}

pub(crate) fn none_or(found: Vec<Violation>) -> Result<(), Vec<Violation>> {
    if found.is_empty() { Ok(()) } else { Err(found) }
}

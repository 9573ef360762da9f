//! Telling people: conditions into the status, and Events where one of them changed.

use std::time::Duration;

use crds::{Condition, ConditionStatus, STALLED};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    runtime::events::{Event, EventType, Recorder},
};
use serde::Serialize;
use serde_json::json;
use tokio::time::timeout;

use super::{node::ROLE_STALE, watch::Watched, world::kind_name};
use crate::{
    cluster::{conditions::news, objects::Written},
    metrics::Metrics,
};

/// Who writes status; another manager than that of specs and data, so that neither drops the other's fields.
const STATUS_MANAGER: &str = "interconn-operator-status";

/// A status is small; a server that does not take it by then has lost it. It is written again, so nothing is lost by giving up.
const STATUS_LIMIT: Duration = Duration::from_secs(10);

/// Why a status was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StatusError {
    /// The API server did not take it.
    #[error("the status was not taken: {source}{}", remedy(.source))]
    Refused {
        /// What it said.
        #[from]
        source: kube::Error,
    },
    /// It gave no answer.
    #[error("the status was not taken within {} s", STATUS_LIMIT.as_secs())]
    TimedOut,
}

impl StatusError {
    /// The word for metrics and the log.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "StatusNotWritten",
            Self::TimedOut => "StatusTimedOut",
        }
    }
}

/// What this version writes into a status is no user's choice: where the API server has a rule against it or no place for it, its
/// definitions are of another version than the operator.
fn remedy(error: &kube::Error) -> &'static str {
    match error {
        kube::Error::Api(refusal)
            if refusal.code == 422 || refusal.message.contains("field not declared in schema") =>
        {
            "; apply the definitions of this version (helm upgrade with crds.enabled, or the rendered file): those that the API server has are of another one"
        }
        _ => "",
    }
}

/// Events carry at most so many bytes of text.
const NOTE_MAX: usize = 1000;

/// Writes `status` when it differs from `old`, and counts what came of it.
///
/// # Errors
/// What the API server refuses; an object that is gone is no error.
pub(crate) async fn status<K, S>(
    client: &Client,
    metrics: &Metrics,
    object: &K,
    old: Option<&S>,
    status: &S,
) -> Result<(), StatusError>
where
    K: Watched,
    S: Serialize + PartialEq,
{
    if old == Some(status) {
        return Ok(());
    }
    let patched = timeout(STATUS_LIMIT, patch(client, object, status)).await;
    let patched = patched.unwrap_or(Err(StatusError::TimedOut));
    match &patched {
        Ok(Written::Object) => metrics.wrote(kind_name::<K>()),
        Ok(Written::Nothing) => {}
        Err(error) => metrics.status_failed(kind_name::<K>(), error.reason()),
    }
    patched.map(drop)
}

async fn patch<K, S>(client: &Client, object: &K, status: &S) -> Result<Written, StatusError>
where
    K: Watched,
    S: Serialize,
{
    let api: Api<K> = Api::namespaced(client.clone(), &object.namespace().unwrap_or_default());
    let patch = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"name": object.name_any(), "uid": object.uid()},
        "status": status,
    });
    let params = PatchParams::apply(STATUS_MANAGER).force();
    match api.patch_status(&object.name_any(), &params, &Patch::Apply(patch)).await {
        Ok(_) => Ok(Written::Object),
        // Deleted meanwhile, or deleted and made anew: there is nobody left to tell.
        Err(kube::Error::Api(refusal)) if refusal.code == 404 || refusal.code == 409 => Ok(Written::Nothing),
        Err(error) => Err(error.into()),
    }
}

/// Publishes an Event for each condition that changed. What cannot be published is only logged: the status says the same.
pub(crate) async fn events<K>(recorder: &Recorder, object: &K, old: &[Condition], new: &[Condition])
where
    K: Resource<DynamicType = ()>,
{
    for condition in news(old, new).into_iter().filter(|c| is_worth_telling(c, old)) {
        let is_bad_when_true = condition.r#type == STALLED || condition.r#type == ROLE_STALE;
        let is_bad = (condition.status == ConditionStatus::True) == is_bad_when_true;
        let event = Event {
            type_: if is_bad { EventType::Warning } else { EventType::Normal },
            reason: condition.reason.clone(),
            note: Some(cut(&format!("{}: {}", condition.r#type, condition.message))),
            action: "Reconcile".into(),
            secondary: None,
        };
        if let Err(error) = recorder.publish(&event, &object.object_ref(&())).await {
            tracing::warn!(%error, "an Event could not be published");
        }
    }
}

/// Publishes a warning that no condition carries.
pub(crate) async fn warn<K>(recorder: &Recorder, object: &K, reason: &str, note: String)
where
    K: Resource<DynamicType = ()>,
{
    let event = Event {
        type_: EventType::Warning,
        reason: reason.into(),
        note: Some(cut(&note)),
        action: "Reconcile".into(),
        secondary: None,
    };
    if let Err(error) = recorder.publish(&event, &object.object_ref(&())).await {
        tracing::warn!(%error, "an Event could not be published");
    }
}

/// A new resource need not hear that it is not stalled, and nobody needs to hear what is not known.
fn is_worth_telling(condition: &Condition, old: &[Condition]) -> bool {
    match condition.status {
        ConditionStatus::Unknown => false,
        ConditionStatus::False if condition.r#type == STALLED || condition.r#type == crds::RECONCILING => false,
        ConditionStatus::True if condition.r#type == crds::RECONCILING => false,
        ConditionStatus::True if condition.r#type == STALLED => false,
        ConditionStatus::True => !old.is_empty() || condition.r#type == crds::READY,
        ConditionStatus::False => true,
    }
}

fn cut(text: &str) -> String {
    let end = (0..=NOTE_MAX.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    /// A status with a field that an older definition lacks is refused whole, and people would see an old one without a word.
    #[test]
    fn a_status_that_the_definitions_do_not_take_is_told_with_what_to_do() {
        let refused = |code, message: &str| {
            let refusal = Status { code, message: message.to_owned(), ..Status::default() };
            StatusError::from(kube::Error::Api(refusal.boxed())).to_string()
        };
        let lacks = "failed to create typed patch object (ns/a; interconn.dev/v1alpha1, Kind=MeshNode): .status.later: field not declared in schema";
        for (code, message) in [(500, lacks), (422, "status.sidecars.total: Invalid value: \"string\"")] {
            let said = refused(code, message);
            assert!(said.contains(message) && said.contains("apply the definitions of this version"), "{said}");
        }
        assert!(!refused(403, "cannot patch resource \"meshnodes/status\"").contains("definitions"));
    }

    #[test]
    fn a_note_is_cut_between_characters() {
        assert_eq!(cut("short"), "short");
        assert!(cut(&"证".repeat(1000)).len() <= NOTE_MAX);
    }
}

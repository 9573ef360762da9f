//! Conditions as they are written: times change with the status only, and nothing is written that is there already.

use crds::{Condition, ConditionStatus};

/// What a controller says about one aspect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Aspect {
    /// The condition's type.
    pub(crate) kind: &'static str,
    /// Whether it is so.
    pub(crate) status: ConditionStatus,
    /// One word.
    pub(crate) reason: String,
    /// A sentence with the remedy.
    pub(crate) message: String,
}

impl Aspect {
    /// It is so.
    pub(crate) fn yes(kind: &'static str, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, status: ConditionStatus::True, reason: reason.into(), message: message.into() }
    }

    /// It is not so.
    pub(crate) fn no(kind: &'static str, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, status: ConditionStatus::False, reason: reason.into(), message: message.into() }
    }

    /// Nobody knows.
    pub(crate) fn unknown(kind: &'static str, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, status: ConditionStatus::Unknown, reason: reason.into(), message: message.into() }
    }
}

/// The conditions to write over `old`: `lastTransitionTime` is kept where the status is the same.
#[must_use]
pub(crate) fn merge(old: &[Condition], aspects: &[Aspect], generation: i64, now: &str) -> Vec<Condition> {
    aspects
        .iter()
        .map(|aspect| {
            let before = old.iter().find(|c| c.r#type == aspect.kind && c.status == aspect.status);
            Condition {
                r#type: aspect.kind.into(),
                status: aspect.status,
                reason: aspect.reason.clone(),
                message: aspect.message.clone(),
                last_transition_time: before.map_or(now, |c| &c.last_transition_time).into(),
                observed_generation: generation,
            }
        })
        .collect()
}

/// The aspects that changed in status or reason: what people are told in Events.
#[must_use]
pub(crate) fn news<'n>(old: &[Condition], new: &'n [Condition]) -> Vec<&'n Condition> {
    let is_old =
        |c: &Condition| old.iter().any(|o| o.r#type == c.r#type && o.status == c.status && o.reason == c.reason);
    new.iter().filter(|c| !is_old(c)).collect()
}

/// What kstatus makes of conditions of a current generation: `Stalled` first, then `Reconciling`, then `Ready`.
///
/// Helm and Flux wait for what is in progress, until they give up: only what settles by itself may be.
#[cfg(test)]
pub(crate) fn kstatus(aspects: &[Aspect]) -> &'static str {
    let is = |kind: &str| {
        let found: Vec<_> = aspects.iter().filter(|aspect| aspect.kind == kind).collect();
        assert_eq!(found.len(), 1, "{kind}: {aspects:?}");
        found[0].status == ConditionStatus::True
    };
    match (is(crds::STALLED), is(crds::RECONCILING), is(crds::READY)) {
        (true, ..) => "Failed",
        (false, true, _) | (false, false, false) => "InProgress",
        (false, false, true) => "Current",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_changes_with_the_status_and_with_nothing_else() {
        let first = merge(&[], &[Aspect::no("Ready", "Missing", "no Secret")], 1, "t1");
        let again = merge(&first, &[Aspect::no("Ready", "Missing", "no Secret")], 1, "t2");
        assert_eq!(again, first);
        let reworded = merge(&first, &[Aspect::no("Ready", "Broken", "bad Secret")], 2, "t2");
        assert_eq!((reworded[0].last_transition_time.as_str(), reworded[0].observed_generation), ("t1", 2));
        let flipped = merge(&first, &[Aspect::yes("Ready", "Ready", "all is well")], 2, "t2");
        assert_eq!(flipped[0].last_transition_time, "t2");
    }

    #[test]
    fn people_are_told_of_changes_only() {
        let old = merge(&[], &[Aspect::no("Ready", "Missing", "no Secret a")], 1, "t1");
        let same = merge(&old, &[Aspect::no("Ready", "Missing", "no Secret b")], 1, "t2");
        assert!(news(&old, &same).is_empty());
        let other = merge(&old, &[Aspect::no("Ready", "Broken", "bad")], 1, "t2");
        assert_eq!(news(&old, &other).len(), 1);
    }
}

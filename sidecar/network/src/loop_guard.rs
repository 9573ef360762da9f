//! Calls that go round in circles are stopped (PTP section 11.5).

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::RouteError;

/// The repeated header that every pass appends to.
pub const MDC: HeaderName = HeaderName::from_static("mesh-mdc");

/// PTP section 11.5: the own id seen more than 5 times ends the call.
const MOST_PASSES: usize = 5;

/// Whether calls may come by here as often as they like (bit 512 of `MESH_MODE`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Circulation {
    /// The sixth pass is the last.
    #[default]
    Stopped,
    /// They may.
    Permitted,
}

/// The guard of one running instance.
#[derive(Clone, Debug)]
pub struct LoopGuard {
    instance: HeaderValue,
    circulation: Circulation,
}

impl LoopGuard {
    /// Guards the instance called `instance`; the id must be one of its own, also beside others of the same node.
    #[must_use]
    pub fn new(instance: &str, circulation: Circulation) -> Self {
        // What is no header text, or two in a list, cannot come back in a header either; the node then goes by a fixed name.
        let instance = Some(instance).filter(|id| !id.contains(',')).and_then(|id| HeaderValue::from_str(id).ok());
        let instance = instance.unwrap_or(HeaderValue::from_static("unnamed"));
        Self { instance, circulation }
    }

    /// Notes in `headers` that the call passes here. They must carry the `mesh-mdc` values that the call came with.
    ///
    /// # Errors
    /// `E0000000503` when it has passed here more than 5 times.
    pub fn pass(&self, headers: &mut HeaderMap) -> Result<(), RouteError> {
        // Whoever passes a message on may join the values of one name (RFC 9110 section 5.3).
        let passes = headers.get_all(MDC).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        let seen = passes.filter(|pass| pass.trim_ascii() == self.instance.as_bytes()).count();
        if seen > MOST_PASSES && self.circulation == Circulation::Stopped {
            return Err(RouteError::Loop { seen });
        }
        headers.append(MDC, self.instance.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_id_seen_more_than_five_times_ends_the_call() {
        let guard = LoopGuard::new("i-1", Circulation::Stopped);
        let mut headers = HeaderMap::new();
        for pass in 0..6 {
            assert_eq!(guard.pass(&mut headers), Ok(()), "pass {pass}");
        }
        let stopped = guard.pass(&mut headers).unwrap_err();
        assert_eq!(stopped, RouteError::Loop { seen: 6 });
        assert!(stopped.to_string().starts_with("CirculateBreak"), "the reference's word: {stopped}");
        assert_eq!(headers.get_all(MDC).iter().count(), 6);
    }

    #[test]
    fn the_own_id_counts_however_its_values_are_joined() {
        let guard = LoopGuard::new("me", Circulation::Stopped);
        for (values, seen) in [
            (&["me, other, me", "me,me", "me\t,me"][..], 6),
            (&["me,me,me,me,me,me"][..], 6),
            (&["me,me,me,me,me", "other, menace,,"][..], 5),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(MDC, HeaderValue::from_static(value));
            }
            let expected = if seen > MOST_PASSES { Err(RouteError::Loop { seen }) } else { Ok(()) };
            assert_eq!(guard.pass(&mut headers), expected, "{values:?}");
        }
    }

    #[test]
    fn other_instances_do_not_count() {
        let guard = LoopGuard::new("i-1", Circulation::Stopped);
        let mut headers = HeaderMap::new();
        for _ in 0..20 {
            headers.append(MDC, HeaderValue::from_static("i-2"));
        }
        assert_eq!(guard.pass(&mut headers), Ok(()));
    }

    #[test]
    fn circulation_may_be_permitted() {
        let guard = LoopGuard::new("i-1", Circulation::Permitted);
        let mut headers = HeaderMap::new();
        assert!((0..20).all(|_| guard.pass(&mut headers).is_ok()));
    }
}

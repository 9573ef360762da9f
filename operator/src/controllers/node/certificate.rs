//! Whether the node's certificate is one that partners take: said apart from what else is pending, because a node that
//! nobody talks to is not ready.

use std::time::SystemTime;

use crds::ConditionStatus;
use mesh_pki::{CertificateInfo, Pair};

use super::status::{rfc3339, text};
use crate::{cluster::conditions::Aspect, node::Problem};

/// The node's certificate is in date, and names the node.
pub(super) const CERTIFICATE_VALID: &str = "CertificateValid";
/// Only while something is in the way of the next certificate.
const CERTIFICATE_RENEWED: &str = "CertificateRenewed";

/// The reasons for which no partner takes the certificate.
const EXPIRED: &str = "Expired";
const NOT_YET_VALID: &str = "NotYetValid";

/// What is said of a certificate that serves. `remarks` are those about the whole node.
pub(super) fn aspects(leaf: &Pair, remarks: &[Problem], now: SystemTime) -> Vec<Aspect> {
    valid(leaf, remarks, now).into_iter().chain(renewed(remarks)).collect()
}

fn valid(leaf: &Pair, remarks: &[Problem], now: SystemTime) -> Option<Aspect> {
    let info = CertificateInfo::from_pem(&leaf.chain_pem).ok()?;
    let (begins, ends) = (rfc3339(info.not_before), rfc3339(info.not_after));
    let misnamed = remarks.iter().find(|problem| matches!(problem, Problem::BadPair { .. }));
    let aspect = if now > info.not_after {
        let told = remarks.iter().find(|problem| matches!(problem, Problem::Expired { .. }));
        let message = told.map_or_else(|| format!("the certificate ended at {ends}: partners refuse it"), text_of);
        Aspect::no(CERTIFICATE_VALID, EXPIRED, message)
    } else if now < info.not_before {
        let message = format!(
            "the certificate begins at {begins}: partners refuse it until then; check the clock, or bring one that is valid"
        );
        Aspect::no(CERTIFICATE_VALID, NOT_YET_VALID, message)
    } else if let Some(misnamed) = misnamed {
        Aspect::no(CERTIFICATE_VALID, misnamed.reason(), misnamed.to_string())
    } else {
        Aspect::yes(CERTIFICATE_VALID, "Valid", format!("the certificate is valid until {ends}"))
    };
    Some(aspect)
}

fn text_of(problem: &Problem) -> String {
    problem.to_string()
}

/// The last one serves on, so this alone makes nothing unhealthy.
fn renewed(remarks: &[Problem]) -> Option<Aspect> {
    let in_the_way =
        remarks.iter().find(|p| matches!(p, Problem::IssuerPending { .. } | Problem::IssuerRefused { .. }))?;
    let message = text(std::slice::from_ref(in_the_way));
    Some(match in_the_way {
        Problem::IssuerPending { .. } => Aspect::unknown(CERTIFICATE_RENEWED, in_the_way.reason(), message),
        _ => Aspect::no(CERTIFICATE_RENEWED, in_the_way.reason(), message),
    })
}

/// What makes the whole node not ready: no partner takes it.
pub(super) fn refused_by_all(aspects: &[Aspect]) -> Option<&Aspect> {
    let is_out_of_date = |aspect: &&Aspect| {
        aspect.kind == CERTIFICATE_VALID
            && aspect.status == ConditionStatus::False
            && (aspect.reason == EXPIRED || aspect.reason == NOT_YET_VALID)
    };
    aspects.iter().find(is_out_of_date)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crds::ConditionStatus::{False, True, Unknown};

    use super::*;
    use crate::node::sample::{days, leaf, now, root};

    fn said(remarks: &[Problem], now: SystemTime) -> Vec<(&'static str, ConditionStatus, String)> {
        let leaf = leaf(&root("LX1", days(99)), "LX1", days(9));
        aspects(&leaf, remarks, now).into_iter().map(|a| (a.kind, a.status, a.reason)).collect()
    }

    #[test]
    fn a_certificate_that_partners_refuse_makes_the_node_not_ready() {
        let pair = leaf(&root("LX1", days(99)), "LX1", days(9));
        for (at, status, reason, is_refused) in [
            (now(), True, "Valid", false),
            (now() + days(9), False, "Expired", true),
            (now() - days(3), False, "NotYetValid", true),
        ] {
            let all = aspects(&pair, &[], at);
            assert_eq!((all[0].status, all[0].reason.as_str()), (status, reason));
            assert_eq!(refused_by_all(&all).is_some(), is_refused, "{reason}");
        }
    }

    #[test]
    fn a_name_that_is_missing_and_an_issuer_that_refuses_are_told_and_the_node_goes_on() {
        let misnamed = Problem::BadPair { field: "spec.certificates.leafSecretRef".into(), why: "no name".into() };
        assert_eq!(said(&[misnamed], now()), [(CERTIFICATE_VALID, False, "BadPair".into())]);
        let issuer = || "Issuer bank".to_owned();
        let refused = Problem::IssuerRefused { issuer: issuer(), why: "no".into() };
        let pending = Problem::IssuerPending { issuer: issuer(), request: "r".into() };
        for (problem, status) in [(refused, False), (pending, Unknown)] {
            let reason = problem.reason().to_owned();
            let said = said(&[problem], now());
            let wanted = [(CERTIFICATE_VALID, True, "Valid".to_owned()), (CERTIFICATE_RENEWED, status, reason)];
            assert_eq!(said, wanted);
        }
        let later = aspects(&leaf(&root("LX1", days(99)), "LX1", days(9)), &[], now() + Duration::from_secs(5));
        assert!(refused_by_all(&later).is_none());
    }
}

//! Whether a partner can be reached, as its route's status tells it: from what the gateway found when it asked. Pure.

use jiff::Timestamp;

use crds::{AddressStatus, MeshRoute, MeshRouteSpec, REACHABLE, intake::Reach};

use crate::cluster::conditions::Aspect;

/// The condition.
pub(super) fn reachable(route: &MeshRoute, reach: Option<&[Reach]>) -> Aspect {
    let spec = &route.spec;
    if spec.addresses.is_empty() {
        let message = "spec.addresses is empty: the partner calls us, and we do not call it";
        return Aspect::unknown(REACHABLE, "NoAddress", message);
    }
    if spec.disabled {
        return Aspect::unknown(REACHABLE, "Disabled", "spec.disabled: the partner is not asked");
    }
    // A report of an older spec speaks of other addresses.
    let Some(reach) = reach.filter(|reach| reach.len() == spec.addresses.len()) else {
        let message = "the gateway has not reported on this route: see the MeshNode's conditions";
        return Aspect::unknown(REACHABLE, "NotReported", message);
    };
    let each = || spec.addresses.iter().map(|given| given.address.as_str()).zip(reach);
    if let Some((address, _)) = each().find(|(_, reach)| **reach == Reach::Answers) {
        return Aspect::yes(REACHABLE, "Answers", format!("{address} answers"));
    }
    let failing: Vec<String> = each()
        .filter_map(|(address, reach)| match reach {
            Reach::Fails(why) => Some(format!("{address}: {why}")),
            Reach::Answers | Reach::Untried => None,
        })
        .collect();
    if failing.is_empty() {
        return Aspect::unknown(REACHABLE, "NotTried", "nobody has asked the partner yet");
    }
    let remedy = "mesh diagnose route in the gateway's pod says where it breaks";
    Aspect::no(REACHABLE, "NoAnswer", format!("{}; {remedy}", failing.join("; ")))
}

/// Each address, and since when it has been so.
pub(super) fn addresses(
    spec: &MeshRouteSpec,
    (reach, certificates): (Option<&[Reach]>, &[Option<i64>]),
    old: &[AddressStatus],
    now: &str,
) -> Vec<AddressStatus> {
    let reach = reach.filter(|reach| reach.len() == spec.addresses.len());
    let each = spec.addresses.iter().enumerate().map(|(at, given)| {
        let state = match reach.map(|reach| &reach[at]) {
            Some(Reach::Answers) => "Reachable",
            Some(Reach::Fails(_)) => "Failing",
            Some(Reach::Untried) | None => "Unknown",
        };
        let known = old.iter().find(|old| old.address == given.address);
        let before = known.filter(|old| old.state == state);
        // A partner that is away keeps the certificate that it showed last.
        let shown = certificates.get(at).copied().flatten().and_then(|ends| Timestamp::from_second(ends).ok());
        let kept = || known.and_then(|known| known.certificate_not_after.clone());
        AddressStatus {
            address: given.address.clone(),
            state: state.into(),
            since: before.map_or(now, |old| &old.since).into(),
            certificate_not_after: shown.map(|ends| ends.to_string()).or_else(kept),
        }
    });
    // The list is keyed by address; a spec that names one twice has it once here.
    let mut all: Vec<AddressStatus> = Vec::new();
    for one in each {
        if !all.iter().any(|known| known.address == one.address) {
            all.push(one);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use crds::{ConditionStatus, PeerAddress};

    use super::*;
    use crate::node::sample;

    fn route(addresses: &[&str]) -> MeshRoute {
        let mut route = sample::route("b", "bank-a", "LX2", &[]);
        let given = |address: &&str| PeerAddress { address: (*address).into(), server_name: String::new() };
        route.spec.addresses = addresses.iter().map(given).collect();
        route
    }

    #[test]
    fn each_report_has_its_word() {
        use ConditionStatus::{False, True, Unknown};
        let fails = || Reach::Fails("refused".into());
        for (addresses, reach, status, reason) in [
            (&["a:1", "b:1"][..], Some(vec![fails(), Reach::Answers]), True, "Answers"),
            (&["a:1", "b:1"], Some(vec![fails(), fails()]), False, "NoAnswer"),
            (&["a:1", "b:1"], Some(vec![fails(), Reach::Untried]), False, "NoAnswer"),
            (&["a:1"], Some(vec![Reach::Untried]), Unknown, "NotTried"),
            (&["a:1"], None, Unknown, "NotReported"),
            (&["a:1"], Some(vec![Reach::Answers, Reach::Answers]), Unknown, "NotReported"),
            (&[], None, Unknown, "NoAddress"),
        ] {
            let aspect = reachable(&route(addresses), reach.as_deref());
            assert_eq!((aspect.status, aspect.reason.as_str()), (status, reason), "{reach:?}");
        }
        let said = reachable(&route(&["a:1", "b:1"]), Some(&[fails(), fails()])).message;
        assert!(said.starts_with("a:1: refused; b:1: refused; "), "{said}");
        let mut off = route(&["a:1"]);
        off.spec.disabled = true;
        assert_eq!(reachable(&off, Some(&[fails()])).reason, "Disabled");
    }

    #[test]
    fn an_address_keeps_its_time_while_its_state_is_the_same() {
        let spec = route(&["a:1", "b:1", "a:1"]).spec;
        let reach = [Reach::Answers, Reach::Fails("one".into()), Reach::Answers];
        let first = addresses(&spec, (Some(&reach), &[Some(0), None, Some(0)]), &[], "t1");
        let words: Vec<_> = first.iter().map(|one| (one.address.as_str(), one.state.as_str())).collect();
        assert_eq!(words, [("a:1", "Reachable"), ("b:1", "Failing")]);
        let reach = [Reach::Untried, Reach::Fails("other".into()), Reach::Untried];
        let then = addresses(&spec, (Some(&reach), &[]), &first, "t2");
        let times: Vec<_> = then.iter().map(|one| one.since.as_str()).collect();
        assert_eq!(times, ["t2", "t1"]);
        let ends: Vec<_> = then.iter().map(|one| one.certificate_not_after.as_deref()).collect();
        assert_eq!(ends, [Some("1970-01-01T00:00:00Z"), None], "what is known of a certificate stays");
    }
}

//! What a pod says of itself, before it is believed: bounded, and clean enough to be shown.

use crds::intake::{Reach, Report};

/// Routes of one node; the snapshot has no room for more.
const ROUTES: usize = 2000;
/// Addresses of one route, as its schema has it.
const ADDRESSES: usize = 8;
/// The name of a resource.
const NAME: usize = 253;
/// A reason is a sentence.
const TEXT: usize = 256;

/// The report as it is kept, or the rule that it breaks.
pub(super) fn checked(report: Report) -> Result<Report, &'static str> {
    let Report { config_hash, leaf_not_after, problem, mut routes, certificates } = report;
    if config_hash.len() != 64 || !config_hash.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err("configHash must be the sha256 of the manifest, in hex");
    }
    let ends: jiff::Timestamp = leaf_not_after.parse().map_err(|_| "leafNotAfter must be a time, RFC 3339")?;
    if routes.len() > ROUTES || routes.iter().any(|(name, all)| name.len() > NAME || all.len() > ADDRESSES) {
        return Err("a node has 2000 routes at most, of 8 addresses each, by the names of their MeshRoutes");
    }
    if !certificates.iter().all(|(name, ends)| routes.get(name).is_some_and(|all| all.len() == ends.len())) {
        return Err("certificates are told of the addresses of routes");
    }
    for reach in routes.values_mut().flatten() {
        if let Reach::Fails(reason) = reach {
            *reason = clean(reason);
        }
    }
    let problem = problem.map(|text| clean(&text));
    Ok(Report { config_hash, leaf_not_after: ends.to_string(), problem, routes, certificates })
}

fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report { config_hash: "a1".repeat(32), leaf_not_after: "2030-01-01T00:00:00Z".into(), ..Report::default() }
    }

    #[test]
    fn a_report_is_kept_clean_and_short() {
        let mut given = report();
        given.problem = Some(format!("bad\n{}", "证".repeat(1000)));
        given.routes.insert("b".into(), vec![Reach::Answers, Reach::Fails("no\x1b[2Jroute".into())]);
        given.certificates.insert("b".into(), vec![Some(1), None]);
        let kept = checked(given).unwrap();
        assert_eq!(kept.certificates["b"], [Some(1), None]);
        assert_eq!(kept.problem.unwrap().chars().count(), TEXT);
        assert_eq!(kept.routes["b"], [Reach::Answers, Reach::Fails("no[2Jroute".into())]);
    }

    #[test]
    fn what_breaks_a_rule_is_refused() {
        let many = (0..=ROUTES).map(|n| (n.to_string(), Vec::new())).collect();
        for bad in [
            Report { config_hash: "a".into(), ..report() },
            Report { config_hash: "zz".repeat(32), ..report() },
            Report { leaf_not_after: "soon".into(), ..report() },
            Report { routes: many, ..report() },
            Report { routes: [("b".to_owned(), vec![Reach::Untried; 9])].into(), ..report() },
            Report { certificates: [("b".to_owned(), vec![Some(0)])].into(), ..report() },
        ] {
            assert!(checked(bad.clone()).is_err(), "{bad:?}");
        }
    }
}

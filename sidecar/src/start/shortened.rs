//! A report that the intake takes: with a thousand partners away their reasons alone are larger than a body may be, and a report that
//! is refused tells of nothing at all. What says most is given up last: the configuration's hash, then which addresses answer.
//!
//! Keeps `BODY_MAX` of `crds::intake`, which a pod's annotations have room for.

use crds::intake::{BODY_MAX, Reach, Report};

/// What is left of each reason, in characters, in turn. The intake itself keeps no more than the first.
const REASONS: [usize; 4] = [256, 64, 16, 0];

/// The report, short enough.
pub(super) fn shortened(mut report: Report) -> Report {
    for limit in REASONS {
        report.problem = report.problem.map(|text| cut(&text, REASONS[0]));
        if let Some(backplane) = &mut report.backplane {
            backplane.problem = cut(&backplane.problem, REASONS[0]);
        }
        for reach in report.routes.values_mut().flatten() {
            if let Reach::Fails(reason) = reach {
                *reason = cut(reason, limit);
            }
        }
        if fits(&report) {
            return report;
        }
    }
    report.certificates.clear();
    if !fits(&report) {
        report.routes.clear();
    }
    report
}

fn cut(text: &str, limit: usize) -> String {
    text.chars().take(limit).collect()
}

fn fits(report: &Report) -> bool {
    serde_json::to_vec(report).is_ok_and(|body| body.len() <= BODY_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `count` routes whose `addresses` all fail, each with a reason as long as those of the network are.
    fn report(count: usize, addresses: usize, name: usize) -> Report {
        let reason = "LX0000010000270 at mesh.bank-b.example:7304 does not answer: connection refused ".repeat(3);
        let routes = (0..count).map(|n| (format!("{n:0name$}"), vec![Reach::Fails(reason.clone()); addresses]));
        let certificates = (0..count).map(|n| (format!("{n:0name$}"), vec![Some(1_893_456_000); addresses]));
        Report {
            config_hash: "a1".repeat(32),
            leaf_not_after: "2030-01-01T00:00:00Z".into(),
            problem: Some("tls.crt: ".repeat(1000)),
            routes: routes.collect(),
            certificates: certificates.collect(),
            ..Report::default()
        }
    }

    #[test]
    fn a_thousand_partners_that_are_away_are_told_with_the_beginning_of_each_reason() {
        let told = shortened(report(1000, 1, 20));
        assert!(fits(&told));
        assert_eq!((told.config_hash.len(), told.routes.len(), told.certificates.len()), (64, 1000, 1000));
        let is_told = |reach: &Reach| matches!(reach, Reach::Fails(reason) if reason.starts_with("LX0000010000270"));
        assert!(told.routes.values().flatten().all(is_told));
    }

    #[test]
    fn a_short_report_is_told_as_it_is() {
        let mut short = report(100, 1, 20);
        short.problem = None;
        assert_eq!(shortened(short.clone()), short);
    }

    #[test]
    fn the_most_that_there_can_be_leaves_room_for_the_hash() {
        for (addresses, name) in [(1, 63), (8, 20), (8, 253)] {
            let told = shortened(report(2000, addresses, name));
            assert!(fits(&told) && told.config_hash.len() == 64, "{addresses} {name}");
        }
    }
}

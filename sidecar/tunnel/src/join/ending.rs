//! A certificate's end, as it is told to people (pure). One that a server of ours gave is renewed long before; one of a legacy server
//! cannot be, so somebody has to bring another in time.

use std::time::{Duration, SystemTime};

use mesh_pki::CertificateInfo;

use super::Member;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// So long before its end it is spoken of: whoever looks after the node is back from a holiday by then.
const SOON: Duration = Duration::from_secs(30 * 24 * 3600);

/// What is to be said of the certificate that a node shows in the tunnel, if anything is.
pub(super) fn word(member: &Member, now: SystemTime) -> Option<String> {
    let ends = CertificateInfo::from_pem(&member.join.certificate).ok()?.not_after;
    let remedy = if member.is_legacy() {
        "it cannot be renewed here: get another of the server, and join with it and another folder"
    } else {
        "it was not renewed in time: join anew, with another token and folder"
    };
    match ends.duration_since(now) {
        Ok(left) if left > SOON || !member.is_legacy() => None,
        Ok(left) => Some(format!("the certificate of this node ends in {}: {remedy}", days(left))),
        Err(over) => Some(format!("the certificate of this node ended {} ago: {remedy}", days(over.duration()))),
    }
}

fn days(time: Duration) -> String {
    match time.as_secs() / DAY.as_secs() {
        0 => "less than a day".into(),
        1 => "1 day".into(),
        days => format!("{days} days"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::join::made::legacy_member;

    #[test]
    fn a_legacy_nodes_certificate_is_spoken_of_a_month_before_its_end_and_ours_when_it_is_over() {
        let now = SystemTime::now();
        let node = legacy_member(100 * DAY, now);
        let said = |member: &Member, day: u32| word(member, now + day * DAY + DAY / 2).unwrap_or_default();
        assert_eq!(said(&node, 69), "");
        for (day, text) in [(70, "ends in 29 days"), (98, "ends in 1 day:"), (99, "ends in less than a day")] {
            assert!(said(&node, day).contains(text), "{}", said(&node, day));
        }
        assert!(said(&node, 103).contains("ended 3 days ago: it cannot be renewed"), "{}", said(&node, 103));
        let ours = Member { node: "n7".into(), ..node };
        assert_eq!(said(&ours, 99), "");
        assert!(said(&ours, 100).contains("ended less than a day ago: it was not renewed"), "{}", said(&ours, 100));
    }
}

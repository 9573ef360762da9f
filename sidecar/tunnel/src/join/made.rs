//! Papers for tests.

use std::time::{Duration, SystemTime};

use mesh_pki::{PlaneSubject, PlaneUse, Root};

use super::member::{Member, Papers};

pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);

/// An authority that is older than what it issues.
pub(super) fn authority(now: SystemTime) -> Root {
    let subject = PlaneSubject { organization: None, common_name: "lknm-join-ca@1" };
    Root::generate_plane(subject, 1000 * DAY, now - 100 * DAY).unwrap()
}

/// What it issues for so long from `now` on.
pub(super) fn papers(root: &Root, usage: PlaneUse<'_>, life: Duration, now: SystemTime) -> Papers {
    let subject = PlaneSubject { organization: Some("lknm:join"), common_name: "network-controller-client" };
    let pair = root.issue_plane(subject, usage, life, now).unwrap();
    let authority = root.certificate_pem().to_owned();
    Papers { authority, certificate: pair.chain_pem, key: pair.key.expose().to_owned() }
}

/// A node of a legacy server, whose certificate lives for so long from `now` on.
pub(super) fn legacy_member(life: Duration, now: SystemTime) -> Member {
    Member {
        token: "b52f93d3f0ec4be7".into(),
        node: String::new(),
        tunnel: "203.0.113.7:6441".into(),
        register: String::new(),
        join: papers(&authority(now), PlaneUse::Client(None), life, now),
        registered: Papers::default(),
    }
}

//! What a pod says of itself, before it is believed: bounded, and clean enough to be shown.

use std::collections::HashSet;

use crds::{
    BackplaneStatus, DirectoryStatus, LISTED, TunnelStatus,
    intake::{Reach, Report},
};

/// Routes of one node; the snapshot has no room for more.
const ROUTES: usize = 2000;
/// Addresses of one route, as its schema has it.
const ADDRESSES: usize = 8;
/// The name of a resource.
const NAME: usize = 253;
/// A reason is a sentence.
const TEXT: usize = 256;
/// The bounds of `crds::TunnelStatus`, `crds::DirectoryStatus` and `crds::BackplaneStatus`.
const ID: usize = 32;
const ADDRESS: usize = 15;
const HASH: usize = 64;
const TIME: usize = 64;
const ORIGIN: usize = 255;
const LOST: usize = 300;
const CHECKPOINT: usize = 1024;
const WITNESSES: u8 = 15;
const GATEWAYS: u16 = 1023;
const NODES: u32 = 1_000_000;
const ADDRESSES_TAKEN: u32 = 100_000_000;
/// The largest number that every reader of JSON knows exactly.
const ENTRIES: u64 = (1 << 53) - 1;

/// The report as it is kept, or the rule that it breaks.
pub(crate) fn checked(report: Report) -> Result<Report, &'static str> {
    let Report { config_hash, leaf_not_after, problem, mut routes, certificates, tunnel, directory, backplane } =
        report;
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
    let (tunnel, directory, backplane) =
        (tunnel.map(of_tunnel), directory.map(of_directory), backplane.map(of_backplane));
    let leaf_not_after = ends.to_string();
    Ok(Report { config_hash, leaf_not_after, problem, routes, certificates, tunnel, directory, backplane })
}

/// A status that its schema refuses would keep all of it from being written: so lists and texts are cut to what it takes.
fn of_tunnel(mut tunnel: TunnelStatus) -> TunnelStatus {
    tunnel.peers.truncate(LISTED);
    tunnel.leases.truncate(LISTED);
    tunnel.tokens.truncate(LISTED);
    for peer in &mut tunnel.peers {
        let all = [(&mut peer.name, ID), (&mut peer.address, ADDRESS), (&mut peer.since, TIME)];
        all.into_iter().for_each(|(text, most)| *text = cut(text, most));
    }
    for lease in &mut tunnel.leases {
        (lease.name, lease.address) = (cut(&lease.name, ID), cut(&lease.address, ADDRESS));
    }
    for token in &mut tunnel.tokens {
        (token.id, token.hash) = (cut(&token.id, ID), cut(&token.hash, HASH));
        token.expires = token.expires.take().map(|text| cut(&text, TIME));
    }
    let mut seen = HashSet::new();
    tunnel.peers.retain(|peer| seen.insert(peer.name.clone()));
    let mut seen = HashSet::new();
    tunnel.leases.retain(|lease| seen.insert(lease.name.clone()));
    let mut seen = HashSet::new();
    tunnel.tokens.retain(|token| seen.insert(token.id.clone()));
    let counts = [&mut tunnel.nodes, &mut tunnel.connected, &mut tunnel.tokens_total];
    counts.into_iter().for_each(|count| *count = (*count).min(NODES));
    tunnel.addresses_taken = tunnel.addresses_taken.min(ADDRESSES_TAKEN);
    tunnel
}

fn of_directory(mut directory: DirectoryStatus) -> DirectoryStatus {
    directory.origin = cut(&directory.origin, ORIGIN);
    directory.last_checkpoint = directory.last_checkpoint.map(|text| cut(&text, TIME));
    // What is cut is signed by nobody.
    let is_whole = |text: &String| text.len() <= CHECKPOINT && text.chars().all(|c| c == '\n' || !c.is_control());
    directory.checkpoint = directory.checkpoint.filter(is_whole);
    directory.problem = directory.problem.map(|text| clean(&text));
    directory.lost = directory.lost.map(|text| cut(&text, LOST));
    directory.size = directory.size.min(ENTRIES);
    directory.quorum = directory.quorum.min(WITNESSES);
    directory.witnesses.truncate(WITNESSES.into());
    for witness in &mut directory.witnesses {
        witness.name = cut(&witness.name, ORIGIN);
        witness.problem = clean(&witness.problem);
    }
    let mut seen = HashSet::new();
    directory.witnesses.retain(|witness| seen.insert(witness.name.clone()));
    directory
}

fn of_backplane(mut backplane: BackplaneStatus) -> BackplaneStatus {
    backplane.number = backplane.number.map(|number| number.min(GATEWAYS));
    backplane.others = backplane.others.min(GATEWAYS);
    backplane.problem = clean(&backplane.problem);
    backplane
}

fn clean(text: &str) -> String {
    cut(text, TEXT)
}

fn cut(text: &str, most: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(most).collect()
}

#[cfg(test)]
mod tests {
    use crds::{JoinToken, TunnelLease, TunnelPeer, WitnessStatus};

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
    fn what_is_said_of_the_rooms_fits_the_status_whatever_it_is() {
        let long = "证\n".repeat(1000);
        let peer = |name: &str| TunnelPeer { name: name.to_owned(), address: long.clone(), since: long.clone() };
        let peers = (0..500).map(|n| peer(&format!("n{n}"))).chain([peer("n0")]).rev();
        let lease = TunnelLease { name: long.clone(), address: long.clone(), connected: true };
        let token = JoinToken {
            id: long.clone(),
            hash: long.clone(),
            uses: u32::MAX,
            uses_left: Some(u32::MAX),
            expires: Some(long.clone()),
        };
        let (nodes, connected, addresses_taken, tokens_total) = (u32::MAX, u32::MAX, u32::MAX, u32::MAX);
        let tunnel = TunnelStatus {
            nodes,
            connected,
            addresses_taken,
            exhausted: true,
            peers: peers.collect(),
            leases: vec![lease; 500],
            tokens_total,
            tokens: vec![token; 500],
        };
        let witness = WitnessStatus { name: long.clone(), problem: long.clone(), ..WitnessStatus::default() };
        let directory = DirectoryStatus {
            origin: long.clone(),
            size: u64::MAX,
            last_checkpoint: Some(long.clone()),
            checkpoint: Some(long.clone()),
            problem: Some(long.clone()),
            lost: Some(long.clone()),
            quorum: 255,
            witnesses: vec![witness; 99],
        };
        let backplane =
            Some(BackplaneStatus { number: Some(u16::MAX), others: 2000, problem: long.clone(), ..Default::default() });
        let kept = checked(Report { tunnel: Some(tunnel), directory: Some(directory), backplane, ..report() }).unwrap();
        let backplane = kept.backplane.unwrap();
        assert_eq!((backplane.number, backplane.others, backplane.problem.chars().count()), (Some(1023), 1023, 256));
        let (tunnel, directory) = (kept.tunnel.unwrap(), kept.directory.unwrap());
        let lengths = (tunnel.peers.len(), tunnel.tokens.len(), directory.witnesses.len());
        assert_eq!(lengths, (100, 1, 1), "lists are keyed by name and id");
        assert_eq!(tunnel.leases.len(), 1, "by name too");
        assert_eq!((tunnel.nodes, tunnel.addresses_taken), (NODES, ADDRESSES_TAKEN));
        assert_eq!((directory.size, directory.quorum, &directory.checkpoint), (ENTRIES, 15, &None));
        let (peer, token, witness) = (&tunnel.peers[0], &tunnel.tokens[0], &directory.witnesses[0]);
        for (text, most) in [
            (&peer.address, 15),
            (&peer.since, 64),
            (&tunnel.leases[0].name, 32),
            (&tunnel.leases[0].address, 15),
            (&token.id, 32),
            (&token.hash, 64),
            (token.expires.as_ref().unwrap(), 64),
            (&directory.origin, 255),
            (directory.last_checkpoint.as_ref().unwrap(), 64),
            (directory.problem.as_ref().unwrap(), 256),
            (directory.lost.as_ref().unwrap(), 300),
            (&witness.name, 255),
            (&witness.problem, 256),
        ] {
            assert!(text.chars().count() <= most && !text.contains('\n'), "{text}");
        }
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

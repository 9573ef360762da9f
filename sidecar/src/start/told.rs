//! What a gateway tells its operator of tunnel and directory, and how often: what changes all the time is told every three minutes, what
//! people act on at once. Each report is two writes at the API server.

use std::{
    collections::HashMap,
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crds::{DirectoryStatus, JoinToken, LISTED, TunnelLease, TunnelPeer, TunnelStatus, WitnessState, WitnessStatus};
use jiff::Timestamp;
use mesh_directory::{directory::Directory, entry::Leaf};
use mesh_tunnel::{
    control::Control,
    ledger::{NodeView, TokenRow},
    seam::ConnState,
};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::directory::DirectoryPlace;

/// What people need not know at once they know by then.
const PACE: Duration = Duration::from_secs(180);
/// A witness that starts anew, or whose way breaks for a moment, is not away.
const AWAY_AFTER: Duration = Duration::from_secs(60);

/// What is told of the rooms that a gateway alone serves.
pub(super) struct Told {
    tunnel: Option<Arc<Control>>,
    directory: Arc<DirectoryPlace>,
    last: Mutex<Last>,
}

/// What was told, and what is remembered for it.
#[derive(Default)]
struct Last {
    tunnel: Paced<TunnelStatus>,
    directory: Paced<DirectoryStatus>,
    exhausted: Exhausted,
    failing: HashMap<String, Instant>,
}

impl Told {
    pub(super) fn new(tunnel: Option<Arc<Control>>, directory: Arc<DirectoryPlace>) -> Self {
        Self { tunnel, directory, last: Mutex::default() }
    }

    /// What is to be told now. Reads memory, and of the directory one entry.
    pub(super) fn now(&self) -> (Option<TunnelStatus>, Option<DirectoryStatus>) {
        let (mut last, now) = (self.last.lock(), Instant::now());
        let last = &mut *last;
        let tunnel = self.tunnel.as_ref().map(|control| {
            let exhausted = last.exhausted.look(control.metrics().turned_away(), control.ledger().addresses_taken());
            let fresh = TunnelStatus { exhausted, ..tunnel(control) };
            last.tunnel.next(fresh, |old, new| old.exhausted != new.exhausted, now)
        });
        let directory = match (self.directory.front(), self.directory.problem()) {
            (Some(front), problem) => {
                Some(DirectoryStatus { problem, ..directory(front.directory(), &mut last.failing, now) })
            }
            (None, Some(problem)) => {
                let lost = self.directory.lost();
                Some(DirectoryStatus { problem: Some(problem), lost, ..DirectoryStatus::default() })
            }
            (None, None) => None,
        };
        (tunnel, directory.map(|fresh| last.directory.next(fresh, is_news, now)))
    }
}

/// Whether people are to know it at once.
fn is_news(old: &DirectoryStatus, new: &DirectoryStatus) -> bool {
    let states = |told: &DirectoryStatus| -> Vec<_> {
        told.witnesses.iter().map(|witness| (witness.name.clone(), witness.state)).collect()
    };
    // From the first entry on, and from the first signature for others, no other log may be begun.
    let (begun, before) = (new.checkpoint.is_some(), old.checkpoint.is_some());
    let is_other = (&old.problem, &old.lost, &old.origin) != (&new.problem, &new.lost, &new.origin);
    is_other || begun != before || states(old) != states(new)
}

/// What was told last, and when.
struct Paced<T>(Option<(Instant, T)>);

impl<T> Default for Paced<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Clone> Paced<T> {
    /// `fresh`, where it is news or the last one is old; else the last one.
    fn next(&mut self, fresh: T, is_news: impl FnOnce(&T, &T) -> bool, now: Instant) -> T {
        match &self.0 {
            Some((at, last)) if now.duration_since(*at) < PACE && !is_news(last, &fresh) => last.clone(),
            _ => self.0.insert((now, fresh)).1.clone(),
        }
    }
}

/// Whether a node was sent away for want of an address, and none has become free since.
#[derive(Default)]
struct Exhausted {
    turned_away: u64,
    at: Option<usize>,
}

impl Exhausted {
    fn look(&mut self, turned_away: u64, taken: usize) -> bool {
        if turned_away > self.turned_away {
            (self.turned_away, self.at) = (turned_away, Some(taken));
        }
        self.at = self.at.filter(|at| taken >= *at);
        self.at.is_some()
    }
}

fn tunnel(control: &Control) -> TunnelStatus {
    let ledger = control.ledger();
    let mut live = control.figures();
    live.sort_by_key(|figures| figures.peer);
    let peers = live.iter().take(LISTED).map(|figures| TunnelPeer {
        name: figures.peer.to_string(),
        address: ledger
            .node(figures.peer)
            .and_then(|node| node.row.address)
            .map_or_else(String::new, |ip| ip.to_string()),
        since: rfc3339(figures.since),
    });
    let peers = peers.collect();
    let now = Timestamp::now().as_second();
    let good: Vec<_> = ledger.tokens().into_iter().filter(|(_, row)| row.is_good(now)).collect();
    let nodes = ledger.nodes();
    TunnelStatus {
        nodes: count(nodes.len()),
        connected: count(live.len()),
        addresses_taken: count(ledger.addresses_taken()),
        exhausted: false,
        peers,
        leases: leases(&nodes),
        tokens_total: count(good.len()),
        tokens: good.iter().take(LISTED).map(join_token).collect(),
    }
}

/// Addresses of nodes that are away, then of those that are connected, each in the order in which the nodes joined.
fn leases(nodes: &[NodeView]) -> Vec<TunnelLease> {
    let is_connected = |node: &NodeView| node.state == ConnState::Connected;
    let mut held: Vec<_> = nodes.iter().filter_map(|node| Some((node, node.row.address?))).collect();
    held.sort_by_key(|(node, _)| (is_connected(node), node.peer));
    let lease = |(node, address): (&NodeView, Ipv4Addr)| TunnelLease {
        name: node.peer.to_string(),
        address: address.to_string(),
        connected: is_connected(node),
    };
    held.into_iter().take(LISTED).map(lease).collect()
}

fn join_token((id, row): &(String, TokenRow)) -> JoinToken {
    JoinToken {
        id: id.clone(),
        hash: row.secret.clone(),
        uses: row.uses,
        uses_left: row.max_uses.map(|most| most.saturating_sub(row.uses)),
        expires: row.expires.and_then(|at| Timestamp::from_second(at).ok()).map(|at| at.to_string()),
    }
}

fn directory(directory: &Directory, failing: &mut HashMap<String, Instant>, now: Instant) -> DirectoryStatus {
    let published = directory.view().published();
    let size = published.size;
    let mut told = DirectoryStatus {
        origin: directory.log_key().name().as_str().to_owned(),
        size,
        checkpoint: (!directory.is_unknown()).then(|| published.note.encode()),
        last_checkpoint: last_entry(directory, size),
        ..DirectoryStatus::default()
    };
    if let Some(cosigned) = directory.cosigned() {
        let cosigned = cosigned.lock();
        told.quorum = u8::try_from(cosigned.quorum()).unwrap_or(u8::MAX);
        let standings = cosigned.members().map(|(member, standing)| {
            let name = member.verifier.name().as_str().to_owned();
            (name, standing.problem.clone(), standing.size.is_some())
        });
        told.witnesses = witnesses(standings, failing, now);
    }
    told
}

/// What each witness did last: its name, why it did not sign, and whether it ever did.
fn witnesses(
    standings: impl Iterator<Item = (String, Option<String>, bool)>,
    failing: &mut HashMap<String, Instant>,
    now: Instant,
) -> Vec<WitnessStatus> {
    let of = |(name, problem, signed): (String, Option<String>, bool)| {
        let Some(problem) = problem else {
            failing.remove(&name);
            let state = if signed { WitnessState::Signs } else { WitnessState::Unknown };
            return WitnessStatus { name, state, problem: String::new() };
        };
        let since = *failing.entry(name.clone()).or_insert(now);
        match (now.duration_since(since) >= AWAY_AFTER, signed) {
            (true, _) => WitnessStatus { name, state: WitnessState::Fails, problem },
            (false, true) => WitnessStatus { name, state: WitnessState::Signs, problem: String::new() },
            (false, false) => WitnessStatus { name, state: WitnessState::Unknown, problem: String::new() },
        }
    };
    standings.map(of).collect()
}

/// When the last entry of the checkpoint was signed.
fn last_entry(directory: &Directory, size: u64) -> Option<String> {
    let leaf = directory.store().leaf(size.checked_sub(1)?).ok()??;
    let time = i64::try_from(Leaf::read(&leaf).ok()?.entry.time / 1000).ok()?;
    Timestamp::from_second(time).ok().map(|at| at.to_string())
}

fn rfc3339(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    i64::try_from(seconds)
        .ok()
        .and_then(|at| Timestamp::from_second(at).ok())
        .map_or_else(String::new, |at| at.to_string())
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use mesh_tunnel::{ledger::NodeRow, seam::PeerId};

    use super::*;

    fn node(number: u64, address: Option<[u8; 4]>, state: ConnState) -> NodeView {
        let row = NodeRow { address: address.map(Ipv4Addr::from), ..NodeRow::default() };
        NodeView { peer: PeerId(number), state, seen: None, certificate_ends: None, row, labels: Arc::default() }
    }

    #[test]
    fn leases_are_told_of_who_has_one_and_first_of_who_is_away() {
        let nodes = [
            node(1, Some([10, 1, 1, 3]), ConnState::Connected),
            node(2, None, ConnState::Idle),
            node(3, Some([10, 1, 1, 5]), ConnState::Idle),
        ];
        let told: Vec<_> = leases(&nodes).into_iter().map(|of| (of.name, of.address, of.connected)).collect();
        assert_eq!(told, [("n3".into(), "10.1.1.5".into(), false), ("n1".into(), "10.1.1.3".into(), true)]);
        let many: Vec<_> = (0..500).map(|n| node(n, Some([10, 1, 1, 3]), ConnState::Idle)).collect();
        assert_eq!(leases(&many).len(), LISTED);
    }

    #[test]
    fn of_a_token_its_hash_its_uses_and_its_end_are_told() {
        let row =
            TokenRow { secret: "9e0c".into(), uses: 3, max_uses: Some(5), expires: Some(0), ..TokenRow::default() };
        let token = join_token(&("5f2c9a01".into(), row.clone()));
        assert_eq!((token.id.as_str(), token.hash.as_str(), token.uses), ("5f2c9a01", "9e0c", 3));
        assert_eq!((token.uses_left, token.expires.as_deref()), (Some(2), Some("1970-01-01T00:00:00Z")));
        let endless = join_token(&("5f2c9a01".into(), TokenRow { max_uses: None, expires: None, ..row }));
        assert_eq!((endless.uses, endless.uses_left, endless.expires), (3, None, None));
    }

    /// A directory that is written to all day, or a network whose nodes come and go, would be a write a second at the API server.
    #[test]
    fn what_changes_all_the_time_is_told_every_three_minutes_and_news_at_once() {
        let (start, of) = (Instant::now(), |size: u64, problem: Option<&str>| DirectoryStatus {
            size,
            problem: problem.map(str::to_owned),
            ..DirectoryStatus::default()
        });
        let mut paced = Paced::default();
        let mut told = |size, problem, seconds| {
            let now = start + Duration::from_secs(seconds);
            let told = paced.next(of(size, problem), is_news, now);
            (told.size, told.problem.is_some())
        };
        assert_eq!(told(1, None, 0), (1, false));
        assert_eq!(told(2, None, 179), (1, false));
        assert_eq!(told(3, Some("gone"), 179), (3, true));
        assert_eq!(told(4, Some("gone"), 358), (3, true));
        assert_eq!(told(5, Some("gone"), 359), (5, true));
    }

    #[test]
    fn addresses_are_exhausted_from_the_first_node_that_is_sent_away_until_one_is_free() {
        let mut exhausted = Exhausted::default();
        assert!(!exhausted.look(0, 126), "all are taken, and nobody wants one");
        assert!(exhausted.look(1, 126));
        assert!(exhausted.look(1, 126));
        assert!(!exhausted.look(1, 125));
        assert!(!exhausted.look(1, 126), "somebody else has it now");
        assert!(exhausted.look(2, 126));
    }

    #[test]
    fn a_witness_is_away_when_it_has_not_signed_for_a_minute() {
        let (start, mut failing) = (Instant::now(), HashMap::new());
        let mut state = |problem: Option<&str>, signed, seconds| {
            let standing = ("w".to_owned(), problem.map(str::to_owned), signed);
            witnesses([standing].into_iter(), &mut failing, start + Duration::from_secs(seconds))[0].state
        };
        assert_eq!(state(None, false, 0), WitnessState::Unknown);
        assert_eq!(state(Some("refused"), false, 0), WitnessState::Unknown);
        assert_eq!(state(Some("refused"), true, 59), WitnessState::Signs);
        assert_eq!(state(Some("refused"), true, 60), WitnessState::Fails);
        assert_eq!(state(None, true, 61), WitnessState::Signs);
        assert_eq!(state(Some("refused"), true, 62), WitnessState::Signs, "it is counted anew");
    }
}

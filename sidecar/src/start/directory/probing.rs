//! Asks whether the endpoints of central systems accept a connection (Datanet section 7), so that searches name those first (D-9).
//!
//! A connection and nothing else: not a byte is said. It goes straight there, and neither to this machine nor to link-local addresses or
//! metadata services, unless the configuration names the host: who may write in the directory may not thereby look around here.

mod due;

use std::{
    collections::HashSet,
    iter,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use mesh_directory::{directory::Directory, health::target, state::State};
use mesh_network::dial::{Given, Patience, Resolver, Unopened, is_loopback, open_first};
use tokio::{
    sync::watch,
    time::{self, sleep, timeout},
};

use self::due::Due;

/// How old an answer may be: searches are about where to ask, and whoever asks finds out itself.
const PERIOD: Duration = Duration::from_secs(60);

/// The least time from one look at the list to the next, while others write.
const PACE: Duration = Duration::from_secs(5);

/// The most time: what was found holds for no more than this longer.
const LOOK: Duration = Duration::from_secs(15);

/// Endpoints that are asked at the same time.
const AT_ONCE: usize = 64;

/// A machine that starts anew, or a packet that is lost, is asked once more after that.
const AGAIN: Duration = Duration::from_secs(1);

/// Of name servers.
const RESOLVE: Duration = Duration::from_secs(5);

/// Until a connection is accepted; nothing is ever sent on it.
const PATIENCE: Patience = Patience { connect: Duration::from_secs(2), acknowledge: Duration::from_secs(30) };

/// A name with more addresses than this is a balancer of its own.
const MOST_ADDRESSES: usize = 8;

/// Asks until the directory closes; hosts in `allowed` wherever they lead.
pub(super) async fn run(directory: Arc<Directory>, allowed: Vec<String>) {
    let closing = Arc::clone(&directory);
    let prober = Prober { resolver: Resolver::default(), allowed };
    let prober = &prober;
    let ask = |endpoint: String| async move { prober.reaches(&endpoint).await };
    tokio::select! {
        () = closing.closing() => {}
        () = rounds(&directory, ask) => {}
    }
}

/// Asks [`AT_ONCE`] at a time, each as soon as there is a place for it: one that is silent holds up nobody else.
async fn rounds<F: Future<Output = Result<(), String>>>(directory: &Directory, ask: impl Fn(String) -> F) {
    let (mut changes, mut due, mut asking) = (directory.view().changes(), Due::default(), FuturesUnordered::new());
    let mut looked = look(directory, &mut changes, &mut due);
    loop {
        while asking.len() < AT_ONCE {
            let Some(target) = due.next() else { break };
            let answer = ask(target.1.clone());
            asking.push(async move { (target, answer.await) });
        }
        tokio::select! {
            Some(first) = asking.next() => {
                // The list is made anew each time: with all that is there by now.
                let others = iter::from_fn(|| asking.next().now_or_never().flatten());
                let all: Vec<_> = iter::once(first).chain(others).collect();
                let counts = all.into_iter().filter(|(target, _)| due.answered(target, Instant::now()));
                directory.health().found(counts.map(|((id, _), found)| (id, found)));
            }
            () = until_next_look(&mut changes, looked) => looked = look(directory, &mut changes, &mut due),
        }
    }
}

/// Takes in who is there.
fn look(directory: &Directory, changes: &mut watch::Receiver<u64>, due: &mut Due) -> time::Instant {
    changes.mark_unchanged();
    let there = directory.view().read(State::endpoints);
    let ids: HashSet<&str> = there.iter().map(|(id, _)| id.as_str()).collect();
    directory.health().keep(|id| ids.contains(id));
    due.look(there, Instant::now(), PERIOD);
    time::Instant::now()
}

/// Somebody wrote, or those that were asked may be due again. It may be given up and begun anew.
async fn until_next_look(changes: &mut watch::Receiver<u64>, looked: time::Instant) {
    time::sleep_until(looked + PACE).await;
    let _ = time::timeout_at(looked + LOOK, changes.changed()).await;
}

/// Asks endpoints.
struct Prober {
    resolver: Resolver,
    allowed: Vec<String>,
}

impl Prober {
    /// Nobody knows where a URL without a port leads whose scheme is not known: that is not held against it.
    async fn reaches(&self, endpoint: &str) -> Result<(), String> {
        let Some((host, port)) = target(endpoint) else { return Ok(()) };
        if self.once(host, port).await.is_ok() {
            return Ok(());
        }
        sleep(AGAIN).await;
        self.once(host, port).await
    }

    async fn once(&self, host: &str, port: u16) -> Result<(), String> {
        let found = timeout(RESOLVE, self.resolver.resolve(host)).await;
        let ips = found.unwrap_or_else(|_| Err("its name servers do not answer".to_owned()))?;
        let is_allowed = self.allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(host));
        let given = if is_allowed { Given::ByOperator } else { Given::ByApi };
        let may_be_asked = |ip: &IpAddr| is_allowed || !is_loopback(*ip);
        let ips: Vec<IpAddr> = ips.into_iter().filter(may_be_asked).take(MOST_ADDRESSES).collect();
        // It may be this node itself: that says that it is there.
        let opened = open_first(ips, port, &[], given, PATIENCE).await;
        opened.map(drop).map_err(|last| match last {
            None => "it leads to nothing but this machine: directory.probeAllow may allow that".to_owned(),
            Some((at, Unopened::Forbidden(rule))) => format!("{at} is not asked: {rule}"),
            Some((at, Unopened::Refused(reason))) => format!("{at}: {reason}"),
            Some((at, Unopened::Silent)) => {
                format!("{at} accepts no connection within {} s", PATIENCE.connect.as_secs())
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use mesh_directory::{
        ledger::{By, Submission},
        state::{Act, Connect, Guard},
    };
    use serde_json::json;
    use tokio::net::TcpListener;

    use super::{
        super::{Given as GivenKeys, now, open},
        *,
    };

    fn prober(allowed: &[&str]) -> Prober {
        Prober { resolver: Resolver::default(), allowed: allowed.iter().copied().map(str::to_owned).collect() }
    }

    /// Contract section 8: loopback and metadata-service addresses when probing.
    #[tokio::test]
    async fn nobody_has_this_machine_or_a_metadata_service_asked_unless_it_is_allowed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for (host, why) in [
            ("127.0.0.1", "this machine"),
            ("127.9.9.9", "this machine"),
            ("localhost", "this machine"),
            ("::1", "this machine"),
            ("::ffff:127.0.0.1", "this machine"),
            ("64:ff9b::127.0.0.1", "this machine"),
            ("64:ff9b:1::127.0.0.1", "this machine"),
            ("2002:7f00:1::", "this machine"),
            ("::127.0.0.1", "this machine"),
            ("0.0.0.0", "is not asked"),
            ("169.254.169.254", "link-local"),
            ("fe80::1", "link-local"),
            ("100.100.100.200", "metadata"),
            ("fd00:ec2::254", "metadata"),
            ("64:ff9b::a9fe:a9fe", "link-local"),
            ("64:ff9b:1::a9fe:a9fe", "link-local"),
        ] {
            let said = prober(&["other.example"]).once(host, port).await.unwrap_err();
            assert!(said.contains(why), "{host}: {said}");
        }
        // Whoever was dialled would stand in the queue.
        assert!(timeout(Duration::from_millis(50), listener.accept()).await.is_err());
        assert_eq!(prober(&["127.0.0.1"]).once("127.0.0.1", port).await, Ok(()));
        assert_eq!(prober(&["LocalHost"]).reaches(&format!("http://localhost:{port}/a")).await, Ok(()));
    }

    #[tokio::test]
    async fn what_accepts_no_connection_is_not_reached_and_an_unknown_scheme_is_not_judged() {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let prober = prober(&["127.0.0.1"]);
        assert!(prober.reaches(&format!("127.0.0.1:{port}")).await.is_err());
        assert_eq!(prober.reaches("odps://127.0.0.1").await, Ok(()));
    }

    /// More than are asked at once, most of which keep silent: a round was as slow as its slowest.
    #[tokio::test]
    async fn who_is_silent_holds_up_nobody_for_whom_there_is_a_place() {
        let home = tempfile::tempdir().unwrap();
        let directory = open(home.path(), &crds::Directory::default(), "LX1", GivenKeys::default()).unwrap();
        let connect = async |n: usize, endpoint: &str| {
            let (csid, endpoint) = (format!("cs{n}"), endpoint.to_owned());
            let body = json!({"id": csid, "endpoint": endpoint});
            let act = Act::Connect(Connect { endpoint, desc: None, ttl: None });
            let write = Submission { csid, act, guard: Guard::default(), body, by: By::Token };
            directory.submit(write, now()).await.unwrap();
        };
        for n in 0..AT_ONCE - 1 {
            connect(n, "silent:1").await;
        }
        for n in AT_ONCE..AT_ONCE + 20 {
            connect(n, "away:1").await;
        }
        let ask = |endpoint: String| async move {
            match endpoint.as_str() {
                "silent:1" => std::future::pending().await,
                _ => Err("refused".to_owned()),
            }
        };
        let until = async |count: usize| {
            while directory.health().unreached().len() < count {
                sleep(Duration::from_millis(10)).await;
            }
        };
        let seen = async {
            until(20).await;
            connect(1000, "new:1").await;
            until(21).await;
        };
        tokio::select! {
            () = rounds(&directory, ask) => {}
            () = async { timeout(Duration::from_secs(120), seen).await.unwrap() } => {}
        }
    }
}

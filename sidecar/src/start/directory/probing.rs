//! Asks whether the endpoints of central systems accept a connection (Datanet section 7), so that searches name those first (D-9).
//!
//! A connection and nothing else: not a byte is said. It goes straight there, and neither to this machine nor to link-local addresses or
//! metadata services, unless the configuration names the host: who may write in the directory may not thereby look around here.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use mesh_directory::{directory::Directory, health::target, state::State};
use mesh_network::dial::{Given, Patience, Resolver, Unopened, open_first};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

/// How old an answer may be: searches are about where to ask, and whoever asks finds out itself.
const PERIOD: Duration = Duration::from_secs(60);

/// The least time from one look at the list to the next, while others write.
const PACE: Duration = Duration::from_secs(5);

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
    let prober = Arc::new(Prober { resolver: Resolver::default(), allowed });
    tokio::select! {
        () = closing.closing() => {}
        () = rounds(&directory, &prober) => {}
    }
}

/// What was asked, and when.
struct Asked {
    endpoint: String,
    at: Instant,
}

async fn rounds(directory: &Directory, prober: &Arc<Prober>) {
    let mut changes = directory.view().changes();
    let mut asked: HashMap<String, Asked> = HashMap::new();
    loop {
        changes.mark_unchanged();
        let there: HashMap<String, String> = directory.view().read(State::endpoints).into_iter().collect();
        asked.retain(|id, _| there.contains_key(id));
        directory.health().keep(|id| there.contains_key(id));
        let is_asked = |id: &String, endpoint: &String| {
            asked.get(id).is_some_and(|asked| asked.endpoint == *endpoint && asked.at.elapsed() < PERIOD)
        };
        let due: Vec<_> = there.into_iter().filter(|(id, endpoint)| !is_asked(id, endpoint)).collect();
        for some in due.chunks(AT_ONCE) {
            directory.health().found(prober.ask(some).await);
            let at = Instant::now();
            asked.extend(some.iter().map(|(id, endpoint)| (id.clone(), Asked { endpoint: endpoint.clone(), at })));
        }
        sleep(PACE).await;
        // Whether something was written or not: those that were asked are asked again.
        let _ = timeout(PERIOD, changes.changed()).await;
    }
}

/// Asks endpoints.
struct Prober {
    resolver: Resolver,
    allowed: Vec<String>,
}

impl Prober {
    /// Asks all of these at the same time: by their ids, that they accepted a connection, or why not.
    async fn ask(self: &Arc<Self>, some: &[(String, String)]) -> Vec<(String, Result<(), String>)> {
        let mut asking = JoinSet::new();
        for (id, endpoint) in some {
            let (prober, id, endpoint) = (Arc::clone(self), id.clone(), endpoint.clone());
            asking.spawn(async move {
                let found = prober.reaches(&endpoint).await;
                (id, found)
            });
        }
        asking.join_all().await
    }

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
        let may_be_asked = |ip: &IpAddr| is_allowed || !ip.to_canonical().is_loopback();
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
    use tokio::net::TcpListener;

    use super::*;

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
            ("0.0.0.0", "is not asked"),
            ("169.254.169.254", "link-local"),
            ("fe80::1", "link-local"),
            ("100.100.100.200", "metadata"),
            ("fd00:ec2::254", "metadata"),
            ("64:ff9b::a9fe:a9fe", "link-local"),
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
}

//! A connection to the servers, as the settings say.

use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, jetstream};
use crds::{BackplaneSecrets, NatsStorage};
use tokio::sync::mpsc;

use super::tls;
use crate::{BackplaneError, names::Names};

/// The oldest servers that answer as we ask: 2.9 gives other answers about its streams.
const OLDEST: (i64, i64) = (2, 10);
/// What the servers answer at least within: they are a millisecond away, or they are away.
pub(crate) const ANSWER: Duration = Duration::from_secs(5);
/// The longest time between two tries to reach them.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Messages of a subscription that wait until they are read: what comes beyond is lost, and noticed. Each is of 1 MiB at most as
/// servers come, and whoever reads has room of its own; but all that one read of the socket brings is put there before anybody reads.
const UNREAD: usize = 2048;
/// What is read of the socket at once: of packets of some 90 bytes, a tenth of [`UNREAD`].
const READ: u16 = 16 << 10;

/// How the servers are reached, and what is kept there.
#[derive(Clone, Default)]
pub struct Settings {
    /// One server or several, with commas between.
    pub url: String,
    /// The text of a credentials file, or `user:password`, or a token.
    pub credentials: Option<String>,
    /// TLS, whatever the URL says; `None`: where the URL says so, by the machine's roots.
    pub tls: Option<Tls>,
    /// The JetStream domain; empty: none.
    pub domain: String,
    /// How many servers keep what is kept: 1, 3 or 5.
    pub replicas: usize,
    /// Where they keep it.
    pub storage: NatsStorage,
    /// What the stream with the sessions' records may hold, in bytes; `None`: as much as the servers allow.
    pub max_bytes: Option<u64>,
    /// Where the other gateways reach this one, as host:port; empty: nowhere.
    pub address: String,
}

/// How the servers are known, and what they see.
#[derive(Clone, Default)]
pub struct Tls {
    /// The roots that the servers' certificates chain to, as PEM; `None`: the machine's.
    pub roots: Option<String>,
    /// A chain and its key for the servers, as PEM.
    pub pair: Option<(String, String)>,
    /// The name that the servers' certificates carry; empty: each its host in the URL.
    pub server_name: String,
}

impl Settings {
    /// What the configuration says, with what its references lead to.
    #[must_use]
    pub fn of(nats: &crds::Nats, secrets: &BackplaneSecrets) -> Self {
        let BackplaneSecrets { credentials, roots, pair } = secrets.clone();
        Self {
            url: nats.url.clone(),
            credentials,
            tls: nats.tls.as_ref().map(|tls| Tls { roots, pair, server_name: tls.server_name.clone() }),
            domain: nats.jetstream_domain.clone(),
            replicas: nats.replicas.into(),
            storage: nats.storage,
            max_bytes: nats.max_bytes.map(|bytes| bytes.0),
            address: String::new(),
        }
    }
}

impl std::fmt::Debug for Settings {
    /// Without what is secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("domain", &self.domain)
            .field("replicas", &self.replicas)
            .finish_non_exhaustive()
    }
}

/// Connects; what happens to the connection later goes to `events`.
pub(crate) async fn connect(
    settings: &Settings,
    (name, names): (&str, &Names),
    events: mpsc::UnboundedSender<Event>,
) -> Result<Client, BackplaneError> {
    let servers: Vec<&str> = settings.url.split(',').collect();
    let mut options = ConnectOptions::new()
        .name(format!("interconn {name}"))
        .custom_inbox_prefix(names.answers())
        .connection_timeout(ANSWER)
        .request_timeout(Some(ANSWER))
        .subscription_capacity(UNREAD)
        .read_buffer_capacity(READ)
        .reconnect_delay_callback(|tries| LONGEST_PAUSE.min(Duration::from_millis(50 << tries.min(6))))
        .event_callback(move |event| {
            // Whoever listened has ended.
            let _ = events.send(event);
            async {}
        });
    if let Some(credentials) = &settings.credentials {
        options = with_credentials(options, credentials.trim())?;
    }
    if let Some(tls) = &settings.tls {
        options = options.tls_client_config(tls::client(tls)?).require_tls(true);
    } else if settings.url.contains("tls://") {
        options = options.tls_client_config(tls::client(&Tls::default())?);
    }
    let client = options.connect(servers).await.map_err(BackplaneError::away)?;
    let (major, minor) = OLDEST;
    if !client.is_server_compatible(major, minor, 0) {
        let version = client.server_info().version;
        return Err(BackplaneError::away(format!(
            "nats-server {version} is too old: {major}.{minor} or later is needed"
        )));
    }
    Ok(client)
}

/// What is kept at the servers.
pub(crate) fn jetstream(client: Client, settings: &Settings) -> jetstream::Context {
    if settings.domain.is_empty() { jetstream::new(client) } else { jetstream::with_domain(client, &settings.domain) }
}

/// Three forms that people have: a file of the NATS tools, a name and a password, a token.
fn with_credentials(options: ConnectOptions, text: &str) -> Result<ConnectOptions, BackplaneError> {
    if text.contains("-----BEGIN") {
        let read = options.credentials(text);
        return read.map_err(|_| BackplaneError::Settings("the credentials are no file of NATS".into()));
    }
    Ok(match text.split_once(':') {
        Some((user, password)) => options.user_and_password(user.into(), password.into()),
        None => options.token(text.into()),
    })
}

//! Weaves of parties that no route knows: they wait here until somebody of this node says yes (PTP section 11.3).
//!
//! [`Waiting`] is the pure list with its bounds; [`Pending`] keeps it on disk. A stranger can fill the list, and nothing else:
//! what is in it carries no data, is dialled by nobody, and goes by itself.

use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use mesh_core::{
    NodeId,
    config::ApiRoute,
    store::{Store, StoreError},
};
use mesh_pki::{CertificateInfo, Pair, PrivateKeyPem, parse_certificates};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{ControlError, window::Window};

/// The table of the store, by node id in lower case.
const TABLE: &str = "weaves";
/// Weaves that wait at once: more partners than anybody adds in a week.
const MOST: usize = 256;
/// A weave that nobody answered for so long was meant for somebody else.
const LIFE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Weaves that are taken in one [`Window`]: each is a write to disk that a stranger can ask for.
const MOST_IN_WINDOW: u32 = 30;

/// What a stranger says of itself and gives us.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Weave {
    pub(super) node_id: String,
    pub(super) inst_id: String,
    pub(super) name: String,
    pub(super) address: String,
    pub(super) auth_code: String,
    /// The root that its certificates end in, PEM; may be empty.
    pub(super) root: String,
    /// The pair that it issued for us, PEM; both or neither.
    pub(super) certificate: String,
    pub(super) key: String,
    /// When it came, milliseconds since 1970.
    pub(super) at: u64,
}

/// The weaves that wait.
#[derive(Debug, Default)]
struct Waiting {
    all: BTreeMap<String, Weave>,
    window: Window,
}

/// The weaves that wait, and the store that keeps them.
pub(super) struct Pending {
    store: Arc<Store>,
    waiting: Mutex<Waiting>,
}

impl Weave {
    /// A refresh of our own that names the very root is a consent too: the pair goes into the route. One that does not name it
    /// says nothing of whoever waits.
    pub(super) fn settles(&self, route: &mut ApiRoute) -> bool {
        if self.root.is_empty() || !self.is_under(&route.config.roots) {
            return false;
        }
        if route.client_pair.is_none() {
            self.give_pair(route);
        }
        true
    }

    /// Whether a route trusts all that this party is to be trusted by: a text may hold several certificates.
    pub(super) fn is_under(&self, roots: &[String]) -> bool {
        let known: Vec<String> = roots.iter().flat_map(|pem| fingerprints(pem)).collect();
        self.fingerprints().iter().all(|root| known.contains(root))
    }

    /// What people compare: the SHA-256 of each certificate that this party is to be trusted by.
    pub(super) fn fingerprints(&self) -> Vec<String> {
        fingerprints(&self.root)
    }

    /// The pair that it issued for this node.
    pub(super) fn pair(&self) -> Option<Pair> {
        let key = || PrivateKeyPem::new(self.key.clone());
        (!self.certificate.is_empty()).then(|| Pair { chain_pem: self.certificate.clone(), key: key() })
    }

    /// Its pair is what the partner of the route is shown from now on.
    pub(super) fn give_pair(&self, route: &mut ApiRoute) {
        if let Some(pair) = self.pair() {
            (route.client_pair, route.config.client_pair) = (Some(pair), true);
        }
    }
}

impl Waiting {
    /// Takes a weave in; `false` when the same waits already.
    fn take(&mut self, weave: Weave, now: SystemTime) -> Result<bool, ControlError> {
        self.all.retain(|_, old| !is_over(old, now));
        let key = key(&weave.node_id);
        if let Some(old) = self.all.get(&key) {
            // Whoever came first is not pushed aside by somebody else of that name.
            if old.root.trim() != weave.root.trim() {
                return Err(ControlError::OtherWeave { node: weave.node_id });
            }
            if is_same(old, &weave) {
                return Ok(false);
            }
        } else if self.all.len() >= MOST {
            return Err(ControlError::TooManyWeaves);
        }
        if !self.window.take(MOST_IN_WINDOW, now) {
            return Err(ControlError::TooManyWeaves);
        }
        self.all.insert(key, weave);
        Ok(true)
    }
}

impl Pending {
    /// What the store kept.
    pub(super) fn open(store: Arc<Store>) -> Self {
        let kept = store.all::<Weave>(TABLE).unwrap_or_else(|e| {
            tracing::error!("the weaves that wait cannot be read, and are left alone: {e}");
            Vec::new()
        });
        let waiting = Waiting { all: kept.into_iter().collect(), ..Waiting::default() };
        Self { store, waiting: Mutex::new(waiting) }
    }

    /// Takes a weave in; it is on disk when this returns.
    pub(super) async fn take(&self, weave: Weave, now: SystemTime) -> Result<(), ControlError> {
        let key = key(&weave.node_id);
        let is_news = self.waiting.lock().take(weave.clone(), now)?;
        if !is_news {
            return Ok(());
        }
        let kept = self.store.run({
            let key = key.clone();
            move |store| store.put(TABLE, &key, &weave)
        });
        kept.await.map_err(|e| {
            self.waiting.lock().all.remove(&key);
            not_kept(&e)
        })
    }

    /// The weave of a node, if one waits.
    pub(super) fn of(&self, node: &NodeId, now: SystemTime) -> Option<Weave> {
        self.waiting.lock().all.get(&node.folded()).filter(|weave| !is_over(weave, now)).cloned()
    }

    /// All that wait.
    pub(super) fn all(&self, now: SystemTime) -> Vec<Weave> {
        self.waiting.lock().all.values().filter(|weave| !is_over(weave, now)).cloned().collect()
    }

    /// Forgets the weave of a node: it was answered.
    pub(super) async fn forget(&self, node: &NodeId) -> Result<(), ControlError> {
        let key = node.folded();
        if self.waiting.lock().all.remove(&key).is_none() {
            return Ok(());
        }
        self.store.run(move |store| store.remove(TABLE, &key)).await.map_err(|e| not_kept(&e))
    }
}

fn not_kept(error: &StoreError) -> ControlError {
    ControlError::NotKept { reason: error.to_string() }
}

fn fingerprints(pem: &str) -> Vec<String> {
    let all = parse_certificates(pem).unwrap_or_default();
    all.iter().filter_map(|der| CertificateInfo::from_der(der).ok()).map(|info| info.sha256).collect()
}

fn key(node_id: &str) -> String {
    node_id.to_ascii_lowercase()
}

fn is_over(weave: &Weave, now: SystemTime) -> bool {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.saturating_sub(Duration::from_millis(weave.at)) > LIFE
}

fn is_same(one: &Weave, other: &Weave) -> bool {
    Weave { at: 0, ..one.clone() } == Weave { at: 0, ..other.clone() }
}

impl fmt::Debug for Weave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Weave({})", self.node_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weave(node_id: &str, root: &str, at: SystemTime) -> Weave {
        let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let at = u64::try_from(since.as_millis()).unwrap();
        let text = String::new;
        Weave {
            node_id: node_id.into(),
            inst_id: text(),
            name: text(),
            address: text(),
            auth_code: "x".into(),
            root: root.into(),
            certificate: text(),
            key: text(),
            at,
        }
    }

    #[test]
    fn a_flood_is_bounded_in_number_and_in_time_and_goes_by_itself() {
        let (mut waiting, start) = (Waiting::default(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let mut taken = 0;
        for i in 0..100_000_u32 {
            let now = start + Duration::from_millis(i.into());
            taken += u32::from(waiting.take(weave(&format!("N{i}"), "", now), now).is_ok());
        }
        assert_eq!(taken, 256, "thirty in ten seconds, until the list is full");
        let later = start + LIFE + Duration::from_secs(200);
        assert_eq!(waiting.take(weave("LX1", "", later), later), Ok(true), "what nobody answered has gone");
        assert_eq!(waiting.all.len(), 1);
    }

    #[test]
    fn who_came_first_is_not_pushed_aside() {
        let (mut waiting, now) = (Waiting::default(), SystemTime::now());
        assert_eq!(waiting.take(weave("LX1", "root", now), now), Ok(true));
        assert_eq!(waiting.take(weave("lx1", "other", now), now).unwrap_err().to_string(), {
            let error = ControlError::OtherWeave { node: "lx1".into() };
            error.to_string()
        });
        assert_eq!(waiting.take(weave("LX1", "root ", now), now), Ok(true), "it may say something new");
        assert_eq!(waiting.take(weave("LX1", "root ", now), now), Ok(false), "the same again is no news");
    }
}

//! Whether a gateway that did not answer is gone. Its silence tells after [`SILENCE`]; sooner tells that no server of NATS has anybody
//! who hears for it. A server that is started again has nobody for a moment either, so that must last.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use async_nats::client::RequestErrorKind;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::{sleep, timeout};

use super::sessions::Inner;
use crate::member::SILENCE;

/// For so long nobody hears for a gateway that is gone: gateways are back at a server that was started again within two seconds.
const UNHEARD: Duration = Duration::from_millis(2500);
/// How often that is asked.
const ASKED: Duration = Duration::from_millis(250);

/// Gateways that are known to be gone before their silence is over, and since when, by their lives.
#[derive(Debug, Default)]
pub(super) struct Missed(Mutex<HashMap<u64, Instant>>);

impl Missed {
    /// Whether the gateway in this life is known to be gone. By and by its silence says so, or it is back.
    pub(super) fn has(&self, life: u64) -> bool {
        self.0.lock().get(&life).is_some_and(|since| since.elapsed() < SILENCE)
    }

    fn add(&self, life: u64) {
        let mut missed = self.0.lock();
        missed.retain(|_, since| since.elapsed() < SILENCE);
        missed.insert(life, Instant::now());
    }
}

impl Inner {
    /// Whether a gateway is gone.
    pub(super) async fn is_gone(&self, number: u16, life: u64) -> bool {
        if !self.is_there(number, life) {
            return true;
        }
        let start = Instant::now();
        while start.elapsed() < UNHEARD {
            if self.is_heard_for(life).await {
                return false;
            }
            sleep(ASKED).await;
        }
        tracing::info!(number, "another gateway answers no call, and no server of NATS hears it: it is gone");
        self.missed.add(life);
        true
    }

    /// Whether somebody hears for a gateway, or nobody knows.
    async fn is_heard_for(&self, life: u64) -> bool {
        // It answers no question of this kind: silence means that it was delivered.
        let client = self.shelf.client();
        let asked = client.request(self.shelf.names.inbox(life), Bytes::new());
        !matches!(timeout(ASKED, asked).await, Ok(Err(e)) if e.kind() == RequestErrorKind::NoResponders)
    }
}

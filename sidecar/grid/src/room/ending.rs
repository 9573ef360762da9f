//! The orderly end (G-25): nobody is accepted, clients are told one by one over some time to come again, so that they do not come
//! back together; backends stay until all clients have gone, for they are to hear of that, and go last.

use std::{sync::Arc, time::Duration};

use mesh_core::Drained;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::{Instant, sleep, sleep_until};

use super::Room;
use crate::{
    clients::Client,
    wire::{Close, CloseCode},
};

/// Over this time clients are told to go at most: half of what the process waits for calls under way by default. Where it waits for
/// less it is half of that, so that all have been told, and have had their time to answer, before it is over.
const SPREAD: Duration = Duration::from_secs(10);
/// What each client adds to that time: a hundred a second come back, elsewhere or here, until a thousand fill the whole of it. One
/// alone is not kept waiting.
const EACH: Duration = Duration::from_millis(10);
/// How often it is looked whether clients have gone. Each has two seconds to answer the close.
const LOOK: Duration = Duration::from_millis(20);

/// Waits for the end, and carries it out.
pub(super) async fn run(room: Arc<Room>) {
    let asked: Drained = room.drained.clone();
    asked.asked().await;
    let clients = room.grid.clients.list(None, usize::MAX);
    if !clients.is_empty() {
        let spread = spread(clients.len(), room.drain_limit);
        tracing::info!(clients = clients.len(), ?spread, "the grid's clients are told to come again");
        tell(&clients, Instant::now(), spread).await;
    }
    while room.grid.clients.count() > 0 {
        // Who came while the end was asked for.
        room.grid.clients.close_all(|_| restart());
        sleep(LOOK).await;
    }
    room.api.close_sessions(&restart());
}

fn restart() -> Close {
    Close::new(CloseCode::RESTART, "this node is about to end: come again")
}

/// The more clients, the longer; within half of `limit`.
fn spread(clients: usize, limit: Duration) -> Duration {
    let others = u32::try_from(clients.saturating_sub(1)).unwrap_or(u32::MAX);
    SPREAD.min(limit / 2).min(EACH.saturating_mul(others))
}

/// Closes each at a time of its own.
async fn tell(clients: &[Arc<Client>], now: Instant, spread: Duration) {
    let mut all: Vec<(Duration, &Arc<Client>)> =
        clients.iter().map(|client| (spread.mul_f64(chance()), client)).collect();
    all.sort_unstable_by_key(|(after, client)| (*after, client.id));
    for (after, client) in all {
        sleep_until(now + after).await;
        client.close(restart());
    }
}

/// From 0 to 1. Without chance all go at once, which does no harm to what they have been sent.
fn chance() -> f64 {
    let mut bytes = [0; 4];
    let _ = SystemRandom::new().fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use futures::FutureExt as _;
    use serde_json::json;

    use super::*;
    use crate::{ClientId, clients::Opened, context::Context, rules::Rules};

    #[test]
    fn clients_are_told_over_the_longer_a_time_the_more_they_are() {
        let millis = |clients| spread(clients, Duration::from_secs(20)).as_millis();
        assert_eq!([0, 1, 2, 11, 101, 1001, 1_000_000].map(millis), [0, 0, 10, 100, 1000, 10_000, 10_000]);
        assert!((0..100).map(|_| chance()).all(|chance| (0.0..=1.0).contains(&chance)));
    }

    #[test]
    fn clients_are_told_within_half_of_what_the_process_waits() {
        let millis = |seconds| spread(1_000_000, Duration::from_secs(seconds)).as_millis();
        assert_eq!([0, 3, 20, 600].map(millis), [0, 1500, 10_000, 10_000]);
    }

    #[tokio::test(start_paused = true)]
    async fn clients_are_told_one_by_one_and_all_within_the_time() {
        let rules = Arc::new(Rules::compile(&serde_json::from_value(json!({"name": "x"})).unwrap()).unwrap());
        let remote = "10.0.0.1:1".parse().unwrap();
        let client = |id| {
            let (id, rules, context) = (ClientId::new(id).unwrap(), Arc::clone(&rules), Context::default());
            Client::new(Opened { id, shard: 0, remote, rules, deflates: false, context })
        };
        let clients: Vec<_> = (1..=101).map(client).collect();
        let (began, limit) = (Instant::now(), Duration::from_secs(1));
        let mut telling = Box::pin(tell(&clients, began, limit));
        let (mut told, mut moments) = (0, BTreeSet::new());
        while telling.as_mut().now_or_never().is_none() {
            let now_told = clients.iter().filter(|client| client.is_closing()).count();
            if now_told > told {
                (told, _) = (now_told, moments.insert(began.elapsed()));
            }
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert!(clients.iter().all(|client| client.closing() == Some(restart())));
        assert!(began.elapsed() <= limit + Duration::from_millis(2), "{:?}", began.elapsed());
        assert!(moments.len() > 20, "{moments:?}");
    }
}

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

/// Over this time clients are told to go: half of what the process waits for calls under way by default.
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
        let spread = spread(clients.len());
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

/// The more clients, the longer.
fn spread(clients: usize) -> Duration {
    let others = u32::try_from(clients.saturating_sub(1)).unwrap_or(u32::MAX);
    SPREAD.min(EACH.saturating_mul(others))
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
    use super::*;

    #[test]
    fn clients_are_told_over_the_longer_a_time_the_more_they_are() {
        let millis = |clients| spread(clients).as_millis();
        assert_eq!([0, 1, 2, 11, 101, 1001, 1_000_000].map(millis), [0, 0, 10, 100, 1000, 10_000, 10_000]);
        assert!((0..100).map(|_| chance()).all(|chance| (0.0..=1.0).contains(&chance)));
    }
}

//! The MeshNodes of a namespace as the API server has them now: for a pod that would be refused while our watch may be late.
//!
//! Whoever reaches the webhook's port can post reviews of any namespace, so questions are few whatever comes in: of a namespace there
//! is one at a time, whose answer all share for a moment, and there is a bound on all, however slow the API server is.

use std::{sync::Arc, time::Duration};

use crds::MeshNode;
use kube::{Api, Client, api::ListParams, core::DeserializeGuard};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};

use super::{choice::Nodes, nodes::Index};
use crate::lines::Lines;

/// How long an answer serves all who ask about its namespace; those who ask a second time do so two seconds after the first.
const HOLDS: Duration = Duration::from_secs(1);
/// Questions at once.
const AT_ONCE: usize = 4;
/// So long each of them takes its turn at least: with four turns that is 20 questions a second at most.
const TURN: Duration = Duration::from_millis(200);
/// So long at most: whoever asks has given up by then, and an API server that says nothing at all would keep the turn.
const LONGEST: Duration = Duration::from_secs(10);

/// When it came, and what was said.
type Answer = (Instant, Option<Arc<Nodes>>);

/// Asks, and remembers for a moment. None if the API server cannot be asked.
pub(super) struct Asked {
    client: Client,
    turns: Arc<Semaphore>,
    /// The last answer of each namespace. Whoever holds it asks; the others wait for what is said.
    lines: Lines<Option<Answer>>,
}

impl Asked {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            lines: Lines::new(|answer| answer.as_ref().is_some_and(holds)),
        }
    }

    /// Those of a namespace. They get into no index: the watch, when it is back, may know more by then.
    ///
    /// Who gives up before its turn costs nothing. A question that was put comes to its end, and its answer serves the others.
    pub(super) async fn of(&self, namespace: &str) -> Option<Arc<Nodes>> {
        let mut line = self.lines.of(namespace).lock_owned().await;
        if let Some((_, answer)) = line.as_ref().filter(|answer| holds(answer)) {
            return answer.clone();
        }
        // It is never closed.
        let turn = Arc::new(Arc::clone(&self.turns).acquire_owned().await.ok()?);
        let taken = Arc::clone(&turn);
        tokio::spawn(async move {
            sleep(TURN).await;
            drop(taken);
        });
        let (client, namespace) = (self.client.clone(), namespace.to_owned());
        let asking = async move {
            let answer = ask(client, &namespace).await.map(Arc::new);
            *line = Some((Instant::now(), answer.clone()));
            drop(turn);
            answer
        };
        tokio::spawn(asking).await.ok()?
    }
}

fn holds((since, _): &Answer) -> bool {
    since.elapsed() < HOLDS
}

async fn ask(client: Client, namespace: &str) -> Option<Nodes> {
    let api = Api::<DeserializeGuard<MeshNode>>::namespaced(client, namespace);
    let mut index = Index::default();
    match timeout(LONGEST, api.list(&ListParams::default())).await {
        Ok(Ok(list)) => list.items.into_iter().filter_map(|node| node.0.ok()).for_each(|node| index.put(&node)),
        Ok(Err(error)) => {
            tracing::warn!(%error, namespace, "the MeshNodes that a pod may want cannot be listed");
            return None;
        }
        Err(_) => {
            tracing::warn!(namespace, "the API server does not say which MeshNodes a pod may want");
            return None;
        }
    }
    Some(Arc::unwrap_or_clone(index.of(namespace)))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;
    use serde_json::{Value, json};

    use super::*;
    use crate::{cluster::fake, node::sample};

    /// An API server with one node, which counts what it is asked and takes its time.
    #[derive(Clone, Default)]
    struct Server {
        takes: Duration,
        asked: Arc<AtomicUsize>,
        under_way: Arc<AtomicUsize>,
        most_under_way: Arc<AtomicUsize>,
    }

    impl Server {
        async fn answer(self) -> (u16, Value) {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let under_way = self.under_way.fetch_add(1, Ordering::Relaxed) + 1;
            self.most_under_way.fetch_max(under_way, Ordering::Relaxed);
            sleep(self.takes).await;
            self.under_way.fetch_sub(1, Ordering::Relaxed);
            (200, json!({"metadata": {}, "items": [sample::node("a", "LX1")]}))
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::Relaxed)
        }
    }

    fn asked(takes: Duration) -> (Asked, Server) {
        let server = Server { takes, ..Server::default() };
        let answering = server.clone();
        (Asked::new(fake::client("default", move |_| answering.clone().answer())), server)
    }

    const QUICK: Duration = Duration::from_millis(5);
    /// As an API server that is busy: longer than a turn and than an answer holds.
    const SLOW: Duration = Duration::from_secs(2);

    #[tokio::test(start_paused = true)]
    async fn a_crowd_of_one_namespace_shares_an_answer_and_a_later_one_gets_another() {
        for takes in [QUICK, SLOW] {
            let (asked, server) = asked(takes);
            for answer in join_all((0..256).map(|_| asked.of("privacy"))).await {
                assert!(answer.unwrap().contains_key("a"));
            }
            assert_eq!(server.asked(), 1, "{takes:?}");
            sleep(HOLDS).await;
            assert!(asked.of("privacy").await.is_some());
            assert_eq!(server.asked(), 2, "what is older than a moment is asked anew");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_namespaces_cost_the_api_server_twenty_questions_a_second() {
        let (asked, server) = asked(QUICK);
        let names: Vec<String> = (0..256).map(|n| n.to_string()).collect();
        let all = join_all(names.iter().map(|name| asked.of(name)));
        assert!(timeout(Duration::from_secs(1), all).await.is_err());
        let asked_in_a_second = server.asked();
        assert!((16..=24).contains(&asked_in_a_second), "{asked_in_a_second}");
        sleep(HOLDS).await;
        assert!(asked.of("another").await.is_some());
        assert_eq!(asked.lines.count(), 1, "nothing is kept of those that gave up, nor of old answers");
    }

    /// A turn was over after 200 ms once, whether there was an answer or not: sixty questions at once burdened a server that was slow.
    #[tokio::test(start_paused = true)]
    async fn a_slow_api_server_has_four_questions_at_once_and_none_of_those_that_gave_up() {
        let (asked, server) = asked(SLOW);
        let names: Vec<String> = (0..64).map(|n| n.to_string()).collect();
        let crowd = join_all(names.iter().flat_map(|name| [asked.of(name), asked.of(name)]));
        assert!(timeout(Duration::from_secs(3), crowd).await.is_err());
        sleep(Duration::from_secs(60)).await;
        assert_eq!((server.asked(), server.most_under_way.load(Ordering::Relaxed)), (2 * AT_ONCE, AT_ONCE));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_asked_for_one_that_gave_up_serves_the_next() {
        let (asked, server) = asked(SLOW);
        assert!(timeout(SLOW / 2, asked.of("privacy")).await.is_err());
        assert!(asked.of("privacy").await.unwrap().contains_key("a"));
        assert_eq!(server.asked(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_server_that_says_nothing_keeps_no_turn() {
        let (asked, server) = asked(Duration::from_secs(3600));
        let all = join_all(["a", "b", "c", "d", "e"].map(|name| asked.of(name)));
        assert_eq!(all.await.iter().flatten().count(), 0);
        assert_eq!(server.asked(), 5);
    }
}

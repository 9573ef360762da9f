//! Steady load between two sidecars of one gateway, and its books: applications push through the one, one pops through the
//! other, and no call may fail, whatever becomes of the gateway or of certificates meanwhile.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use tokio::{task::JoinHandle, time::sleep};

use super::{OK, PATIENCE};
use crate::harness::{Node, post, until};

/// What was popped, and for each time whether it was marked as one that may have come before.
type Popped = BTreeMap<String, Vec<bool>>;

/// Load that flows until it is settled.
pub(crate) struct Load {
    pub(crate) one: Arc<Node>,
    pub(crate) two: Arc<Node>,
    done: Arc<AtomicBool>,
    pushers: Vec<JoinHandle<Vec<String>>>,
    popper: JoinHandle<Popped>,
}

impl Load {
    pub(crate) fn start(one: Node, two: Node) -> Self {
        Self::of(4, Duration::ZERO, one, two)
    }

    /// The same of so many applications that push, each with a pause between two pushes.
    pub(crate) fn of(pushers: usize, pause: Duration, one: Node, two: Node) -> Self {
        let (one, two, done) = (Arc::new(one), Arc::new(two), Arc::new(AtomicBool::new(false)));
        let pushers = (0..pushers)
            .map(|pusher| tokio::spawn(pushes(pusher, pause, Arc::clone(&one), Arc::clone(&done))))
            .collect();
        let popper = tokio::spawn(pops(Arc::clone(&two), Arc::clone(&done)));
        Self { one, two, done, pushers, popper }
    }

    /// Waits until so many more calls went through the first sidecar.
    pub(crate) async fn flows(&self, more: f64) {
        let before = self.one.metric("mesh_network_partner_requests_total").await;
        let on = async || self.one.metric("mesh_network_partner_requests_total").await > before + more;
        until("the load to flow", PATIENCE, on).await;
    }

    /// Ends it, and holds its books: every call succeeded, every message came, and none came again unmarked. Answers which came again.
    pub(crate) async fn settle(self) -> Vec<String> {
        self.done.store(true, Ordering::Relaxed);
        let mut pushed = Vec::new();
        for pusher in self.pushers {
            pushed.extend(pusher.await.unwrap());
        }
        // What is the last to be pushed wakes the popper that may wait for it.
        assert_eq!(self.one.push(None, "t", "last").await, OK);
        pushed.push("last".to_owned());
        let popped = self.popper.await.unwrap();
        let lost: Vec<_> = pushed.iter().filter(|text| !popped.contains_key(*text)).collect();
        assert!(lost.is_empty(), "lost: {lost:?}");
        let doubled: Vec<_> = popped.iter().filter(|(_, times)| times.iter().skip(1).any(|marked| !marked)).collect();
        assert!(doubled.is_empty(), "came again unmarked: {doubled:?}");
        assert_eq!(popped.len(), pushed.len());
        popped.into_iter().filter(|(_, times)| times.len() > 1).map(|(text, _)| text).collect()
    }
}

async fn pushes(pusher: usize, pause: Duration, through: Arc<Node>, done: Arc<AtomicBool>) -> Vec<String> {
    let mut pushed = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let text = format!("{pusher}-{}", pushed.len());
        let headers = [("x-ptp-session-id", "s"), ("x-ptp-timeout", "60000")];
        let body = json!({"topic": "t", "payload": STANDARD.encode(&text)});
        let answer = through.post("/v1/interconn/chan/push", &headers, &body).await;
        assert_eq!(answer.code(), OK, "{text}: {}", answer.text());
        pushed.push(text);
        sleep(pause).await;
    }
    pushed
}

async fn pops(through: Arc<Node>, done: Arc<AtomicBool>) -> Popped {
    let mut popped = Popped::new();
    loop {
        let was_done = done.load(Ordering::Relaxed);
        let timeout = if was_done { 2000 } else { 60_000 };
        let wanted = json!({"topic": "t", "timeout": timeout}).to_string();
        let answer = through.send(post("/v1/interconn/chan/pop", &[("x-ptp-session-id", "s")], wanted)).await;
        assert_eq!(answer.code(), OK, "{}", answer.text());
        match answer.json()["payload"].as_str() {
            Some(text) => {
                let text = String::from_utf8(STANDARD.decode(text).unwrap()).unwrap();
                popped.entry(text).or_default().push(answer.headers.contains_key("x-ptp-redelivered"));
            }
            None if was_done => return popped,
            None => {}
        }
    }
}

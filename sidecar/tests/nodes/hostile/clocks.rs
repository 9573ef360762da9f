//! Wall clocks that jump. Queues do not notice, for they go by the monotonic clock; routes and certificates hold by the wall
//! clock, on connections that were there before as on new ones.

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::PathBuf,
    process::Command,
    time::{Duration, SystemTime},
};

use serde_json::json;

use crate::harness::{A, B, Bank, Client, Node, Partner, over_tls, post, until};

const OK: &str = "E0000000000";
const HOUR: i64 = 3600;

/// A clock that a test sets; `harness/clock.c` shows it to the node.
pub(crate) struct Clock {
    folder: tempfile::TempDir,
    offset: File,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/nodes/harness/clock.c");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(folder.path().join("clock.so"));
        let built = cc.args([source, "-ldl"]).status().unwrap();
        assert!(built.success(), "cc links Rust programs too, so it is there");
        let offset = File::create(folder.path().join("offset")).unwrap();
        let clock = Self { folder, offset };
        clock.set(0);
        clock
    }

    /// The wall clock shows this many seconds more than the system's.
    pub(crate) fn set(&self, seconds: i64) {
        self.offset.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }

    pub(crate) fn variables(&self) -> [(&'static str, String); 2] {
        let path = |name: &str| -> String { PathBuf::from(self.folder.path()).join(name).display().to_string() };
        [("LD_PRELOAD", path("clock.so")), ("CLOCK_OFFSET", path("offset"))]
    }
}

async fn node(clock: &Clock, more: &[(&str, &str)]) -> Node {
    let variables = clock.variables();
    let mut all: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    all.extend(more);
    Node::with(&all).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jump_of_the_wall_clock_expires_no_session_and_wakes_nobody() {
    let clock = Clock::new();
    let node = node(&clock, &[]).await;
    assert_eq!(node.push(None, "kept", "x").await, OK);
    node.post("/v1/interconn/chan/release", &[("x-ptp-session-id", "gone")], &json!({"topic": ""})).await;
    for jump in [48 * HOUR, -48 * HOUR, 20 * 365 * 24 * HOUR, 0] {
        let topic = format!("t{jump}");
        let waits = post(
            "/v1/interconn/chan/pop",
            &[("x-ptp-session-id", "s")],
            json!({"topic": topic, "timeout": 20_000}).to_string(),
        );
        let waits = tokio::spawn(crate::harness::from([127, 0, 0, 1].into(), node.data, waits));
        until("it waits", Duration::from_secs(60), async || node.metric("mesh_transport_waiting_pops").await == 1.0)
            .await;
        clock.set(jump);
        // Long enough for a sweep (10 s at most apart) to have been due by the wall clock many times over.
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(!waits.is_finished(), "{jump}: the pop waits on");
        assert_eq!(node.push(None, &topic, "late").await, OK);
        assert_eq!(waits.await.unwrap().json()["payload"], crate::harness::base64("late"), "{jump}");
        let late = node
            .post("/v1/interconn/chan/push", &[("x-ptp-session-id", "gone")], &json!({"topic": "t", "payload": ""}))
            .await;
        assert_eq!(late.code(), "E0000000608", "{jump}: a tombstone stands as long as before");
    }
    // A sweep has passed since the first jump.
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(node.pop_now("kept").await.as_deref(), Some("x"));
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_and_certificates_end_by_the_wall_clock_whichever_way_it_jumps() {
    let (clock, own, partner) = (Clock::new(), Bank::new(A), Bank::new(B));
    let volume = tempfile::tempdir().unwrap();
    let end = SystemTime::now() + Duration::from_secs(2 * 3600);
    let end = jiff::Timestamp::try_from(end).unwrap().to_string();
    own.publish(volume.path(), &[Partner { bank: &partner, address: None, more: json!({"expiresAt": end}) }]);
    let node = node(&clock, &[("MESH_CONFIG_DIR", volume.path().to_str().unwrap())]).await;
    for (jump, code, why) in [
        (0, OK, "the route is open"),
        (3 * HOUR, "E0000000605", "the route has expired"),
        (HOUR, OK, "the clock went back before the end"),
        (20 * HOUR, "E0000000403", "the leaf of twelve hours has ended"),
        (-48 * HOUR, "E0000000403", "the leaf is not yet valid"),
        (0, OK, "and all is as before"),
    ] {
        clock.set(jump);
        let inner = crate::harness::base64(&json!({"topic": "t", "payload": ""}).to_string());
        let body = json!({"metadata": {}, "payload": inner}).to_string();
        let headers = [("x-ptp-uri", "/v1/interconn/chan/push"), ("x-ptp-session-id", "s")];
        let answer =
            over_tls(node.data, Client::Pair(&partner.leaf), post("/v1/interconn/chan/invoke", &headers, body)).await;
        assert_eq!(answer.code(), code, "{why}: {}", answer.text());
        assert_eq!(node.push(None, "own", "x").await, OK, "{why}: applications are served");
    }
}

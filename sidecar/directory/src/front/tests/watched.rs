//! What changes, as a watcher hears it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, header::AUTHORIZATION};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::timeout};

use super::{
    super::{
        audience::{self, Audience},
        watch,
    },
    Content, PREFIX, Shown, Stage,
};
use crate::directory::{Reading, Rules};

/// Only a test that has failed waits for so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A watcher, with what it has of an event that has not ended.
struct Watcher {
    body: watch::Events,
    rest: String,
}

impl Watcher {
    /// The next event: its id and what it says.
    async fn next(&mut self) -> (u64, Value) {
        loop {
            while let Some((event, rest)) =
                self.rest.split_once("\n\n").map(|(one, rest)| (one.to_owned(), rest.to_owned()))
            {
                self.rest = rest;
                let line = |name: &str| event.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
                if let (Some(id), Some(data)) = (line("id: "), line("data: ")) {
                    return (id.parse().unwrap(), serde_json::from_str(&data).unwrap());
                }
            }
            let more = timeout(PATIENCE, self.body.next()).await.unwrap().unwrap();
            self.rest.push_str(std::str::from_utf8(&more).unwrap());
        }
    }

    async fn ends(&mut self) -> bool {
        timeout(PATIENCE, async { while self.body.next().await.is_some() {} }).await.is_ok()
    }
}

impl Stage {
    async fn watch(&self, query: &str, last: Option<&str>) -> Result<Watcher, u16> {
        let mut request =
            Request::get(format!("{PREFIX}/watch{query}")).header(AUTHORIZATION, format!("Bearer {}", self.yunqi));
        request = last.into_iter().fold(request, |request, last| request.header("last-event-id", last));
        let answer = self.answer(request.body(Bytes::new()).unwrap(), &Shown::default()).await;
        let status = answer.status().as_u16();
        match answer.into_body() {
            Content::Events(body) => Ok(Watcher { body, rest: String::new() }),
            Content::Whole(_) => Err(status),
        }
    }
}

#[tokio::test]
async fn a_watcher_hears_all_from_its_revision_on_and_then_what_comes() {
    let stage = Stage::new().settled().await;
    let mut all = stage.watch("?from=1", None).await.unwrap();
    let mut heard = Vec::new();
    for _ in 0..3 {
        let (id, said) = all.next().await;
        heard.push((id, said["operation"].as_str().unwrap().to_owned()));
    }
    let expected = [(1, "connect"), (2, "sync-adapter-classes"), (3, "sync-data-systems")];
    assert_eq!(heard, expected.map(|(id, operation)| (id, operation.to_owned())));
    let mut from_now = stage.watch("", None).await.unwrap();
    stage.says("/central-systems/connect", json!({"id": "yunqi", "endpoint": "b:1"})).await;
    for watcher in [&mut all, &mut from_now] {
        let (id, said) = watcher.next().await;
        assert_eq!((id, &said["csid"], &said["body"]["endpoint"]), (4, &json!("yunqi"), &json!("b:1")));
    }
}

#[tokio::test]
async fn a_watcher_that_comes_again_goes_on_where_it_was() {
    let stage = Stage::new().settled().await;
    let mut resumed = stage.watch("?from=1", Some("2")).await.unwrap();
    assert_eq!(resumed.next().await.0, 3);
    let other = super::message(json!({"id": "other", "endpoint": "a:1"}));
    stage.post_by(&stage.other, "/central-systems/connect", other).await;
    let mut others = stage.watch("?from=1&csid=Other", None).await.unwrap();
    assert_eq!(others.next().await.0, 4);
}

#[tokio::test]
async fn a_watcher_is_let_go_when_the_directory_closes() {
    let stage = Stage::new().settled().await;
    let mut watcher = stage.watch("", None).await.unwrap();
    stage.front.directory().close();
    assert!(watcher.ends().await);
}

/// It kept the store open, and a changed configuration could not open it again.
#[tokio::test]
async fn a_watcher_that_does_not_read_is_let_go_as_well() {
    let stage = Stage::new().settled().await;
    let directory = stage.front.directory();
    let watcher = stage.watch("?from=1", None).await.unwrap();
    while watcher.body.is_empty() {
        tokio::task::yield_now().await;
    }
    directory.close();
    let freed = async {
        while Arc::strong_count(directory) > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert_eq!(timeout(PATIENCE, freed).await, Ok(()));
}

/// A token counts for as long as it holds, and not for as long as a connection is there.
#[tokio::test]
async fn who_may_read_no_longer_hears_nothing_more() {
    let stage = Stage::new().settled().await;
    let mut watcher = stage.watch("", None).await.unwrap();
    watcher.body.next().await.unwrap();
    stage.front.directory().revoke("yunqi").unwrap();
    let other = super::message(json!({"id": "other", "endpoint": "a:1"}));
    stage.post_by(&stage.other, "/central-systems/connect", other).await;
    assert_eq!(timeout(PATIENCE, watcher.body.next()).await, Ok(None));
}

#[tokio::test]
async fn who_takes_nothing_for_too_long_is_gone() {
    let (events, mut body) = mpsc::channel(1);
    let text = Bytes::from(vec![b'x'; 65 << 10]);
    let short = Duration::from_millis(20);
    assert_eq!(watch::hand_out(&events, text.clone(), short).await, Err(watch::Gone::Stalled));
    body.close();
    while body.recv().await.is_some() {}
    assert_eq!(watch::hand_out(&events, text, PATIENCE).await, Err(watch::Gone::Over));
}

/// A connection that takes nothing has its part for as long as it likes: the text behind it is 64 MiB long, and counts no more.
#[tokio::test]
async fn a_part_that_nobody_takes_keeps_no_text_in_memory() {
    struct Text {
        text: Vec<u8>,
        _here: Arc<()>,
    }
    impl AsRef<[u8]> for Text {
        fn as_ref(&self) -> &[u8] {
            &self.text
        }
    }
    let (events, mut body) = mpsc::channel(1);
    let here = Arc::new(());
    let text = Bytes::from_owner(Text { text: vec![b'x'; 1 << 20], _here: Arc::clone(&here) });
    assert_eq!(watch::hand_out(&events, text, Duration::from_millis(20)).await, Err(watch::Gone::Stalled));
    assert_eq!(Arc::strong_count(&here), 1, "the text is freed");
    assert_eq!(body.recv().await.map(|part| part.len()), Some(64 << 10), "its first part is there");
}

/// A reader gives up, and what its connection holds is still in memory.
#[tokio::test]
async fn a_seat_is_taken_until_the_connection_lets_go() {
    let mut stage = Stage::new().settled().await;
    let mut watchers = Vec::new();
    for _ in 0..audience::OF_ONE {
        watchers.push(stage.watch("?from=1", None).await.unwrap());
    }
    let directory = Arc::clone(stage.front.directory());
    directory.close();
    let given_up = async {
        // This one and the front's.
        while Arc::strong_count(&directory) > 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert_eq!(timeout(PATIENCE, given_up).await, Ok(()));
    assert_eq!(stage.watch("", None).await.err(), Some(503));
    drop(watchers.pop());
    assert!(stage.watch("", None).await.is_ok());
    stage.yunqi.clone_from(&stage.other);
    assert!(stage.watch("", None).await.is_ok(), "another has seats of its own");
}

/// Over HTTP/2 it kept its seat for as long as its connection was there, whose window had no room: 512 of them, and no stranger hears
/// anything. Time is the test's here.
#[tokio::test(start_paused = true)]
async fn who_takes_nothing_is_let_go_and_whoever_takes_is_not() {
    let stage = Stage::new().settled().await;
    let mut stalled = stage.watch("?from=1", None).await.unwrap();
    let mut taking = stage.watch("?from=1", None).await.unwrap();
    let (let_go, kept) = (stalled.body.let_go(), taking.body.let_go());
    let began = tokio::time::Instant::now();
    let took = tokio::spawn(async move { while taking.body.next().await.is_some() {} });
    assert!(let_go.await);
    assert!(began.elapsed() < 4 * PATIENCE, "{:?}", began.elapsed());
    assert!(!took.is_finished());
    drop(stalled);
    stage.front.directory().close();
    took.await.unwrap();
    assert!(!kept.await, "it has all, and its connection goes on");
}

/// What ends for another reason may be taken for a while, and no longer.
#[tokio::test(start_paused = true)]
async fn a_watch_that_is_over_and_is_not_taken_is_let_go_too() {
    let stage = Stage::new().settled().await;
    let mut watcher = stage.watch("?from=1", None).await.unwrap();
    let let_go = watcher.body.let_go();
    stage.front.directory().close();
    assert!(let_go.await);
}

/// Where a long log has nothing for a watcher, it would be read to its end.
#[tokio::test]
async fn nothing_is_read_on_for_a_watcher_that_is_gone() {
    let stage = Stage::with(Rules { reading: Reading::Public, ..Rules::default() });
    for n in 1..=130 {
        stage.says("/central-systems/connect", json!({"id": "yunqi", "endpoint": format!("a:{n}")})).await;
    }
    let (events, mut body) = mpsc::channel(1);
    let audience = Arc::new(Audience::default());
    let directory = Arc::clone(stage.front.directory());
    let mut reader = watch::Reader {
        directory,
        audience,
        asking: watch::Asking::default(),
        csid: Some("other".to_owned()),
        next: 0,
    };
    let reading = tokio::spawn(async move {
        assert_eq!(reader.read_out(events).await, Ok(()));
        reader.next
    });
    assert!(body.recv().await.is_some());
    drop(body);
    assert!(reading.await.unwrap() < 130);
}

#[tokio::test]
async fn a_question_that_cannot_be_is_refused_and_seats_are_counted() {
    let stage = Stage::new().settled().await;
    for (query, last) in [("?from=x", None), ("?csid=a.b", None), ("", Some("x")), ("?from=1&from=2", None)] {
        assert_eq!(stage.watch(query, last).await.err(), Some(400), "{query}");
    }
    let nobody = Request::get(format!("{PREFIX}/watch")).body(Bytes::new()).unwrap();
    assert_eq!(stage.answer(nobody, &Shown::default()).await.status().as_u16(), 401);
    let mut seats = Vec::new();
    for _ in 0..audience::OF_ONE {
        seats.push(stage.watch("", None).await.unwrap());
    }
    assert_eq!(stage.watch("", None).await.err(), Some(503));
}

/// 64 entries of 64 MiB would be 4 GiB for each watcher.
#[tokio::test]
async fn a_piece_ends_where_its_text_is_long() {
    let stage = Stage::new().settled().await;
    for endpoint in ["b:1", "c:1"] {
        let data = |n: u64| {
            let address = format!("yunqi.{n:X}");
            json!({"dataAddress": address, "name": "n", "endpoint": endpoint, "adapterClass": "odps-adapter", "desc": "x".repeat(4000)})
        };
        let data: Vec<Value> = (0..300).map(data).collect();
        stage.says("/data-systems/sync", json!({"csid": "yunqi", "dataSystems": data})).await;
    }
    let directory = stage.front.directory();
    let next = |from: u64, csid: Option<&str>| watch::piece(directory, csid, from..5).map(|(_, next)| next);
    assert_eq!([next(0, None), next(4, None)], [Some(4), Some(5)], "an entry that is longer goes alone");
    assert_eq!(next(0, Some("other")), Some(5), "what is another's has no text");
    let mut watcher = stage.watch("?from=1", None).await.unwrap();
    for expected in 1..=5 {
        assert_eq!(watcher.next().await.0, expected, "nothing is left out");
    }
}

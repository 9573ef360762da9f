//! One client's task, step by step.

#![allow(clippy::disallowed_methods, reason = "loopback, in tests")]

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{
    Answer, Backplane, EPOCH_MS, Mint, NodeNumber, Notice, Question, Topic, clients::Opened, envelope::Window,
    queue::ConsumerId, rules::Rules,
};

/// A task's waker that counts.
#[derive(Default)]
struct Woken(AtomicUsize);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A client's task, and the other end of its socket.
async fn link(listener: Value) -> (Link, TcpStream) {
    link_of(|mint| Grid::new(&crds::Grid::default(), (NodeNumber::default(), "grid-0"), mint, 1), listener).await
}

async fn link_of(grid: impl FnOnce(Mint) -> Grid, listener: Value) -> (Link, TcpStream) {
    let mut mint = Mint::new(NodeNumber::default(), EPOCH_MS + 1);
    mint.reserve(EPOCH_MS + 1000);
    let grid = Arc::new(grid(mint));
    let mut all = json!({"name": "x"});
    all.as_object_mut().unwrap().extend(listener.as_object().unwrap().clone());
    let rules = Arc::new(Rules::compile(&serde_json::from_value(all).unwrap()).unwrap());
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let user = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
    let (tcp, remote) = socket.accept().await.unwrap();
    let id = grid.issue_id(EPOCH_MS + 1).await.unwrap();
    let context = crate::context::Context::default();
    let client = Client::new(Opened { id, shard: 0, remote, rules, deflates: false, context });
    grid.clients.open(&client);
    let greeted = Greeted { uri: "/", subprotocol: "", headers: &[], more: &[], expires: None, bearer: None };
    (Link::new(grid, client, Stream::Plain(Shared::new(tcp)), greeted), user)
}

#[tokio::test]
async fn what_changes_while_it_is_looked_at_wakes_the_task() {
    let (mut link, _user) = link(json!({})).await;
    let woken = Arc::new(Woken::default());
    let waker = Arc::clone(&woken).into();
    let mut cx = Context::from_waker(&waker);
    link.client.set_paused(true);
    assert!(link.poll(&mut cx).is_pending());
    // A message takes the waker along; the task is polled for it, sees that it is paused, and then it is not any more.
    link.grid.clients.send(link.client.id, Opcode::Text, b"x").unwrap();
    link.poll_inward(&mut cx);
    let before = woken.0.load(Ordering::SeqCst);
    link.client.set_paused(false);
    assert_eq!(woken.0.load(Ordering::SeqCst), before + 1);
}

/// All that has come and was sent, with the task polled only where it was woken.
async fn read_all(link: &mut Link, user: &mut TcpStream, woken: &Arc<Woken>, bytes: usize) -> Vec<u8> {
    let waker = Arc::clone(woken).into();
    let mut all = vec![0; bytes];
    let mut read = 0;
    while read < bytes {
        tokio::select! {
            biased;
            some = user.read(&mut all[read..]) => read += some.unwrap(),
            () = tokio::time::sleep(Duration::from_millis(1)) => {
                if woken.0.swap(0, Ordering::SeqCst) > 0 {
                    assert!(link.poll(&mut Context::from_waker(&waker)).is_pending());
                }
            }
        }
    }
    all
}

#[tokio::test]
async fn what_an_open_socket_takes_is_written_without_its_task() {
    let (mut link, mut user) = link(json!({})).await;
    let woken = Arc::new(Woken::default());
    let waker = Arc::clone(&woken).into();
    let before = woken.0.load(Ordering::SeqCst);
    link.grid.clients.send(link.client.id, Opcode::Text, b"before its task began").unwrap();
    assert_eq!(link.client.waiting_bytes(), 23, "there might be a handshake that is not written yet");
    assert!(link.poll(&mut Context::from_waker(&waker)).is_pending());
    link.grid.clients.send(link.client.id, Opcode::Text, b"now").unwrap();
    assert_eq!((link.client.waiting_bytes(), woken.0.load(Ordering::SeqCst)), (0, before));
    let mut all = [0; 28];
    user.read_exact(&mut all).await.unwrap();
    assert_eq!(&all, b"\x81\x15before its task began\x81\x03now");
}

#[tokio::test]
async fn a_socket_that_takes_no_more_is_its_tasks_until_it_does_and_nothing_is_lost_or_turned_round() {
    let (mut link, mut user) = link(json!({})).await;
    let woken = Arc::new(Woken::default());
    let waker = Arc::clone(&woken).into();
    assert!(link.poll(&mut Context::from_waker(&waker)).is_pending());
    let (id, mut expected) = (link.client.id, Vec::new());
    let mut send = |link: &Link, n: usize| {
        let payload = n.to_string().repeat(1000);
        link.grid.clients.send(id, Opcode::Text, payload.as_bytes()).unwrap();
        expected.extend_from_slice(&crate::wire::encode(Opcode::Text, payload.as_bytes(), false));
    };
    let mut n = 0;
    while link.client.waiting_bytes() == 0 {
        n += 1;
        send(&link, n);
    }
    assert!(woken.0.swap(0, Ordering::SeqCst) > 0, "it is told that there is a rest");
    assert!(link.poll(&mut Context::from_waker(&waker)).is_pending());
    woken.0.store(0, Ordering::SeqCst);
    (0..20).for_each(|more| send(&link, n + more));
    assert_eq!(woken.0.load(Ordering::SeqCst), 0, "it waits for its socket, not for messages");
    assert!(read_all(&mut link, &mut user, &woken, expected.len()).await == expected);
    assert_eq!(link.client.waiting_bytes(), 0);
}

/// What no message survives.
#[derive(Debug)]
struct Broken;

impl Backplane for Broken {
    fn nodes(&self) -> Vec<NodeNumber> {
        Vec::new()
    }

    fn ask(&self, _: NodeNumber, _: Question) -> BoxFuture<'static, Option<Answer>> {
        async { None }.boxed()
    }

    fn tell(&self, _: NodeNumber, _: Notice) {
        panic!("a fault of ours, as this test wants it");
    }
}

#[tokio::test]
async fn a_fault_of_ours_ends_its_own_client_with_1011_and_leaves_nothing_of_it() {
    let number = |number| NodeNumber::new(number).unwrap();
    let grid = |mint| Grid::among(&crds::Grid::default(), (number(0), "grid-0"), mint, 1, Arc::new(Broken));
    let (link, mut user) = link_of(grid, json!({"events": {"close": "goings"}})).await;
    let (grid, waiting) = (Arc::clone(&link.grid), Topic::new("default").unwrap());
    // A consumer of another node, who cannot be told.
    let topics = vec![(waiting, Window { acks: false, size: 1 })];
    grid.told(number(1), Notice::Consumes { consumer: ConsumerId(1), topics });
    let channel = crate::Channel::new("room").unwrap();
    grid.clients.subscribe(&link.client, std::slice::from_ref(&channel)).unwrap();
    let served = tokio::spawn(Box::new(link).run());
    user.write_all(&[0x81, 0x81, 0, 0, 0, 0, b'x']).await.unwrap();
    let mut head = [0; 4];
    user.read_exact(&mut head).await.unwrap();
    assert_eq!((head[0], u16::from_be_bytes([head[2], head[3]])), (0x88, 1011));
    served.await.unwrap();
    assert_eq!((grid.clients.count(), grid.clients.subscribers(&channel)), (0, 0));
    let goings = grid.topics.rows().into_iter().find(|row| row.topic.as_str() == "goings").unwrap();
    assert_eq!(goings.depth, 1, "backends hear of it");
}

#![allow(clippy::needless_pass_by_value, reason = "a table reads better without references")]

use std::{
    sync::atomic::AtomicBool,
    task::{Wake, Waker},
};

use futures::FutureExt as _;
use serde_json::json;

use super::*;
use crate::context::Context as Known;
use crate::rules::Rules;

#[derive(Default)]
struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Bell {
    fn has_rung(&self) -> bool {
        self.0.swap(false, Ordering::SeqCst)
    }
}

fn client(id: u64, limits: serde_json::Value) -> Arc<Client> {
    let listener = serde_json::from_value(json!({"name": "x", "limits": limits})).unwrap();
    let rules = Arc::new(Rules::compile(&listener).unwrap());
    let id = ClientId::new(id).unwrap();
    let remote = "10.0.0.1:1".parse().unwrap();
    Client::new(Opened { id, shard: id.get() as usize, remote, rules, deflates: false, context: Known::default() })
}

fn clients(count: u64) -> (Clients, Vec<Arc<Client>>) {
    let clients = Clients::new(2);
    let all: Vec<_> = (1..=count).map(|id| client(id, json!({"channels": 3}))).collect();
    all.iter().for_each(|client| clients.open(client));
    (clients, all)
}

fn text(said: &str) -> Message {
    Message { opcode: Opcode::Text, payload: said.to_owned().into() }
}

fn channels(names: &[&str]) -> Vec<Channel> {
    names.iter().map(|name| Channel::new(name).unwrap()).collect()
}

fn taken(client: &Client) -> usize {
    client.take(Waker::noop()).map_or(0, |outgoing| outgoing.frames.len())
}

#[test]
fn a_publication_reaches_each_subscriber_once_and_wakes_it_on_its_own_thread() {
    let (clients, all) = clients(4);
    clients.subscribe(&all[0], &channels(&["a", "b"])).unwrap();
    clients.subscribe(&all[1], &channels(&["a"])).unwrap();
    clients.subscribe(&all[2], &channels(&["b"])).unwrap();
    let bell = Arc::new(Bell::default());
    let waker = Arc::clone(&bell).into();
    assert_eq!(all[1].take(&waker), None);
    let reached = clients.publish(&channels(&["a", "b", "a", "nobody"]), &[text("hi")]);
    assert_eq!(reached, [Reached { sent: 3, ..Reached::default() }]);
    assert!(!bell.has_rung());
    let _ = clients.serve(0).now_or_never();
    assert!(bell.has_rung(), "client 2 is of the first shard");
    assert_eq!(all.iter().map(|client| taken(client)).collect::<Vec<_>>(), [1, 1, 1, 0]);
    assert_eq!(clients.publish(&channels(&["nobody"]), &[text("hi")]), [Reached::default()]);
}

#[test]
fn a_thread_that_has_nothing_to_do_writes_to_the_clients_of_others() {
    let (clients, all) = clients(2);
    all.iter().for_each(|client| clients.subscribe(client, &channels(&["a"])).unwrap());
    let bells = [(); 2].map(|()| Arc::new(Bell::default()));
    for (client, bell) in all.iter().zip(&bells) {
        assert_eq!(client.take(&Arc::clone(bell).into()), None);
    }
    let _ = clients.publish(&channels(&["a"]), &[text("hi")]);
    let mut second = Box::pin(clients.serve(1));
    let mut turn = || {
        assert!(second.as_mut().now_or_never().is_none(), "it goes on for ever");
        [0, 1].map(|n: usize| bells[n].has_rung())
    };
    assert_eq!([turn(), turn(), turn()], [[true, false], [false, true], [false, false]], "its own come first");
}

#[test]
fn a_client_that_is_slow_gone_or_too_small_counts_as_failed() {
    let clients = Clients::new(1);
    let limits = json!({"outQueueBytes": "16", "messageBytes": "16"});
    let (slow, small) = (client(1, limits.clone()), client(2, json!({"messageBytes": "3"})));
    for one in [&slow, &small] {
        clients.open(one);
        clients.subscribe(one, &channels(&["a"])).unwrap();
    }
    let publish =
        |texts: &[&str]| clients.publish(&channels(&["a"]), &texts.iter().map(|said| text(said)).collect::<Vec<_>>());
    // Of messages in a row each counts by itself.
    let (taken, too_large) =
        (Reached { sent: 1, ..Reached::default() }, Reached { failed: 1, too_large: 1, ..Reached::default() });
    assert_eq!(publish(&["123"]), [Reached { sent: 2, ..taken }]);
    assert_eq!(
        publish(&["1", "12345678"]),
        [Reached { sent: 2, ..taken }, Reached { sent: 0, failed: 2, slow: 1, ..too_large }]
    );
    assert_eq!(publish(&["1", "1"]), [Reached { failed: 1, ..taken }; 2]);
    assert_eq!(clients.send(slow.id, Opcode::Text, b"x"), Err(Unsent::Gone), "it is closed");
    assert_eq!(clients.send(small.id, Opcode::Text, b"1234"), Err(Unsent::TooLarge));
    assert_eq!(clients.send(ClientId::new(9).unwrap(), Opcode::Text, b"x"), Err(Unsent::Gone));
    let slow = client(3, limits);
    clients.open(&slow);
    let sent = [(); 3].map(|()| clients.send(slow.id, Opcode::Text, b"123456"));
    assert_eq!(sent, [Ok(()), Ok(()), Err(Unsent::Slow)]);
}

#[test]
fn the_largest_message_is_taken_where_the_queue_has_the_room_of_one() {
    let clients = Clients::new(1);
    let one = client(1, json!({"outQueueBytes": "16", "messageBytes": "16"}));
    clients.open(&one);
    clients.subscribe(&one, &channels(&["a"])).unwrap();
    let largest = "0123456789abcdef";
    assert_eq!(clients.send(one.id, Opcode::Text, largest.as_bytes()), Ok(()));
    assert_eq!(taken(&one), 1);
    one.written(18);
    assert_eq!(clients.publish(&channels(&["a"]), &[text(largest)]), [Reached { sent: 1, ..Reached::default() }]);
    assert!(!one.is_closing());
    assert_eq!(clients.send(one.id, Opcode::Text, largest.as_bytes()), Err(Unsent::Slow), "one waits");
}

#[test]
fn where_there_is_no_room_for_all_together_each_subscriber_counts_once() {
    let (clients, all) = clients(3);
    clients.subscribe(&all[0], &channels(&["a", "b"])).unwrap();
    clients.subscribe(&all[1], &channels(&["a"])).unwrap();
    clients.set_most_waiting(0);
    let reached = clients.publish(&channels(&["a", "b", "a"]), &[text("hi")]);
    assert_eq!(reached, [Reached { failed: 2, slow: 2, ..Reached::default() }]);
    assert_eq!(clients.publish(&channels(&["a"]), &[text("hi")])[0].failed, 2);
}

#[test]
fn what_waits_for_all_together_is_bounded_and_who_holds_most_of_it_is_cut() {
    let (clients, all) = clients(3);
    clients.set_most_waiting(300 << 10);
    all.iter().for_each(|client| clients.subscribe(client, &channels(&["a"])).unwrap());
    let message = vec![b'x'; 60 << 10];
    for _ in 0..3 {
        assert_eq!(clients.send(all[0].id, Opcode::Text, &message), Ok(()));
    }
    let all_of_it = Message { opcode: Opcode::Text, payload: message.clone().into() };
    let publish = || clients.publish(&channels(&["a"]), std::slice::from_ref(&all_of_it))[0];
    assert_eq!(publish(), Reached { sent: 3, ..Reached::default() }, "it counts once");
    assert_eq!(publish(), Reached { failed: 3, slow: 3, ..Reached::default() });
    let cut: Vec<bool> = all.iter().map(|client| client.is_cut()).collect();
    assert_eq!(cut, [true, false, false], "the others hold less than their share");
    assert_eq!(all[0].closing().unwrap().code, Some(crate::wire::CloseCode::TOO_SLOW));
    assert_eq!(publish(), Reached { sent: 2, failed: 1, ..Reached::default() }, "there is room again");
    assert_eq!(clients.send(all[1].id, Opcode::Text, &message), Ok(()));
}

#[test]
fn answers_count_too_and_who_goes_on_asking_where_there_is_no_room_is_cut() {
    let (clients, all) = clients(2);
    clients.set_most_waiting(100);
    for _ in 0..20 {
        clients.pong(&all[0], &[7; 8]);
    }
    assert_eq!((all[0].waiting_bytes(), all[0].is_cut()), (100, true), "the pong beyond that was one too many");
    assert_eq!(clients.send(all[1].id, Opcode::Text, b"x"), Ok(()), "what waited for it is gone");
    // Others are answered once in any case.
    clients.set_most_waiting(0);
    assert_eq!(taken(&all[1]), 1);
    all[1].written(3);
    clients.tell(&all[1], "pong");
    assert_eq!((taken(&all[1]), all[1].is_cut()), (1, false));
}

#[test]
fn subscriptions_are_all_or_none_and_end_with_the_client() {
    let (clients, all) = clients(1);
    let one = &all[0];
    clients.subscribe(one, &channels(&["a", "b", "a"])).unwrap();
    clients.subscribe(one, &channels(&["a"])).unwrap();
    assert_eq!(clients.subscribe(one, &channels(&["c", "d"])).unwrap_err().code(), 301);
    assert_eq!((one.channels().len(), clients.channels()), (2, 2));
    clients.unsubscribe(one, &channels(&["b", "unknown"]));
    assert_eq!((one.channels(), clients.subscribers(&channels(&["b"])[0])), (channels(&["a"]), 0));
    clients.end(one);
    clients.end(one);
    assert_eq!((clients.count(), clients.channels()), (0, 0));
    assert!(clients.subscribe(one, &channels(&["c"])).is_err(), "it has gone");
}

#[test]
fn clients_are_listed_in_the_order_of_their_ids() {
    let (clients, _all) = clients(5);
    let ids = |after, limit| clients.list(after, limit).iter().map(|client| client.id.get()).collect::<Vec<_>>();
    assert_eq!((ids(None, 3), ids(ClientId::new(3), 9)), (vec![1, 2, 3], vec![4, 5]));
    assert!(clients.find(ClientId::new(4).unwrap()).is_some());
}

use std::task::{Context, Waker};

use tokio::io::DuplexStream;

use super::{Carrier, Key, LARGE, Owned, Stack};
use crate::packet::made;

const SERVER: [u8; 4] = [10, 1, 1, 1];
const SYN: u8 = 2;
const RST: u8 = 4;
/// Nodes of these tests.
const NODES: std::ops::Range<u8> = 0..10;

impl Owned for u8 {
    type Whose = Self;

    fn whose(&self) -> Self {
        *self
    }
}

/// A line that loses all.
struct Nowhere;

impl Carrier<u8> for Nowhere {
    fn has_room(&self) -> bool {
        true
    }

    fn send(&mut self, _: &[u8]) {}

    fn sent(&mut self) {}

    fn open(&mut self, _: &Key, _: &mut u8, _: DuplexStream) {}
}

fn stack() -> Stack<u8> {
    Stack::new((SERVER.into(), 24), 1400, LARGE)
}

/// A node begins a connection.
fn begin(stack: &mut Stack<u8>, node: u8, port: u16) {
    stack.arrive(made::tcp([10, 1, 1, node], SERVER, (port, 6440), SYN, &[]), |_, _| Some(node));
}

/// It takes it back, before it has heard an answer.
fn take_back(stack: &mut Stack<u8>, node: u8, port: u16) {
    stack.arrive(made::tcp_at([10, 1, 1, node], SERVER, (port, 6440), (2, RST), &[]), |_, _| None);
}

/// How many each has that has any.
fn connections(stack: &Stack<u8>) -> Vec<(u8, usize)> {
    NODES.map(|node| (node, stack.shares().of(&node))).filter(|(_, count)| *count > 0).collect()
}

#[tokio::test]
async fn who_has_the_most_gives_way_to_who_has_fewer_and_to_nobody_else() {
    let mut full = stack();
    for (node, port) in [(3, 1), (3, 2), (3, 3), (5, 1)] {
        begin(&mut full, node, port);
    }
    assert_eq!(connections(&full), [(3, 3), (5, 1)]);
    assert!(!full.give_way_to(&3), "it has the most itself");
    assert!(full.give_way_to(&7) && full.give_way_to(&7));
    assert_eq!(connections(&full), [(3, 1), (5, 1)]);
    assert!(!full.give_way_to(&5), "it has as many as the others");
    assert!(full.give_way_to(&7));
    begin(&mut full, 7, 1);
    assert_eq!(full.shares().all(), 2);
    assert!(!stack().give_way_to(&7), "where there is none");
    // What gave way is forgotten with the next packets, and is not counted twice.
    full.poll(&mut Context::from_waker(Waker::noop()), &mut Nowhere);
    assert_eq!(full.shares().all(), 2);
}

#[tokio::test]
async fn what_is_refused_or_taken_back_holds_no_place() {
    let mut stack = stack();
    let refused = made::tcp([10, 1, 1, 3], SERVER, (1, 6440), SYN, &[]);
    stack.arrive(refused, |_, _| None);
    assert_eq!(connections(&stack), []);
    begin(&mut stack, 3, 1);
    begin(&mut stack, 3, 1);
    begin(&mut stack, 5, 1);
    assert_eq!(connections(&stack), [(3, 1), (5, 1)], "a packet that came twice begins nothing");
    take_back(&mut stack, 3, 1);
    take_back(&mut stack, 3, 1);
    assert_eq!(connections(&stack), [(5, 1)]);
    begin(&mut stack, 7, 1);
    assert_eq!(connections(&stack), [(5, 1), (7, 1)], "what was taken back took it for its own");
}

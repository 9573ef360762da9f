use proptest::prelude::*;

use super::*;
use crate::{
    Topic,
    context::Context,
    envelope::{Happened, Origin},
    wire::{Data, Opcode, Part},
};

const A: ConsumerId = ConsumerId(1);
const B: ConsumerId = ConsumerId(2);
const TAKES: Window = Window { acks: false, size: 2 };
const ACKS: Window = Window { acks: true, size: 2 };

fn client(number: u64) -> ClientId {
    ClientId::new(number).unwrap()
}

fn event(number: u64) -> Event {
    let part = Part { opcode: Opcode::Text, data: Data::Text(number.to_string()), fin: true };
    let origin = Origin { node_name: "n", client: client(7), context: &Context::default(), seq: 1, ts: 0 };
    Event::new(&Topic::new("t").unwrap(), origin, Happened::Message(&part))
}

fn queue(messages: usize, overflow: Overflow) -> Queue {
    Queue::new(Bounds { messages, bytes: usize::MAX, overflow }, 0)
}

fn push(queue: &mut Queue, numbers: impl IntoIterator<Item = u64>) -> Vec<Pushed> {
    numbers.into_iter().map(|n| queue.push(client(n), event(n), None)).collect()
}

fn number(event: &Event) -> u64 {
    let text = event.for_consumer(None, false);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    json["p"]["d"]["frame"]["data"].as_str().unwrap().parse().unwrap()
}

/// Who gets what: (consumer, message, tag, redelivered).
fn given(queue: &mut Queue) -> Vec<(u64, u64, Option<u64>, bool)> {
    let all = std::iter::from_fn(|| queue.give());
    all.map(|given| (given.consumer.0, number(&given.event), given.tag, given.redelivered)).collect()
}

#[test]
fn a_topic_is_full_of_bytes_too_and_what_is_not_acknowledged_counts() {
    let size = event(1).size();
    let two = |overflow| Queue::new(Bounds { messages: 10, bytes: 2 * size, overflow }, 0);
    let full = |overflow| {
        let mut queue = two(overflow);
        let pushed = push(&mut queue, 1..=3).pop().unwrap();
        queue.attach((A, Whence::Here), Window { acks: false, size: 10 }, "t").unwrap();
        let all: Vec<_> = given(&mut queue).into_iter().map(|given| given.1).collect();
        let on_way = queue.bytes;
        queue.written(A, u32::try_from(all.len()).unwrap());
        let rest: Vec<_> = given(&mut queue).into_iter().map(|given| given.1).collect();
        queue.lose(A);
        (pushed, [all, rest].concat(), on_way / size, queue.bytes + queue.waiting_bytes)
    };
    assert_eq!(full(Overflow::DropOldest), (Pushed::DroppedOldest, vec![2, 3], 2, 0));
    assert_eq!(full(Overflow::DropNewest), (Pushed::DroppedNewest, vec![1, 2], 2, 0));
    assert_eq!(full(Overflow::Reject), (Pushed::Rejected, vec![1, 2], 2, 0));
    assert_eq!(full(Overflow::Pause), (Pushed::Paused, vec![1, 2, 3], 2, 0));

    let mut queue = two(Overflow::DropOldest);
    queue.attach((A, Whence::Here), Window { acks: true, size: 10 }, "t").unwrap();
    push(&mut queue, 1..=2);
    let tags: Vec<u64> = given(&mut queue).iter().map(|given| given.2.unwrap()).collect();
    assert_eq!(push(&mut queue, [3]), [Pushed::DroppedNewest], "nothing older is nobody's");
    assert_eq!(queue.push(client(4), event(4), Some(Overflow::Pause)), Pushed::Paused);
    assert!(queue.ack(A, tags[0]));
    assert_eq!((queue.resumed(), given(&mut queue).len()), (vec![client(4)], 1));
    assert!(queue.nack(A, tags[1], true) && queue.depth() == 1);
    queue.lose(A);
    assert_eq!((queue.depth(), queue.bytes), (2, event(2).size() + event(4).size()));
}

#[test]
fn what_waits_for_room_is_bounded_too_whoever_it_came_from() {
    let size = event(1).size();
    let mut queue = Queue::new(Bounds { messages: 1, bytes: 3 * (EACH + size), overflow: Overflow::Pause }, 0);
    let mut pushed = push(&mut queue, 1..=9);
    assert!(pushed.split_off(4).iter().all(|pushed| *pushed == Pushed::Rejected));
    assert_eq!(pushed, [Pushed::Held, Pushed::Paused, Pushed::Paused, Pushed::Paused]);
    queue.attach((A, Whence::Here), TAKES, "t").unwrap();
    assert_eq!(given(&mut queue).len(), 2);
    assert_eq!(push(&mut queue, 8..=9), [Pushed::Paused, Pushed::Paused], "there is room again");
}

#[test]
fn what_a_consumer_has_not_taken_yet_counts() {
    let size = event(1).size();
    let mut queue = Queue::new(Bounds { messages: 10, bytes: 2 * size, overflow: Overflow::Reject }, 0);
    queue.attach((A, Whence::Here), Window { acks: false, size: 10 }, "t").unwrap();
    push(&mut queue, 1..=2);
    assert_eq!((given(&mut queue).len(), push(&mut queue, [3])), (2, vec![Pushed::Rejected]));
    queue.written(A, 1);
    assert_eq!(push(&mut queue, 3..=4), [Pushed::Held, Pushed::Rejected]);
    queue.lose(A);
    assert_eq!((queue.depth(), queue.bytes), (1, size));
}

#[test]
fn competing_consumers_get_disjoint_sets_in_turn_within_their_windows() {
    let mut queue = queue(10, Overflow::Reject);
    queue.attach((A, Whence::Here), TAKES, "t").unwrap();
    queue.attach((B, Whence::Here), TAKES, "t").unwrap();
    push(&mut queue, 1..=6);
    assert_eq!(given(&mut queue), [(1, 1, None, false), (2, 2, None, false), (1, 3, None, false), (2, 4, None, false)]);
    queue.written(B, 1);
    assert_eq!(given(&mut queue), [(2, 5, None, false)]);
    queue.written(A, 2);
    assert_eq!(given(&mut queue), [(1, 6, None, false)]);
    assert_eq!((queue.depth(), queue.consumers()), (0, 2));
}

#[test]
fn consuming_twice_is_refused_and_unpopping_twice_is_nothing() {
    let mut queue = queue(10, Overflow::Reject);
    queue.attach((A, Whence::Here), TAKES, "t").unwrap();
    assert_eq!(queue.attach((A, Whence::Here), TAKES, "t").unwrap_err().code(), 202);
    assert!(queue.detach(A) && !queue.detach(A) && !queue.is_consumed_by(A));
    push(&mut queue, [1]);
    assert_eq!(given(&mut queue), []);
    queue.attach((A, Whence::Here), TAKES, "t").unwrap();
    assert_eq!(given(&mut queue).len(), 1);
}

#[test]
fn each_policy_does_what_it_says_at_the_bound() {
    let after = |overflow| {
        let mut queue = queue(2, overflow);
        let pushed = push(&mut queue, 1..=3).pop().unwrap();
        queue.attach((A, Whence::Here), Window { acks: false, size: 9 }, "t").unwrap();
        (pushed, given(&mut queue).iter().map(|given| given.1).collect::<Vec<_>>(), queue.resumed())
    };
    assert_eq!(after(Overflow::DropOldest), (Pushed::DroppedOldest, vec![2, 3], vec![]));
    assert_eq!(after(Overflow::DropNewest), (Pushed::DroppedNewest, vec![1, 2], vec![]));
    assert_eq!(after(Overflow::Reject), (Pushed::Rejected, vec![1, 2], vec![]));
    assert_eq!(after(Overflow::Pause), (Pushed::Paused, vec![1, 2, 3], vec![client(3)]));
}

#[test]
fn a_paused_client_is_resumed_as_soon_as_its_message_has_room_and_nobody_overtakes_it() {
    let mut queue = queue(1, Overflow::Pause);
    assert_eq!(push(&mut queue, 1..=3), [Pushed::Held, Pushed::Paused, Pushed::Paused]);
    queue.attach((A, Whence::Here), Window { acks: false, size: 1 }, "t").unwrap();
    assert_eq!((given(&mut queue), queue.resumed()), (vec![(1, 1, None, false)], vec![client(2)]));
    queue.set_bounds(Bounds { messages: 5, bytes: usize::MAX, overflow: Overflow::Pause });
    assert_eq!(queue.resumed(), [client(3)]);
    queue.written(A, 1);
    assert_eq!(given(&mut queue), [(1, 2, None, false)]);
}

#[test]
fn what_is_not_acknowledged_goes_back_to_its_place_when_its_consumer_is_lost() {
    let mut queue = queue(10, Overflow::Reject);
    queue.attach((A, Whence::Here), ACKS, "t").unwrap();
    push(&mut queue, 1..=4);
    assert_eq!(given(&mut queue), [(1, 1, Some(1), false), (1, 2, Some(2), false)]);
    assert!(queue.ack(A, 1));
    assert_eq!(given(&mut queue), [(1, 3, Some(3), false)]);
    queue.lose(A);
    assert!(!queue.ack(A, 2), "a tag of another life");
    queue.attach((B, Whence::Here), Window { acks: true, size: 9 }, "t").unwrap();
    assert_eq!(given(&mut queue), [(2, 2, Some(4), true), (2, 3, Some(5), true), (2, 4, Some(6), false)]);
    assert_eq!((queue.unacked(), queue.depth()), (3, 0));
}

#[test]
fn tags_are_acknowledged_once_and_by_their_own_consumer() {
    let mut queue = queue(10, Overflow::Reject);
    queue.attach((A, Whence::Here), ACKS, "t").unwrap();
    queue.attach((B, Whence::Here), ACKS, "t").unwrap();
    push(&mut queue, 1..=2);
    assert_eq!(given(&mut queue), [(1, 1, Some(1), false), (2, 2, Some(2), false)]);
    assert!(!queue.ack(B, 1) && queue.ack(A, 1) && !queue.ack(A, 1) && !queue.nack(A, 9, true));
    assert!(queue.nack(B, 2, true));
    assert_eq!(given(&mut queue), [(1, 2, Some(3), true)]);
    assert!(queue.nack(A, 3, false));
    assert_eq!((queue.depth(), queue.unacked()), (0, 0));
}

#[test]
fn who_unpops_may_finish_what_is_in_flight() {
    let mut queue = queue(10, Overflow::Reject);
    queue.attach((A, Whence::Here), ACKS, "t").unwrap();
    push(&mut queue, 1..=3);
    assert_eq!(given(&mut queue).len(), 2);
    queue.detach(A);
    assert!(queue.ack(A, 1) && queue.ack(A, 2));
    assert_eq!((given(&mut queue).len(), queue.depth(), queue.is_unused()), (0, 1, false));
    queue.attach((A, Whence::Here), ACKS, "t").unwrap();
    assert_eq!(given(&mut queue), [(1, 3, Some(3), false)]);
}

proptest! {
    /// Whatever happens, each message is in one place, within the bounds, and those that are given out come in order but for repeats.
    #[test]
    fn no_message_is_lost_or_doubled(steps in proptest::collection::vec((0..9u8, 0..3u64), 1..80)) {
        let most = 8 * event(1).size();
        let mut queue = Queue::new(Bounds { messages: 5, bytes: most, overflow: Overflow::Pause }, 0);
        let (mut pushed, mut refused, mut done, mut held) = (0u64, 0usize, 0usize, Vec::<(ConsumerId, u64)>::new());
        let mut fresh = Vec::new();
        for (step, n) in steps {
            let consumer = ConsumerId(n);
            match step {
                0..=2 => {
                    pushed += 1;
                    refused += usize::from(push(&mut queue, [pushed]) == [Pushed::Rejected]);
                }
                3 => { let _ = queue.attach((consumer, if n == 0 { Whence::Elsewhere } else { Whence::Here }), ACKS, "t"); }
                4 => { queue.detach(consumer); }
                5 => { queue.lose(consumer); held.retain(|(holder, _)| *holder != consumer); }
                6 | 7 => if let Some((holder, tag)) = held.pop() { prop_assert!(queue.ack(holder, tag)); done += 1; }
                _ => if let Some((holder, tag)) = held.pop() { prop_assert!(queue.nack(holder, tag, true)); }
            }
            while let Some(given) = queue.give() {
                held.push((given.consumer, given.tag.unwrap()));
                if !given.redelivered { fresh.push(number(&given.event)); }
            }
            prop_assert_eq!(queue.depth() + queue.unacked() + done + refused, pushed as usize);
            let one = EACH + event(99).size();
            prop_assert!(queue.bytes < most + one && queue.waiting_bytes < most + one);
            prop_assert_eq!(queue.unacked(), held.len());
        }
        prop_assert!(fresh.is_sorted());
    }
}

/// The messages whose copies are wanted, and the names of those that are not any more.
fn copies(queue: &mut Queue) -> (Vec<u64>, Vec<u64>) {
    let (mut kept, mut forgotten) = (Vec::new(), Vec::new());
    for wanted in queue.wanted() {
        match wanted {
            Wanted::Kept(name, event) => {
                assert_eq!(name, 100 + number(&event), "it has its place in its name");
                kept.push(number(&event));
            }
            Wanted::Forgotten(name) => forgotten.push(name - 100),
        }
    }
    (kept, forgotten)
}

fn copied(messages: usize, overflow: Overflow) -> Queue {
    Queue::new(Bounds { messages, bytes: usize::MAX, overflow }, 100).copied()
}

#[test]
fn what_is_consumed_in_ack_mode_has_a_copy_until_it_is_settled_and_nothing_else_has() {
    let mut queue = copied(10, Overflow::Reject);
    push(&mut queue, 1..=2);
    queue.attach((B, Whence::Here), Window { acks: false, size: 1 }, "t").unwrap();
    assert_eq!((given(&mut queue).len(), copies(&mut queue)), (1, (vec![], vec![])), "nobody acknowledges anything");
    queue.attach((A, Whence::Elsewhere), Window { acks: true, size: 2 }, "t").unwrap();
    assert_eq!(copies(&mut queue), (vec![2], vec![]), "what waited has one too");
    push(&mut queue, 3..=5);
    assert_eq!(copies(&mut queue), (vec![3, 4, 5], vec![]));
    assert_eq!(given(&mut queue), [(1, 2, Some(101), false), (1, 3, Some(102), false)]);
    assert!(queue.ack(A, 101) && queue.nack(A, 102, true));
    assert_eq!(copies(&mut queue), (vec![], vec![2]), "what comes again has its copy still");
    queue.written(B, 1);
    assert_eq!(given(&mut queue)[0], (2, 3, None, true));
    assert_eq!(copies(&mut queue), (vec![], vec![3]), "whoever acknowledges nothing has it");
    assert!(queue.nack(A, 103, false));
    assert_eq!(copies(&mut queue), (vec![], vec![4]));
    queue.lose(A);
    push(&mut queue, [6]);
    assert_eq!(copies(&mut queue), (vec![], vec![]), "nobody acknowledges any more");
}

#[test]
fn what_comes_while_the_consumer_starts_anew_has_a_copy_and_a_topic_over_its_bound_gives_one_for_one() {
    let mut queue = copied(2, Overflow::DropOldest);
    queue.attach((A, Whence::Here), Window { acks: true, size: 1 }, "t").unwrap();
    queue.lose(A);
    push(&mut queue, 1..=2);
    assert_eq!(copies(&mut queue), (vec![1, 2], vec![]), "it was consumed in ack mode last");
    for number in 3..=5 {
        queue.adopt(event(number));
    }
    push(&mut queue, [6]);
    assert_eq!((copies(&mut queue), queue.depth()), ((vec![6], vec![1]), 5), "one came, one went");
    queue.attach((B, Whence::Here), Window { acks: false, size: 1 }, "t").unwrap();
    queue.lose(B);
    push(&mut queue, [7]);
    assert_eq!(copies(&mut queue), (vec![], vec![2]), "it was not last");
}

#[test]
fn what_is_dropped_for_room_is_forgotten_and_what_waits_for_room_has_its_copy_when_it_has_found_some() {
    let mut queue = copied(1, Overflow::DropOldest);
    queue.attach((A, Whence::Here), Window { acks: true, size: 1 }, "t").unwrap();
    push(&mut queue, [1]);
    given(&mut queue);
    push(&mut queue, 2..=3);
    assert_eq!(copies(&mut queue), (vec![1, 2, 3], vec![2]));
    assert_eq!(queue.push(client(4), event(4), Some(Overflow::Pause)), Pushed::Paused);
    assert_eq!(copies(&mut queue), (vec![], vec![]));
    assert!(queue.ack(A, 101));
    assert_eq!((given(&mut queue).len(), copies(&mut queue)), (1, (vec![4], vec![1])));
}

#[test]
fn what_another_node_took_over_is_not_given_out_here_and_what_a_consumer_is_at_work_on_does_not_come_back() {
    let mut queue = copied(10, Overflow::Reject);
    queue.attach((A, Whence::Here), Window { acks: true, size: 2 }, "t").unwrap();
    push(&mut queue, 1..=4);
    assert_eq!(given(&mut queue).len(), 2);
    copies(&mut queue);
    // The copy of the last one was not kept.
    queue.yield_copied(&[101, 102, 103].into());
    assert!(queue.ack(A, 101));
    assert_eq!((given(&mut queue), queue.bytes), (vec![(1, 4, Some(103), false)], 2 * event(1).size()));
    queue.lose(A);
    assert_eq!((queue.depth(), queue.unacked(), queue.bytes), (1, 0, event(1).size()));
    queue.attach((B, Whence::Here), ACKS, "t").unwrap();
    assert_eq!(given(&mut queue), [(2, 4, Some(104), true)]);
    assert_eq!(copies(&mut queue), (vec![], vec![]), "the copies are the other one's");
    queue.copy_again(&[102, 104].into());
    assert_eq!(copies(&mut queue), (vec![4], vec![]));
}

#[test]
fn copies_are_asked_for_again_in_the_order_of_their_messages() {
    let mut queue = copied(4, Overflow::Reject);
    queue.attach((A, Whence::Here), ACKS, "t").unwrap();
    push(&mut queue, 1..=4);
    assert_eq!((given(&mut queue).len(), copies(&mut queue)), (2, (vec![1, 2, 3, 4], vec![])), "two wait");
    queue.copy_again(&[104, 103, 102, 101].into());
    assert_eq!(copies(&mut queue), (vec![1, 2, 3, 4], vec![]));
}

#[test]
fn what_another_node_left_is_given_out_as_a_repeat_and_has_its_copy_already() {
    let mut queue = copied(1, Overflow::Reject);
    let names = [queue.adopt(event(1)), queue.adopt(event(2))];
    assert_eq!((names, queue.depth(), push(&mut queue, [3])), ([101, 102], 2, vec![Pushed::Rejected]));
    queue.attach((A, Whence::Here), ACKS, "t").unwrap();
    assert_eq!(given(&mut queue), [(1, 1, Some(101), true), (1, 2, Some(102), true)]);
    assert!(queue.ack(A, 102));
    assert_eq!(copies(&mut queue), (vec![], vec![2]));
}

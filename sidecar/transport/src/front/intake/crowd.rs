//! Bodies that want the same room: what each is given as it comes, and how it ends where there is not enough for all.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use futures::future::join_all;
use http_body::{Frame, SizeHint};
use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    task::yield_now,
    time::sleep,
};

use super::*;
use crate::channels::testing::{channels, purse};

const MIB: u64 = 1 << 20;
const LONG: Duration = Duration::from_secs(60);

/// A body that announces its length and whose bytes come when they are let.
struct Slow {
    announced: u64,
    bytes: Receiver<usize>,
}

impl http_body::Body for Slow {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.bytes.poll_recv(cx).map(|size| size.map(|size| Ok(Frame::data(vec![7; size].into()))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.announced)
    }
}

fn slow(announced: u64) -> (Sender<usize>, Body) {
    let (sender, bytes) = channel(64);
    (sender, Body::boxed(Slow { announced, bytes }))
}

/// A body in pieces of half a mebibyte, that lets others run after each.
fn steady(announced: u64) -> Body {
    let (sender, body) = slow(announced);
    tokio::spawn(async move {
        for _ in 0..announced / (MIB / 2) {
            sender.send(1 << 19).await.unwrap();
            yield_now().await;
        }
    });
    body
}

fn held(channels: &crate::Channels) -> u64 {
    channels.levels().in_flight
}

#[tokio::test]
async fn a_body_has_room_for_what_came_and_as_much_again() {
    let channels = channels(100 * MIB);
    let (sender, body) = slow(9 * MIB);
    let mut pays = purse(&channels, LONG);
    let mut reading = Box::pin(read(body, 100 * MIB, &mut pays));
    for (comes, has) in [(0, 2), (1, 2), (1, 2), (1, 6), (3, 6), (1, 9), (1, 9)] {
        sender.send(comes << 20).await.unwrap();
        assert!(futures::poll!(&mut reading).is_pending());
        assert_eq!(held(&channels), has * MIB, "{comes} more");
    }
    sender.send(1 << 20).await.unwrap();
    drop(sender);
    assert_eq!(reading.await.unwrap().len() as u64, 9 * MIB);
}

#[tokio::test]
async fn those_who_announce_all_the_room_and_send_nothing_leave_it_to_others() {
    let channels = channels(16 * MIB);
    let silent: Vec<_> = (0..2).map(|_| slow(16 * MIB)).collect();
    let (_senders, bodies): (Vec<_>, Vec<_>) = silent.into_iter().unzip();
    let mut purses: Vec<_> = (0..2).map(|_| purse(&channels, LONG)).collect();
    let mut reading: Vec<_> =
        bodies.into_iter().zip(&mut purses).map(|(body, pays)| Box::pin(read(body, 16 * MIB, pays))).collect();
    for body in &mut reading {
        assert!(futures::poll!(body).is_pending());
    }
    let mut other = purse(&channels, Duration::ZERO);
    read(steady(12 * MIB), 16 * MIB, &mut other).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn bodies_that_all_come_at_once_do_not_keep_the_rest_from_each_other() {
    let channels = channels(32 * MIB);
    let taken = join_all((0..12).map(async |_| {
        let mut pays = purse(&channels, LONG);
        let size = read(steady(8 * MIB), 32 * MIB, &mut pays).await.unwrap().len();
        drop(pays);
        size
    }));
    assert_eq!(taken.await, [8 << 20; 12]);
    assert_eq!(held(&channels), 0);
}

#[tokio::test(start_paused = true)]
async fn of_two_that_keep_the_rest_from_each_other_one_is_refused_in_its_time_and_the_other_gets_it() {
    let channels = channels(10 * MIB);
    let started = Instant::now();
    let [mut short, mut long] = [3, 5].map(|seconds| purse(&channels, Duration::from_secs(seconds)));
    let (first, second) = tokio::join!(
        async {
            let refused = read(steady(9 * MIB), 10 * MIB, &mut short).await;
            drop(short);
            (refused, started.elapsed())
        },
        async { (read(steady(9 * MIB), 10 * MIB, &mut long).await, started.elapsed()) }
    );
    assert!(matches!(first.0, Err(Unread::Refused(TransportError::Full { .. }))), "{first:?}");
    assert_eq!(
        (second.0.unwrap().len() as u64, first.1, second.1),
        (9 * MIB, Duration::from_secs(3), Duration::from_secs(3))
    );
}

#[tokio::test]
async fn a_body_that_has_begun_goes_before_those_that_have_not() {
    let channels = channels(9 * MIB);
    let [mut messages, mut more, mut mine, mut theirs] = std::array::from_fn(|_| purse(&channels, LONG));
    assert_eq!(mine.grow(0, 4 * MIB).await.unwrap(), 2 * MIB);
    messages.hold(4 * MIB).await.unwrap();
    more.hold(2 * MIB).await.unwrap();
    let mut newcomer = Box::pin(theirs.hold(4 * MIB));
    assert!(futures::poll!(&mut newcomer).is_pending());
    let mut rest = Box::pin(mine.grow(3 * MIB, 4 * MIB));
    assert!(futures::poll!(&mut rest).is_pending(), "there is no room for it either");
    drop(more);
    assert_eq!(rest.await.unwrap(), 4 * MIB);
    assert!(futures::poll!(&mut newcomer).is_pending());
    drop(messages);
    newcomer.await.unwrap();
}

#[tokio::test]
async fn a_small_push_passes_while_a_huge_body_comes() {
    let channels = channels(10 * MIB);
    let push = |session: &str, size| {
        let (payload, origin) = (vec![7; size].into(), crate::Origin::Application);
        let draft = crate::Draft { payload, metadata: None, source: None, origin, id: None };
        let key = crate::Key { session: mesh_core::SessionId::new(session), ..crate::Key::default() };
        let channels = &channels;
        async move { channels.push(&key, draft, None, Instant::now()).await }
    };
    push("full", 5 << 20).await.unwrap();
    let (_sender, body) = slow(10 * MIB);
    let mut huge = purse(&channels, LONG);
    let mut reading = Box::pin(read(body, 10 * MIB, &mut huge));
    assert!(futures::poll!(&mut reading).is_pending());
    push("small", 2 << 20).await.expect("what the huge one announces is not there, and what there is, is free");
}

#[tokio::test(start_paused = true)]
async fn the_time_in_which_a_body_comes_does_not_count_as_waiting_for_room() {
    let channels = channels(8 * MIB);
    let mut mine = purse(&channels, Duration::from_secs(10));
    mine.grow(0, 6 * MIB).await.unwrap();
    sleep(Duration::from_secs(600)).await;
    let mut other = purse(&channels, Duration::ZERO);
    other.hold(6 * MIB).await.unwrap();
    let started = Instant::now();
    assert!(matches!(mine.grow(3 * MIB, 6 * MIB).await, Err(TransportError::Full { .. })));
    assert_eq!(started.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_hardly_comes_is_given_up_and_a_slow_one_is_not() {
    let channels = channels(16 * MIB);
    // (bytes, every so many seconds, taken)
    for (size, pause, taken) in [(100, 10, false), (300_000, 55, true), (100_000, 19, true), (300_000, 61, false)] {
        let announced = size * 30;
        let (sender, body) = slow(announced);
        let ticks = tokio::spawn(async move {
            for _ in 0..30 {
                sleep(Duration::from_secs(pause)).await;
                if sender.send(usize::try_from(size).unwrap()).await.is_err() {
                    return;
                }
            }
        });
        let mut pays = purse(&channels, LONG);
        match read(body, 16 * MIB, &mut pays).await {
            Ok(whole) => assert!(taken && whole.len() as u64 == announced, "{size} each {pause} s"),
            Err(Unread::Refused(TransportError::TooSlow { .. })) => assert!(!taken, "{size} each {pause} s"),
            Err(e) => panic!("{e:?}"),
        }
        drop(pays);
        ticks.await.unwrap();
        assert_eq!(held(&channels), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_room_is_not_called_slow() {
    let channels = channels(8 * MIB);
    let mut other = purse(&channels, LONG);
    let (sender, body) = slow(6 * MIB);
    let mut mine = purse(&channels, 10 * LONG);
    let mut reading = Box::pin(read(body, 8 * MIB, &mut mine));
    assert!(futures::poll!(&mut reading).is_pending());
    other.hold(6 * MIB).await.unwrap();
    sender.send(3 << 20).await.unwrap();
    assert!(tokio::time::timeout(5 * LONG, &mut reading).await.is_err(), "it waits for room");
    drop(other);
    assert!(tokio::time::timeout(LONG / 2, &mut reading).await.is_err(), "it waits for bytes");
    sender.send(3 << 20).await.unwrap();
    drop(sender);
    assert_eq!(reading.await.unwrap().len() as u64, 6 * MIB);
}
